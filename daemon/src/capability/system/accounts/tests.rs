use super::*;

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
mai:x:1000:1000:Mai,,,:/home/mai:
old::1001:1001::/home/old:/bin/sh
broken:x:none:1
+nis
";
const SHADOW: &str = "\
root:*:20228:0:99999:7:::
www-data:!:20228:0:99999:7:::
mai:$y$j9T$salt$hash:20000:0:99999:7:::
";
const GROUPS: &str = "root:x:0:\nsudo:x:27:mai,other\nusers:x:100:mai\ndocker:x:1001:\n";

#[test]
fn accounts_without_their_hashes() {
    let found = parse(PASSWD, Some(SHADOW), GROUPS, 20_500);
    let states: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.password, it.scheme.as_str())).collect();
    let expected = [
        ("root", abi::Password::Locked, ""),
        ("www-data", abi::Password::Locked, ""),
        ("mai", abi::Password::Set, "yescrypt"),
        ("old", abi::Password::None, ""),
    ];
    assert_eq!(states, expected);
    assert_eq!(found[2].groups, ["sudo"]);
    assert_eq!(found[3].groups, ["docker"], "as its own group");
    assert_eq!(found[2].shell, "/bin/sh", "what login takes for none");
    let all = format!("{found:?}");
    assert!(!all.contains("hash") && !all.contains("$y$"), "{all}");
    assert!(parse(PASSWD, None, GROUPS, 0)[..3].iter().all(|it| it.password == abi::Password::Unknown));
}

#[test]
fn states_of_passwords() {
    let today = 20_500;
    for (fields, expected) in [
        (":20000:0:99999:7:::", (abi::Password::None, "")),
        ("!$6$salt$hash:20000:0:99999:7:::", (abi::Password::Locked, "")),
        ("$6$salt$hash:20000:0:99999:7:::", (abi::Password::Set, "sha512")),
        ("$1$salt$hash:20000:0:90:7:::", (abi::Password::Expired, "md5")),
        ("$2b$05$hash:20000:0:99999:7::20499:", (abi::Password::Expired, "bcrypt")),
        ("$2b$05$hash:20000:0:99999:7::20500:", (abi::Password::Set, "bcrypt")),
        ("abJnggxhB/yWI:::::::", (abi::Password::Set, "des")),
        ("$argon$x", (abi::Password::Set, "unknown")),
        ("$md5,rounds=5000$x", (abi::Password::Set, "sun-md5")),
    ] {
        assert_eq!(state(fields, today), expected, "{fields}");
    }
}

#[test]
fn a_machine_is_read_from_its_root() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::create_dir_all(root.path().join("home/mai")).unwrap();
    fs::write(root.path().join("etc/passwd"), PASSWD).unwrap();
    fs::write(root.path().join("etc/login.defs"), "# UMASK 000\nUMASK\t\t027\nENV_SUPATH PATH=/usr/sbin:/opt/bin\n")
        .unwrap();
    let found = accounts(root.path()).unwrap();
    assert_eq!((found.umask, found.root_path), (Some(0o027), vec!["/usr/sbin".to_owned(), "/opt/bin".to_owned()]));
    assert!(found.accounts[2].home_mode.is_some() && found.accounts[0].home_mode.is_none());
    assert_eq!(found.sudo.map(|rules| rules.len()), Some(0), "there is no sudo");
}
