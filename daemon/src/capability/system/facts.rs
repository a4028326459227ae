//! Texts of the kernel, of systemd and of package managers, read without touching the system.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::abi::system as abi;

/// A field of os-release(5), without its quotes.
pub(super) fn release_field(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?.trim();
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(quoted.map_or_else(|| value.to_owned(), |inner| inner.replace("\\\"", "\"").replace("\\$", "$")))
}

/// Seconds since the start of the machine, from /proc/uptime.
pub(super) fn uptime(text: &str) -> u64 {
    text.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// The averages of /proc/loadavg.
pub(super) fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

/// /proc/meminfo, in bytes.
pub(super) fn memory(text: &str) -> abi::Memory {
    let field = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0).saturating_mul(1024)
    };
    abi::Memory {
        total: field("MemTotal"),
        available: field("MemAvailable"),
        swap_total: field("SwapTotal"),
        swap_free: field("SwapFree"),
    }
}

/// A line of /proc/self/mounts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) device: String,
    pub(super) path: String,
    pub(super) filesystem: String,
    pub(super) read_only: bool,
}

/// Mounts that hold files, each once: where several lie upon each other, the last one is seen.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (Some(device), Some(path), Some(filesystem), Some(options)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if KERNEL.contains(&filesystem) {
            continue;
        }
        let path = unoctal(path);
        mounts.retain(|mount| mount.path != path);
        mounts.push(Mount {
            device: unoctal(device),
            path,
            filesystem: filesystem.to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        });
    }
    mounts
}

/// All mounts, each once, with their options.
pub(super) fn mounts_with_options(text: &str) -> Vec<abi::Mount> {
    let mut mounts: Vec<abi::Mount> = Vec::new();
    for line in text.lines() {
        if let [_, path, filesystem, options, ..] = line.split(' ').collect::<Vec<_>>()[..] {
            let path = unoctal(path);
            mounts.retain(|mount| mount.path != path);
            let options = options.split(',').map(str::to_owned).collect();
            mounts.push(abi::Mount { path, filesystem: filesystem.to_owned(), options });
        }
    }
    mounts
}

/// Filesystems through which the kernel speaks; they hold no files that fill a disk.
const KERNEL: [&str; 19] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// Whether another machine has to answer before anything is known about a mount.
pub(super) fn is_remote(filesystem: &str) -> bool {
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "glusterfs"].contains(&filesystem)
        || filesystem.starts_with("fuse.")
}

/// Spaces and the like, which /proc/self/mounts writes as `\040`.
fn unoctal(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The listening sockets of /proc/net/tcp and its like, for UDP those without a peer, with their inodes.
pub(super) fn listening(text: &str, transport: abi::Transport) -> Vec<(abi::Socket, u64)> {
    // TCP_LISTEN; an unconnected UDP socket is in the state TCP_CLOSE. Numbers of net/tcp_states.h.
    let state = match transport {
        abi::Transport::Tcp => "0A",
        abi::Transport::Udp => "07",
    };
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            if *fields.get(3)? != state {
                return None;
            }
            let (address, port) = fields.get(1)?.split_once(':')?;
            let socket = abi::Socket {
                transport,
                address: address_of(address)?.to_string(),
                port: u16::from_str_radix(port, 16).ok()?,
                uid: fields.get(7)?.parse().ok()?,
                owner: None,
            };
            Some((socket, fields.get(9)?.parse().ok()?))
        })
        .collect()
}

/// An address as the kernel prints it: words of 32 bits in the machine's order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let words = hex.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let words = words.collect::<Option<Vec<_>>>()?;
    match words[..] {
        [word] => Some(Ipv4Addr::from(word.to_ne_bytes()).into()),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (place, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Installed packages of /var/lib/dpkg/status.
pub(super) fn dpkg(text: &str) -> Vec<abi::Package> {
    let mut packages = Vec::new();
    for paragraph in text.split("\n\n") {
        let field =
            |key: &str| paragraph.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()));
        let is_installed = field("Status").is_some_and(|status| status.ends_with(" installed"));
        if let (true, Some(name), Some(version)) = (is_installed, field("Package"), field("Version")) {
            // `Source: glibc (2.36-9)`: the version of the source, where it is another.
            let source = field("Source").and_then(|source| source.split_whitespace().next());
            packages.push(abi::Package {
                name: name.to_owned(),
                version: version.to_owned(),
                architecture: field("Architecture").unwrap_or_default().to_owned(),
                source: source.unwrap_or(name).to_owned(),
            });
        }
    }
    packages
}

/// Installed packages of /lib/apk/db/installed.
pub(super) fn apk(text: &str) -> Vec<abi::Package> {
    let mut packages = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        if let (Some(name), Some(version)) = (field("P"), field("V")) {
            packages.push(abi::Package {
                name: name.to_owned(),
                version: version.to_owned(),
                architecture: field("A").unwrap_or_default().to_owned(),
                source: field("o").unwrap_or(name).to_owned(),
            });
        }
    }
    packages
}

#[cfg(test)]
mod tests;
