//! Listening sockets and the processes that hold them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::{facts, text};
use crate::abi::system as abi;

pub(super) fn sockets(root: &Path) -> Result<Vec<abi::Socket>, String> {
    let tables = [
        ("tcp", abi::Transport::Tcp),
        ("tcp6", abi::Transport::Tcp),
        ("udp", abi::Transport::Udp),
        ("udp6", abi::Transport::Udp),
    ];
    let mut found = Vec::new();
    for (table, transport) in tables {
        // Without IPv6 in the kernel, two of them do not exist.
        if let Ok(text) = text(root, &format!("proc/net/{table}")) {
            found.extend(facts::listening(&text, transport));
        }
    }
    let owners = owners(root);
    let own = |(mut socket, inode): (abi::Socket, u64)| {
        socket.owner = owners.get(&inode).and_then(|pid| owner(root, *pid));
        socket
    };
    Ok(found.into_iter().map(own).collect())
}

/// Processes by the inodes of their sockets. Of several that share one, the oldest: the others are its workers.
fn owners(root: &Path) -> HashMap<u64, u32> {
    let mut owners = HashMap::new();
    let listing = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    for pid in listing.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        // Processes end, and those of others may be hidden.
        let open = fs::read_dir(root.join(format!("proc/{pid}/fd"))).into_iter().flatten().flatten();
        for inode in open.filter_map(|entry| inode(fs::read_link(entry.path()).ok()?.to_str()?)) {
            owners.entry(inode).and_modify(|it: &mut u32| *it = pid.min(*it)).or_insert(pid);
        }
    }
    owners
}

/// Of `socket:[21035]`.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn owner(root: &Path, pid: u32) -> Option<abi::Owner> {
    let name = process(root, pid)?;
    let unit = text(root, &format!("proc/{pid}/cgroup")).ok().and_then(|text| unit(&text));
    Some(abi::Owner { pid, name, unit })
}

/// The name of a process.
pub(super) fn process(root: &Path, pid: u32) -> Option<String> {
    text(root, &format!("proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// The service in which /proc/PID/cgroup places a process: the innermost, by either version of control groups.
pub(super) fn unit(text: &str) -> Option<String> {
    let paths = text.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        (controllers.is_empty() || controllers == "name=systemd").then_some(path)
    });
    paths.flat_map(|path| path.rsplit('/')).find_map(|part| part.strip_suffix(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_process() {
        assert_eq!(unit("0::/system.slice/redis-server.service\n").as_deref(), Some("redis-server"));
        let old = "5:pids:/docker.service\n1:name=systemd:/system.slice/ssh.service/worker\n";
        assert_eq!(unit(old).as_deref(), Some("ssh"));
        assert_eq!(unit("0::/user.slice/user-1000.slice/session-1.scope\n"), None);
        assert_eq!(unit("nothing"), None);
    }

    #[test]
    fn a_socket_has_its_process() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "proc/net/tcp",
            "header\n 0: 00000000:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 21035 1 0\n",
        );
        for (pid, name) in [("40", "redis-server"), ("41", "worker")] {
            put(&format!("proc/{pid}/comm"), &format!("{name}\n"));
            put(&format!("proc/{pid}/cgroup"), "0::/system.slice/redis.service\n");
            fs::create_dir(root.path().join(format!("proc/{pid}/fd"))).unwrap();
            std::os::unix::fs::symlink("socket:[21035]", root.path().join(format!("proc/{pid}/fd/7"))).unwrap();
        }
        let found = sockets(root.path()).unwrap();
        let owner = found[0].owner.as_ref().unwrap();
        assert_eq!((owner.pid, owner.name.as_str(), owner.unit.as_deref()), (40, "redis-server", Some("redis")));
        assert_eq!((found[0].port, found[0].uid), (6379, 104));
    }
}
