//! The JSON Schemas of the configuration files, made from the settings types: what `upkeep schema` prints, what
//! editors read, and what the daemon itself compares the files with.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Format of a duration: `90s`, `15m`, `1h 30m`, `7d`.
pub const DURATION: &str = "upkeep-duration";
/// Format of a size: `512 KiB`, `64 MiB`.
pub const SIZE: &str = "upkeep-size";
/// Format of a rate: `500 KiB/s`, `10 MiB/s`.
pub const RATE: &str = "upkeep-rate";
/// Format of the beginning of an address: `https://api.example.com/v1/`.
pub const ORIGIN: &str = "upkeep-address";
/// Format of scheme, host and port: `https://api.example.com`.
pub const SERVER: &str = "upkeep-server";
/// Format of a network: `10.0.0.5`, `192.168.0.0/16`.
pub const NETWORK: &str = "upkeep-network";
/// Format of an address that mail comes from: `upkeep@example.org`.
pub const SENDER: &str = "upkeep-sender";
/// Format of those to whom mail may go: `ops@example.org`, `*@example.org`, `*`.
pub const RECIPIENT: &str = "upkeep-recipient";
/// Format of an address that is listened to: `127.0.0.1:8473`.
pub const LISTEN: &str = "upkeep-listen";
/// Format of a day: `2027-03-31`.
pub const DAY: &str = "upkeep-day";
/// Format of a share: `50%`.
pub const PERCENT: &str = "upkeep-percent";
/// Format of a local time of day: `08:30`.
pub const TIME: &str = "upkeep-time";
/// Format of the name of a secret that the task file grants, to be filled into requests. In the schemas of plugins.
pub const SECRET: &str = "upkeep-secret";
/// Format of the name of a secret that the task file grants, to sign with. In the schemas of plugins.
pub const SIGNING_SECRET: &str = "upkeep-secret-to-sign";
/// Format of the name of a mail server that the task file grants. In the schemas of plugins.
pub const MAIL_SERVER: &str = "upkeep-mail-server";
/// Format of an address that requests go to, or of its beginning, which the task file has to allow. In the schemas of plugins.
pub const REQUESTED: &str = "upkeep-requested";
/// Formats of what the task file has to grant.
pub const GRANTED: [&str; 4] = [SECRET, SIGNING_SECRET, MAIL_SERVER, REQUESTED];
/// Format of a span of local time: `22:00-06:00`.
pub const WINDOW: &str = "upkeep-window";

/// The schema of a settings type.
pub fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with_transform(schemars::transform::RecursiveTransform(bound))
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Says how large the integer types are: a validator that does not know would let pass what cannot be read.
fn bound(schema: &mut Schema) {
    let most = match schema.get("format").and_then(|format| format.as_str()) {
        Some("uint16") => u64::from(u16::MAX),
        Some("uint32") => u64::from(u32::MAX),
        Some("uint64") => i64::MAX.unsigned_abs(),
        _ => return,
    };
    if schema.get("maximum").is_none() {
        schema.insert("maximum".to_owned(), most.into());
    }
    schema.remove("format");
}

/// Schema of a duration.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "format": DURATION, "examples": ["90s", "15m", "1h 30m", "7d"] })
}

/// Schema of a duration that may be left out.
pub(crate) fn optional_duration(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": ["string", "null"], "format": DURATION, "examples": ["90s", "15m", "1h 30m", "7d"] })
}
