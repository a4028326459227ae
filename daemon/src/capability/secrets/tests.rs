use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::config::http::HttpGrant;
use crate::config::limits::Limits;

const VALUE: &str = "canary-4f9b2c";

async fn host(folder: &std::path::Path, secrets: &[(&str, &str, &[SecretAccess])], http: Option<HttpGrant>) -> Host {
    let secrets = secrets.iter().map(|(name, value, access)| {
        let path = folder.join(format!("{name}.secret"));
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let grant = SecretGrant { access: access.to_vec(), ..SecretGrant::new(path, Vec::new()) };
        ((*name).to_owned(), grant)
    });
    let grants = Grants { secrets: secrets.collect(), http: http.map(Arc::new), ..Grants::default() };
    Host::of(folder, grants, Limits::default()).await
}

fn bytes(text: &str) -> abi::Part {
    abi::Part::Bytes(text.as_bytes().to_vec())
}

fn secret(name: &str) -> abi::Part {
    abi::Part::Secret(name.to_owned())
}

/// RFC 2202, RFC 4231, and the examples of DingTalk and Feishu.
#[test]
fn signatures_are_those_of_the_examples() {
    let sha1 = |key: &[u8], message: &[u8]| hex(&hmac(abi::Algorithm::Sha1, key, message));
    let sha256 = |key: &[u8], message: &[u8]| hex(&hmac(abi::Algorithm::Sha256, key, message));
    assert_eq!(sha1(&[0x0b; 20], b"Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00");
    assert_eq!(sha1(b"Jefe", b"what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
    assert_eq!(sha1(&[0xaa; 80], long), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    let first = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
    assert_eq!(sha256(&[0x0b; 20], b"Hi There"), first);
    let sixth = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
    assert_eq!(sha256(&[0xaa; 131], long), sixth);

    let sign =
        |key: &str, message: &str| STANDARD.encode(hmac(abi::Algorithm::Sha256, key.as_bytes(), message.as_bytes()));
    let dingtalk = sign("this is secret", "1577262236757\nthis is secret");
    let encoded: String = url::form_urlencoded::byte_serialize(dingtalk.as_bytes()).collect();
    assert_eq!(encoded, "hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D");
    assert_eq!(sign("1599360473\ndemo", ""), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn keys_and_messages_are_put_together_of_parts() {
    let folder = tempfile::tempdir().unwrap();
    let robot: &[_] = &[SecretAccess::Sign];
    let mut host = host(folder.path(), &[("robot", "this is secret\n", robot)], None).await;
    let message = vec![bytes("1577262236757\n"), secret("robot")];
    let signed = abi::Host::hmac(&mut host, abi::Algorithm::Sha256, vec![secret("robot")], message).await.unwrap();
    assert_eq!(STANDARD.encode(signed), "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=");
    // What others wrote is signed as it is.
    let literal = vec![bytes("{{secret:robot}}")];
    let signed = abi::Host::hmac(&mut host, abi::Algorithm::Sha1, vec![secret("robot")], literal).await.unwrap();
    assert_eq!(signed, hmac(abi::Algorithm::Sha1, b"this is secret", b"{{secret:robot}}"));
    assert!(host.run.denials().is_empty());
}

#[tokio::test]
async fn signing_is_a_right_and_has_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let secrets: &[(&str, &str, &[SecretAccess])] = &[
        ("robot", VALUE, &[SecretAccess::Sign]),
        ("token", VALUE, &[SecretAccess::Fill]),
        ("short", "1234567\n", &[SecretAccess::Sign]),
        ("long", &"x".repeat(5_000), &[SecretAccess::Sign]),
        ("gone", VALUE, &[SecretAccess::Sign]),
        ("dull", &"x".repeat(500), &[SecretAccess::Sign]),
        ("dull-login", &format!("user:{}", "x".repeat(500)), &[SecretAccess::Sign]),
    ];
    let http = HttpGrant { max_requests: 7, ..HttpGrant::new(Vec::new()) };
    let mut host = host(folder.path(), secrets, Some(http)).await;
    std::fs::remove_file(folder.path().join("gone.secret")).unwrap();
    let sign = async |host: &mut Host, key: Vec<abi::Part>, message: Vec<abi::Part>| {
        abi::Host::hmac(host, abi::Algorithm::Sha256, key, message).await
    };
    for (name, key) in [("token", "grant.secrets.token.access"), ("other", "no `grant.secrets.other`")] {
        let denied = sign(&mut host, vec![secret(name)], vec![]).await;
        host.expect_denied(denied, key);
        let denied = sign(&mut host, vec![secret("robot")], vec![bytes("x"), secret(name)]).await;
        host.expect_denied(denied, key);
    }
    let nothing = sign(&mut host, vec![bytes("{{secret:robot}}")], vec![]).await;
    assert!(matches!(nothing, Err(HostError::Guest(crate::abi::types::Error::Invalid(_)))), "{nothing:?}");
    for (name, why) in [
        ("short", "shorter than 8 bytes"),
        ("long", "longer than 4096 bytes"),
        ("gone", "gone.secret"),
        ("dull", "repeats itself"),
        ("dull-login", "repeats itself"),
    ] {
        let refused = format!("{:?}", sign(&mut host, vec![secret(name)], vec![]).await);
        assert!(refused.contains("Denied") && refused.contains(why), "{name}: {refused}");
    }
    let denials = host.run.denials();
    assert!(!denials.iter().any(|it| it.contains("cannot be used") || it.contains("bytes")), "{denials:?}");
    let large = sign(&mut host, vec![secret("robot")], vec![abi::Part::Bytes(vec![0; MOST_SIGNED + 1])]).await;
    assert!(matches!(large, Err(HostError::Guest(crate::abi::types::Error::Invalid(_)))));
    assert!(sign(&mut host, vec![secret("robot")], vec![]).await.is_ok());
    let limit = sign(&mut host, vec![secret("robot")], vec![]).await;
    let told = "this run has signed 7 times (grant.http.max_requests)";
    assert!(matches!(&limit, Err(HostError::Guest(crate::abi::types::Error::Limit(it))) if it == told), "{limit:?}");
}

#[tokio::test]
async fn nothing_that_is_held_shows_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path(), &[("token", VALUE, &[SecretAccess::Fill])], None).await;
    let opened = host.run.secrets.open(&host.run).await.unwrap();
    assert_eq!(opened.value("token", &NO_TOKENS), Ok(VALUE));
    for shown in [format!("{:?}", host.run.secrets), format!("{opened:?}"), format!("{:#?}", host.run.grants)] {
        assert!(!shown.contains(VALUE), "{shown}");
    }
    // It stays what it was for as long as the run lasts.
    std::fs::write(folder.path().join("token.secret"), "another value").unwrap();
    assert_eq!(host.run.secrets.open(&host.run).await.unwrap().value("token", &NO_TOKENS), Ok(VALUE));
}

#[test]
fn parts_of_a_secret_are_secrets() {
    for (value, found) in [
        ("user:password", &["user:password", "password"][..]),
        ("user:pass:word:s", &["user:pass:word:s", "pass:word:s"]),
        ("username:short", &["username:short"]),
        ("whsec_MfKQ9r8G", &["whsec_MfKQ9r8G", "MfKQ9r8G"]),
        ("MfKQ9r8GKYqrTw", &["MfKQ9r8GKYqrTw"]),
    ] {
        assert_eq!(parts(value).collect::<Vec<_>>(), found, "{value}");
    }
}

#[test]
fn a_body_is_written_in_its_own_way() {
    for (kind, body, writing) in [
        (Some("application/json"), "", Writing::Json),
        (Some("application/json; charset=utf-8"), "", Writing::Json),
        (Some("application/problem+JSON"), "", Writing::Json),
        (Some("application/x-www-form-urlencoded"), "", Writing::Percent),
        (Some("text/plain"), "{}", Writing::Plain),
        (None, "{\"a\": \"{{secret:x}}\"}", Writing::Json),
        (None, "a={{secret:x}}", Writing::Plain),
    ] {
        let kind = kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind)));
        let headers: HeaderMap = kind.into_iter().collect();
        assert_eq!(writing_of(&headers, body.as_bytes()), writing, "{headers:?} {body}");
    }
}
