//! The SSH server: the door that is open on nearly every server.

use upkeep_plugin::Severity;

use super::machine::Machine;
use super::{Check, Look};

/// Refused by name; anything with one of these parts in it.
const WEAK_CIPHERS: [&str; 5] = ["-cbc", "arcfour", "blowfish", "cast128", "3des"];
const WEAK_MACS: [&str; 4] = ["hmac-md5", "hmac-sha1", "hmac-ripemd", "umac-64"];
const WEAK_KEX: [&str; 3] = ["-sha1", "group1-", "gss-gex"];

fn is(wanted: &'static str) -> impl Fn(&str) -> bool {
    move |value| value.eq_ignore_ascii_case(wanted)
}

/// Which of a list of algorithms are weak. A list that only changes the default tells what it adds; what is not named is
/// the default, which is not weak.
fn algorithms(machine: &Machine<'_>, key: &str, weak: &[&str]) -> Look {
    let mut hits = Vec::new();
    for mut hit in machine.sshd_is_wrong(key, |list| !weak_of(list, weak).is_empty())? {
        let list = hit.seen.split_once(' ').map(|(_, list)| list.to_owned()).unwrap_or_default();
        hit.seen = weak_of(&list, weak).join(", ");
        hits.push(hit);
    }
    Ok(hits)
}

fn weak_of<'a>(list: &'a str, weak: &[&str]) -> Vec<&'a str> {
    if list.starts_with('-') {
        return Vec::new();
    }
    let names = list.trim_start_matches(['+', '^']).split(',').map(|name| name.split(' ').next().unwrap_or(name));
    names.filter(|name| weak.iter().any(|part| name.contains(part))).collect()
}

