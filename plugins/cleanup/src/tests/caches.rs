//! Caches: the layouts as the package managers write them.

use super::*;

const OLD: i64 = 24 * 60;

fn rules(manager: &str) -> Value {
    json!([{ "cache": { "manager": manager, "older_than": "30d" } }])
}

#[test]
fn of_apt_only_packages_go() {
    let site = Site::new();
    for path in [
        "archives/curl_7.88.1-10_amd64.deb",
        "archives/lock",
        "archives/partial/half.deb",
        "pkgcache.bin",
        "srcpkgcache.bin",
    ] {
        site.file(path, OLD, 1);
    }
    site.file("archives/new_1_amd64.deb", 1, 1);
    // As apt leaves a package: of the time of its publication, and read a moment ago.
    site.file("archives/read_1_amd64.deb", OLD, 1);
    site.touch("archives/read_1_amd64.deb", OLD, 1);
    site.touch("archives", 2, 2);
    assert_eq!(site.going(&rules("apt")), ["archives/curl_7.88.1-10_amd64.deb"]);
    let inner = json!([{ "path": "archives", "cache": { "manager": "apt", "older_than": "30d" } }]);
    assert_eq!(site.going(&inner), ["archives/curl_7.88.1-10_amd64.deb"]);
    // Something has just been fetched.
    site.touch("archives", 0, 0);
    assert!(site.going(&rules("apt")).is_empty() && site.going(&inner).is_empty());
    let report = site.run(&rules("apt"));
    assert!(report.findings.is_empty(), "it passes: {report:?}");
    assert!(site.plan(&rules("apt")).unwrap()[0].title.ends_with("apt has fetched packages within the last hour"));
}

#[test]
fn of_pip_responses_and_wheels_go() {
    let site = Site::new();
    let cached = ["http-v2/a/b/c", "http-v2/a/b/c.body", "http/1/2", "wheels/a/b/x.whl", "selfcheck/1"];
    cached.iter().chain(&["other/x", "x"]).for_each(|it| site.file(it, OLD, 1));
    site.file("http-v2/a/b/young", 1, 1);
    let mut expected = cached;
    expected.sort_unstable();
    assert_eq!(site.going(&rules("pip")), expected);
}

#[test]
fn of_npm_content_goes_that_no_entry_needs() {
    let site = Site::new();
    let entry = |path: &str, integrity: &str, hours: i64| {
        site.file(path, hours, 0);
        let text = format!("\n0123\t{{\"key\":\"pacote:x\",\"integrity\":\"{integrity}\",\"time\":1}}");
        fs::write(site.path(path), text).unwrap();
        site.touch(path, hours, hours);
    };
    // The SHA-512 of nothing, and of `x`.
    let nothing = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
    let x = "sha512-pKvU8o7ylpTM8f7iYRArkvh6S7/WZu7LIYHuMTxU6P/aZ6e3RnAy1hhAQr20ezAtF/Hd9tXlgKQoWI9C1xUxqA==";
    let content = |hex: &str| format!("_cacache/content-v2/sha512/{}/{}/{}", &hex[..2], &hex[2..4], &hex[4..]);
    let of_nothing = content(
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
    );
    let of_x = content(
        "a4abd4448c49562d828115d13a1fccea927f52b4d5459297f8b43e42da89238bc13626e43dcb38ddb082488927ec904fb42057443983e88585179d50551afe62",
    );
    // Read a moment ago: npm needs its content.
    entry("_cacache/index-v5/aa/bb/cc", nothing, 1);
    entry("_cacache/index-v5/aa/bb/dd", x, OLD);
    [of_nothing.as_str(), of_x.as_str(), "_cacache/tmp/x", "_logs/x.log", "_cacache/other", "_npx/x"]
        .iter()
        .for_each(|it| site.file(it, OLD, 1));
    site.file("_cacache/content-v2/sha512/00/11/22334455667788990011223344556677", 1, 1);
    let expected = [of_x.as_str(), "_cacache/index-v5/aa/bb/dd", "_cacache/tmp/x", "_logs/x.log"];
    assert_eq!(site.going(&rules("npm")), expected);
}

#[test]
fn of_cargo_sources_go_as_a_whole() {
    let site = Site::new();
    for path in [
        "registry/cache/index-1/a-1.0.0.crate",
        "registry/src/index-1/a-1.0.0/src/lib.rs",
        "registry/src/index-1/a-1.0.0/Cargo.toml",
        "registry/src/index-1/b-1.0.0/src/lib.rs",
        "registry/src/index-1/b-1.0.0/Cargo.toml",
        "registry/src/index-1/c-1.0.0/lib.rs",
        "registry/index/index-1/.cache/a",
        "registry/CACHEDIR.TAG",
        "git/db/repo-1/HEAD",
        "git/checkouts/repo-1/abc/lib.rs",
        "config.toml",
        "credentials.toml",
        "bin/tool",
    ] {
        site.file(path, OLD, 1);
    }
    site.file("registry/cache/index-1/b-1.0.0.crate", 1, 1);
    let folders =
        ["a-1.0.0/src", "a-1.0.0", "b-1.0.0/src", "b-1.0.0", "c-1.0.0"].map(|it| format!("registry/src/index-1/{it}"));
    let checkout = ["git/checkouts/repo-1/abc".to_owned()];
    folders.iter().chain(&checkout).for_each(|it| site.touch(it, OLD, 1));
    // One file of it was read; the other was unpacked a moment ago, with files as old as they were published.
    site.touch("registry/src/index-1/b-1.0.0/src/lib.rs", OLD, 1);
    site.touch("registry/src/index-1/c-1.0.0", 1, 1);
    let a = ["", "/Cargo.toml", "/src", "/src/lib.rs"].map(|it| format!("registry/src/index-1/a-1.0.0{it}"));
    let mut expected = vec!["git/checkouts/repo-1/abc".to_owned(), "git/checkouts/repo-1/abc/lib.rs".to_owned()];
    expected.push("registry/cache/index-1/a-1.0.0.crate".to_owned());
    expected.extend(a);
    assert_eq!(site.going(&rules("cargo")), expected);
    site.run(&rules("cargo"));
    assert!(!site.path("registry/src/index-1/a-1.0.0").exists() && site.path("git/checkouts/repo-1").exists());
    assert!(site.going(&rules("cargo")).is_empty(), "a second run has nothing to do");
}
