use super::Case;

pub(super) const CASES: &[Case] = &[
    ("ssh-root-login", |it| it.ssh("permitrootlogin", "yes"), |it| it.ssh("permitrootlogin", "without-password")),
    (
        "ssh-password-authentication",
        |it| it.ssh("passwordauthentication", "yes"),
        |it| it.block("User deploy", "passwordauthentication", "no"),
    ),
    (
        "ssh-empty-passwords",
        |it| it.block("Group guests", "permitemptypasswords", "yes"),
        |it| it.ssh("permitemptypasswords", "no"),
    ),
    (
        "ssh-keyboard-interactive",
        |it| it.ssh("kbdinteractiveauthentication", "yes"),
        |it| {
            it.ssh("kbdinteractiveauthentication", "yes");
            it.ssh("usepam", "no");
        },
    ),
    ("ssh-x11-forwarding", |it| it.ssh("x11forwarding", "yes"), |it| it.ssh("x11useloopback", "yes")),
    ("ssh-agent-forwarding", |it| it.ssh("allowagentforwarding", "yes"), |it| it.ssh("allowtcpforwarding", "yes")),
    ("ssh-max-tries", |it| it.ssh("maxauthtries", "10"), |it| it.ssh("maxauthtries", "6")),
    ("ssh-login-grace", |it| it.ssh("logingracetime", "0"), |it| it.ssh("logingracetime", "2m")),
    (
        "ssh-weak-ciphers",
        |it| it.ssh("ciphers", "aes256-ctr,aes128-cbc"),
        |it| it.ssh("ciphers", "-aes128-cbc,3des-cbc"),
    ),
    ("ssh-weak-macs", |it| it.ssh("macs", "+hmac-sha1"), |it| it.ssh("macs", "hmac-sha2-256,umac-128@openssh.com")),
    (
        "ssh-weak-key-exchange",
        |it| it.ssh("kexalgorithms", "diffie-hellman-group14-sha1"),
        |it| it.ssh("kexalgorithms", "diffie-hellman-group14-sha256"),
    ),
    (
        "ssh-host-based",
        |it| it.ssh("hostbasedauthentication", "yes"),
        |it| it.ssh("hostbasedusesnamefrompacketonly", "yes"),
    ),
    ("ssh-rhosts", |it| it.ssh("ignorerhosts", "shosts-only"), |it| it.ssh("ignorerhosts", "yes")),
    ("ssh-strict-modes", |it| it.ssh("strictmodes", "no"), |it| it.ssh("strictmodes", "yes")),
    ("ssh-user-environment", |it| it.ssh("permituserenvironment", "LANG"), |it| it.ssh("permituserenvironment", "no")),
    ("ssh-gateway-ports", |it| it.ssh("gatewayports", "clientspecified"), |it| it.ssh("gatewayports", "no")),
    ("ssh-protocol-leftovers", |it| it.ssh("protocol", "2,1"), |it| it.ssh("pubkeyauthentication", "yes")),
];