/// A number, or the seconds of a time such as `2m`.
fn number(value: &str) -> Option<u64> {
    let (digits, unit) = value.split_at(value.find(|it: char| !it.is_ascii_digit()).unwrap_or(value.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ssh-root-login",
        severity: Severity::High,
        title: "root may log in over SSH with a password",
        reason: "The name is known everywhere, so only the password has to be guessed, and nobody sees which person it was.",
        remedy: "Write `PermitRootLogin no` (or `prohibit-password` where automation needs it) into \
                 /etc/ssh/sshd_config.d/10-hardening.conf, then `sshd -t && systemctl reload ssh`.",
        look: |machine| machine.sshd_is_wrong("permitrootlogin", is("yes")),
    },
    Check {
        id: "ssh-password-authentication",
        severity: Severity::Medium,
        title: "SSH accepts passwords",
        reason: "Any password can be guessed given time, and guessing goes on all day at every public address.",
        remedy: "See that each person has a key in ~/.ssh/authorized_keys, then set `PasswordAuthentication no` and \
                 `KbdInteractiveAuthentication no`, and `systemctl reload ssh`. Keep a second session open while you try it.",
        look: |machine| machine.sshd_is_wrong("passwordauthentication", is("yes")),
    },
    Check {
        id: "ssh-empty-passwords",
        severity: Severity::Critical,
        title: "SSH lets accounts in that have no password",
        reason: "Whoever knows the name of such an account is in.",
        remedy: "Set `PermitEmptyPasswords no` and `systemctl reload ssh`; then find the accounts: \
                 `awk -F: '$2 == \"\"' /etc/shadow`.",
        look: |machine| machine.sshd_is_wrong("permitemptypasswords", is("yes")),
    },
    Check {
        id: "ssh-keyboard-interactive",
        severity: Severity::Low,
        title: "SSH asks for passwords in a second way",
        reason: "Passwords are off, but the keyboard-interactive method asks PAM, which usually takes the same passwords.",
        remedy: "Set `KbdInteractiveAuthentication no`, unless PAM asks for a second factor there.",
        look: |machine| {
            let passwords = machine.sshd_is_wrong("passwordauthentication", is("yes"))?;
            let hits = machine.sshd_is_wrong("kbdinteractiveauthentication", is("yes"))?;
            let pam = machine.sshd_is_wrong("usepam", is("yes"))?;
            Ok(if passwords.is_empty() && !pam.is_empty() { hits } else { Vec::new() })
        },
    },
    Check {
        id: "ssh-x11-forwarding",
        severity: Severity::Low,
        title: "SSH forwards X11",
        reason: "A server has no screen; a program on it could read the keyboard of whoever logs in with `ssh -X`.",
        remedy: "Set `X11Forwarding no` and `systemctl reload ssh`.",
        look: |machine| machine.sshd_is_wrong("x11forwarding", is("yes")),
    },
    Check {
        id: "ssh-agent-forwarding",
        severity: Severity::Low,
        title: "SSH forwards agents",
        reason: "Whoever is root here can use the keys of everybody who logs in with `ssh -A`, on every machine they open.",
        remedy: "Set `AllowAgentForwarding no`; hop with `ssh -J` instead, which shows no keys to the machine in between.",
        look: |machine| machine.sshd_is_wrong("allowagentforwarding", is("yes")),
    },
    Check {
        id: "ssh-max-tries",
        severity: Severity::Low,
        title: "SSH allows many tries in one connection",
        reason: "Each connection is a handful of guesses, and only those beyond half of the limit are logged.",
        remedy: "Set `MaxAuthTries 4`, fewer if nobody carries many keys.",
        look: |machine| machine.sshd_is_wrong("maxauthtries", |value| number(value).is_some_and(|tries| tries > 6)),
    },
    Check {
        id: "ssh-login-grace",
        severity: Severity::Low,
        title: "SSH waits long for a login",
        reason: "Connections that never log in take up the slots of those that want to; 0 means that they stay for ever.",
        remedy: "Set `LoginGraceTime 60`.",
        look: |machine| {
            machine.sshd_is_wrong("logingracetime", |value| number(value).is_some_and(|it| it == 0 || it > 120))
        },
    },
    Check {
        id: "ssh-weak-ciphers",
        severity: Severity::Medium,
        title: "SSH offers weak ciphers",
        reason: "They have known attacks, and are offered only when somebody once wrote them down for an old client.",
        remedy: "Remove the line `Ciphers` from the configuration, so that the defaults of OpenSSH count.",
        look: |machine| algorithms(machine, "ciphers", &WEAK_CIPHERS),
    },
    Check {
        id: "ssh-weak-macs",
        severity: Severity::Low,
        title: "SSH offers weak message authentication",
        reason: "SHA-1, MD5 and codes of 64 bits are kept for clients of long ago.",
        remedy: "Set `MACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com`.",
        look: |machine| algorithms(machine, "macs", &WEAK_MACS),
    },
    Check {
        id: "ssh-weak-key-exchange",
        severity: Severity::Medium,
        title: "SSH offers weak key exchange",
        reason: "What is recorded today can be decrypted once the short group or SHA-1 is broken.",
        remedy: "Remove the line `KexAlgorithms` from the configuration, so that the defaults of OpenSSH count.",
        look: |machine| algorithms(machine, "kexalgorithms", &WEAK_KEX),
    },
    Check {
        id: "ssh-host-based",
        severity: Severity::High,
        title: "SSH trusts other machines to say who logs in",
        reason: "Whoever takes over a trusted machine, or its name, is anybody here.",
        remedy: "Set `HostbasedAuthentication no`, and remove /etc/ssh/shosts.equiv and ~/.shosts.",
        look: |machine| machine.sshd_is_wrong("hostbasedauthentication", is("yes")),
    },
    Check {
        id: "ssh-rhosts",
        severity: Severity::Medium,
        title: "SSH heeds .rhosts files",
        reason: "They are left over from rsh: a file in a home folder that says which machines need not prove anything.",
        remedy: "Set `IgnoreRhosts yes`, and look for such files: `find /root /home -name .rhosts -o -name .shosts`.",
        look: |machine| machine.sshd_is_wrong("ignorerhosts", |value| is("no")(value) || is("shosts-only")(value)),
    },
    Check {
        id: "ssh-strict-modes",
        severity: Severity::Medium,
        title: "SSH takes keys from files that others may write",
        reason: "With `StrictModes no`, whoever can write somebody's authorized_keys can log in as that person.",
        remedy: "Set `StrictModes yes`; if logins fail then, `chmod go-w ~ ~/.ssh ~/.ssh/authorized_keys` is the cure.",
        look: |machine| machine.sshd_is_wrong("strictmodes", is("no")),
    },
    Check {
        id: "ssh-user-environment",
        severity: Severity::Medium,
        title: "SSH lets people set their environment",
        reason: "`LD_PRELOAD` in ~/.ssh/environment gets around what a forced command or a restricted shell forbids.",
        remedy: "Set `PermitUserEnvironment no`.",
        look: |machine| machine.sshd_is_wrong("permituserenvironment", |value| !is("no")(value)),
    },
    Check {
        id: "ssh-gateway-ports",
        severity: Severity::Low,
        title: "SSH opens forwarded ports to the world",
        reason: "A forwarding with `ssh -R` then listens at all addresses, past whatever the operator thinks is public.",
        remedy: "Set `GatewayPorts no`.",
        look: |machine| machine.sshd_is_wrong("gatewayports", |value| !is("no")(value)),
    },
    Check {
        id: "ssh-protocol-leftovers",
        severity: Severity::Info,
        title: "sshd_config holds settings of SSH protocol 1",
        reason: "OpenSSH ignores or refuses them since 7.6, so the file does not say what its author believes.",
        remedy: "Remove `Protocol`, `RSAAuthentication`, `RhostsRSAAuthentication`, `ServerKeyBits`, \
                 `KeyRegenerationInterval` and `UsePrivilegeSeparation` from sshd_config.",
        look: |machine| machine.sshd_holds(&LEFTOVERS),
    },
];

const LEFTOVERS: [&str; 6] = [
    "protocol",
    "rsaauthentication",
    "rhostsrsaauthentication",
    "serverkeybits",
    "keyregenerationinterval",
    "useprivilegeseparation",
];
