//! Who is at the other end of the socket, as the kernel says, so that a run knows who asked for it.

use std::fs;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixStream;

use super::Socket;

/// The process at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its user, when the kernel told.
    uid: Option<u32>,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        Self { uid: stream.peer_cred().ok().map(|credentials| credentials.uid()) }
    }

    /// For the journal: `uid 1000 (deploy)`, or `uid 1000` when the user has no name.
    pub(super) fn by(&self) -> String {
        let Some(uid) = self.uid else { return "an unknown user".to_owned() };
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        match user_name(&users, uid) {
            Some(name) => format!("uid {uid} ({name})"),
            None => format!("uid {uid}"),
        }
    }
}

impl Connected<IncomingStream<'_, Socket>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Socket>) -> Self {
        stream.remote_addr().clone()
    }
}

/// The name that `/etc/passwd` has for a user. Users that come from elsewhere (LDAP, systemd-homed) stay numbers.
fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The number that `/etc/group` has for a group; a number stands for itself.
pub(super) fn group_number(group: &str, name: &str) -> Option<u32> {
    let listed = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    });
    listed.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_users_and_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\ndeploy:x:1000:1000::/home/deploy:/bin/sh\n";
        assert_eq!(user_name(passwd, 0), Some("root"));
        assert_eq!(user_name(passwd, 1000), Some("deploy"));
        assert_eq!(user_name(passwd, 7), None);
        let group = "root:x:0:\nadm:x:4:syslog,deploy\n";
        assert_eq!(group_number(group, "adm"), Some(4));
        assert_eq!(group_number(group, "12"), Some(12));
        assert_eq!(group_number(group, "nobody"), None);
    }

    #[tokio::test]
    async fn knows_its_own_process() {
        let (near, _far) = UnixStream::pair().unwrap();
        let uid = rustix::process::getuid().as_raw();
        assert!(Peer::of(&near).by().starts_with(&format!("uid {uid}")), "{}", Peer::of(&near).by());
        assert_eq!(Peer { uid: Some(4_000_000_000) }.by(), "uid 4000000000");
    }
}
