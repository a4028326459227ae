//! Certificates in the granted folders. The first of a file is looked at, which is the server's own; a file of many is a
//! collection of authorities.

use upkeep_plugin::Severity;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Uint};
use x509_cert::der::{self, Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

use super::files::Opened;
use super::machine::Machine;
use super::{Check, Hit, Look};

/// `rsaEncryption` of RFC 8017.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Algorithms of signatures with broken hashes: of RFC 8017 with RSA, RFC 3279 with DSA and ECDSA.
const WEAK: [(ObjectIdentifier, &str); 5] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"), "MD2"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), "MD5"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), "SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10040.4.3"), "SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), "SHA-1"),
];

const DAY_S: i64 = 86_400;
/// Bits of an RSA key below which it can be broken.
const RSA_BITS: usize = 2048;
/// Certificates in one file beyond which it is a collection.
const MOST: usize = 8;

/// Whether a file of this name may hold one.
pub(super) fn is_named_so(name: &str) -> bool {
    [".pem", ".crt", ".cer"].iter().any(|ending| name.ends_with(ending))
}

/// What matters of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// In seconds since 1970.
    ends: i64,
    /// How it is signed, where that is weak.
    weak_signature: Option<&'static str>,
    /// Bits of its key, where it is one of RSA.
    rsa_bits: Option<usize>,
    is_self_signed: bool,
    /// Whether it is made to sign others, not to be shown by a server.
    is_authority: bool,
}

/// The first certificate of a file; none when it holds none or a collection.
///
/// # Errors
/// When it looks like one and cannot be read.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Known>, String> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let count = bytes.windows(BEGIN.len()).filter(|it| *it == BEGIN).count();
    let told = |error: der::Error| error.to_string();
    let certificate = match (count, bytes.first()) {
        (1..=MOST, _) => Certificate::load_pem_chain(own_block(bytes, BEGIN)).map_err(told)?.into_iter().next(),
        // A sequence of DER.
        (0, Some(0x30)) => Some(Certificate::from_der(bytes).map_err(told)?),
        _ => None,
    };
    certificate.map(|it| known(&it).map_err(told)).transpose()
}

/// From the first certificate to its end: a key may stand before it, and the text of `openssl x509` between.
fn own_block<'a>(bytes: &'a [u8], begin: &[u8]) -> &'a [u8] {
    const END: &[u8] = b"-----END CERTIFICATE-----";
    let find = |wanted: &[u8], from: usize| {
        bytes[from..].windows(wanted.len()).position(|it| it == wanted).map(|at| from + at)
    };
    let start = find(begin, 0).unwrap_or(0);
    let end = find(END, start).map_or(bytes.len(), |at| at + END.len());
    &bytes[start..end]
}

fn known(certificate: &Certificate) -> der::Result<Known> {
    let inner = certificate.tbs_certificate();
    let ends = inner.validity().not_after.to_unix_duration().as_secs();
    let key = inner.subject_public_key_info();
    let is_rsa = key.algorithm.oid == RSA;
    let rsa_bits = is_rsa.then(|| key.subject_public_key.as_bytes().and_then(rsa_bits)).flatten();
    let is_self_signed = inner.subject().to_der()? == inner.issuer().to_der()?;
    let is_marked = inner.get_extension::<BasicConstraints>()?.is_some_and(|(_, it)| it.ca);
    let has_names = inner.get_extension::<SubjectAltName>()?.is_some();
    Ok(Known {
        ends: i64::try_from(ends).unwrap_or(i64::MAX),
        weak_signature: weak(&certificate.signature_algorithm().oid),
        rsa_bits,
        is_self_signed,
        // openssl marks whatever it signs by itself as an authority; one with names is shown by a server all the same.
        is_authority: is_marked && !has_names,
    })
}

fn weak(signature: &ObjectIdentifier) -> Option<&'static str> {
    WEAK.iter().find(|(algorithm, _)| algorithm == signature).map(|(_, hash)| *hash)
}

/// Bits of the modulus of an `RSAPublicKey` of RFC 8017.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let numbers: Vec<Uint> = Vec::from_der(key).ok()?;
    let modulus = numbers.first()?.as_bytes();
    let first = modulus.first()?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}

fn each(machine: &Machine<'_>, seen: impl Fn(&Known) -> Option<String>) -> Look {
    let all = machine.files()?.certificates.iter();
    let hit = |(file, known): &(Opened, Known)| {
        let seen = format!("{} {}", file.object, seen(known)?);
        Some(Hit { place: Some(file.place()), ..Hit::of(file.object.clone(), seen) })
    };
    Ok(all.filter_map(hit).collect())
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "certificate-over",
        severity: Severity::High,
        title: "a certificate is over",
        reason: "Browsers and apps refuse the connection, or people learn to click the warning away.",
        remedy: "Renew it (`certbot renew`, or as it was issued) and reload what shows it: `systemctl reload nginx`. Remove the file \
                 if nothing uses it.",
        look: |machine| each(machine, |it| (it.ends < machine.now_ms / 1000).then(|| "has ended".to_owned())),
    },
    Check {
        id: "certificate-ends-soon",
        severity: Severity::Medium,
        title: "a certificate ends soon",
        reason: "Renewal is automatic nearly everywhere: one that is this near its end tells that the automation has failed.",
        remedy: "Renew it and look why that did not happen by itself: `systemctl list-timers`, `certbot renew --dry-run`. The \
                 number of days is `config.hardening.certificate_days`.",
        look: |machine| {
            let now = machine.now_ms / 1000;
            let days = |it: &Known| (it.ends - now).div_euclid(DAY_S);
            let is_soon = |it: &Known| it.ends >= now && days(it) < i64::from(machine.config.certificate_days);
            each(machine, |it| is_soon(it).then(|| format!("ends in {} days", days(it))))
        },
    },
    Check {
        id: "certificate-short-key",
        severity: Severity::High,
        title: "the key of a certificate is short",
        reason: "RSA keys of fewer than 2048 bits are within reach of whoever can pay for the computers.",
        remedy: "Make a new key and certificate: `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256`, or `certbot \
                 certonly --key-type ecdsa`.",
        look: |machine| {
            let is_short = |it: &&usize| **it < RSA_BITS;
            each(machine, |it| it.rsa_bits.as_ref().filter(is_short).map(|bits| format!("has {bits} bits of RSA")))
        },
    },
    Check {
        id: "certificate-weak-signature",
        severity: Severity::Medium,
        title: "a certificate is signed with a broken hash",
        reason: "Others with the same signature can be made; browsers refuse it, and so do current libraries.",
        remedy: "Have it issued anew; every authority has signed with SHA-256 for years.",
        look: |machine| {
            each(machine, |it| {
                it.weak_signature.filter(|_| !it.is_self_signed).map(|it| format!("is signed with {it}"))
            })
        },
    },
    Check {
        id: "certificate-self-signed",
        severity: Severity::Low,
        title: "a certificate is signed by itself",
        reason: "Clients can only trust it blindly, and those that do not check would trust anybody in between as well.",
        remedy: "Have it issued by an authority (`certbot`), or by one of your own that clients know.",
        look: |machine| {
            each(machine, |it| (it.is_self_signed && !it.is_authority).then(|| "vouches for itself".to_owned()))
        },
    },
];
