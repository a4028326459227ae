//! Samples of real machines.

use super::*;

#[test]
fn os_release() {
    let debian =
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n";
    assert_eq!(release_field(debian, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    assert_eq!(release_field(debian, "VERSION_ID").as_deref(), Some("12"));
    assert_eq!(release_field(debian, "ID").as_deref(), Some("debian"), "not VERSION_ID");
    assert_eq!(release_field(debian, "VERSION"), None);
    assert_eq!(release_field("ID='al pine'", "ID").as_deref(), Some("al pine"));
}

#[test]
fn small_files_of_proc() {
    assert_eq!(uptime("352735.47 234388.90\n"), 352_735);
    assert_eq!(load("0.20 0.18 0.12 1/80 11206\n"), Some([0.2, 0.18, 0.12]));
    assert_eq!(load(""), None);
    let memory = memory(
        "MemTotal:        8056280 kB\nMemFree:          289432 kB\nMemAvailable:    5012000 kB\nSwapTotal:       2097148 kB\nSwapFree:        2097148 kB\n",
    );
    assert_eq!((memory.total, memory.available), (8_056_280 << 10, 5_012_000 << 10));
    assert_eq!((memory.swap_total, memory.swap_free), (2_097_148 << 10, 2_097_148 << 10));
}

#[test]
fn mounts_hold_files_and_are_named_once() {
    let text = "\
sysfs /sys sysfs rw,nosuid 0 0
/dev/vda1 / ext4 rw,relatime,errors=remount-ro 0 0
tmpfs /run tmpfs rw,size=1g 0 0
/dev/vdb /mnt/two\\040words\\134 xfs ro,noatime 0 0
systemd-1 /srv/data autofs rw 0 0
server:/data /srv/data nfs4 rw 0 0
";
    let found = mounts(text);
    let paths: Vec<_> = found.iter().map(|mount| (mount.path.as_str(), mount.read_only)).collect();
    assert_eq!(paths, [("/", false), ("/run", false), ("/mnt/two words\\", true), ("/srv/data", false)]);
    assert!(is_remote(&found[3].filesystem) && !is_remote(&found[0].filesystem));
}

#[test]
fn only_listening_sockets() {
    let tcp = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 21035 1 0000000000000000 100 0 0 10 0
   1: 0F02000A:0016 0202000A:CE2A 01 00000000:00000000 02:000A7214 00000000     0        0 23145 4 0000000000000000 20 4 31 10 -1
";
    let found = listening(tcp, abi::Transport::Tcp);
    assert_eq!(found.len(), 1);
    let (socket, inode) = &found[0];
    assert_eq!((socket.address.as_str(), socket.port, socket.uid, *inode), ("127.0.0.1", 631, 104, 21_035));
    let tcp6 = "header\n   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n";
    assert_eq!(listening(tcp6, abi::Transport::Tcp)[0].0.address, "::1");
    let udp = "header\n  123: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 15 2 0 0\n  124: 00000000:0045 01010101:0035 01 00000000:00000000 00:00000000 00000000   101        0 16 2 0 0\n";
    let found = listening(udp, abi::Transport::Udp);
    assert_eq!((found.len(), found[0].0.address.as_str(), found[0].0.port), (1, "0.0.0.0", 68));
    assert!(listening("header\n broken line\n 0: zz:1 x 0A\n", abi::Transport::Tcp).is_empty());
}

#[test]
fn packages_that_are_installed() {
    let status = "\
Package: libc6
Status: install ok installed
Priority: optional
Architecture: amd64
Multi-Arch: same
Source: glibc (2.36-9+deb12u9)
Version: 2.36-9+deb12u10
Description: GNU C Library
 with a second line
 Version: not this one

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
";
    let found: Vec<_> = dpkg(status).into_iter().map(|p| (p.name, p.version, p.architecture, p.source)).collect();
    let expected = [("libc6", "2.36-9+deb12u10", "amd64", "glibc"), ("adduser", "3.134", "all", "adduser")];
    let own = |(a, b, c, d): (&str, &str, &str, &str)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned());
    assert_eq!(found, expected.map(own));
    let installed = "C:Q1abc=\nP:busybox-binsh\nV:1.36.1-r15\nA:x86_64\nS:1543\nT:busybox ash /bin/sh\no:busybox\nF:bin\nR:sh\n\nP:musl\nV:1.2.4-r2\nA:x86_64\n\n";
    let found: Vec<_> = apk(installed).into_iter().map(|p| (p.name, p.source)).collect();
    assert_eq!(found, [("busybox-binsh".into(), "busybox".into()), ("musl".into(), "musl".into())]);
}
