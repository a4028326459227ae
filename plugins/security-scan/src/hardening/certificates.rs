//! Certificates in the granted folders. The first of a file is looked at, which is the server's own; a file of many is a
//! collection of authorities.

use upkeep_plugin::Severity;

pub(super) use self::certificate::{Known, read};
use super::files::Opened;
use super::machine::Machine;
use super::{Check, Hit, Look};

mod certificate;

const DAY_S: i64 = 86_400;
/// Bits of an RSA key below which it can be broken.
const RSA_BITS: usize = 2048;

/// Whether a file of this name may hold one.
pub(super) fn is_named_so(name: &str) -> bool {
    [".pem", ".crt", ".cer"].iter().any(|ending| name.ends_with(ending))
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
