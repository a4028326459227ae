use proptest::prelude::*;

use super::*;

/// Versions from the lowest to the highest; those of one place are equal.
fn check(scheme: Scheme, ascending: &[&[&str]]) {
    let places = ascending.iter().enumerate().flat_map(|(place, texts)| texts.iter().map(move |text| (place, *text)));
    let places: Vec<_> = places.collect();
    for (place, text) in &places {
        for (other_place, other) in &places {
            let order = scheme.compare(text, other).unwrap();
            assert_eq!(order, place.cmp(other_place), "{scheme}: {text} and {other}");
        }
    }
}

fn refuse(scheme: Scheme, texts: &[&str]) {
    for text in texts {
        let error = Version::parse(scheme, text).expect_err(text);
        assert!(error.to_string().contains(scheme.as_str()), "{error}");
    }
}

#[test]
fn semver_is_ordered_by_its_own_example() {
    let ascending: &[&[&str]] = &[
        &["0.0.0-0"],
        &["0.0.0"],
        &["1.0.0-alpha"],
        &["1.0.0-alpha.1"],
        &["1.0.0-alpha.beta"],
        &["1.0.0-beta"],
        &["1.0.0-beta.2"],
        &["1.0.0-beta.11"],
        &["1.0.0-rc.1"],
        &["1.0.0", "1.0.0+build.7", " 1.0.0 "],
        &["1.0.9"],
        &["1.0.10"],
    ];
    check(Scheme::Semver, ascending);
    refuse(
        Scheme::Semver,
        &["", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0.0", "99999999999999999999.0.0"],
    );
}

#[test]
fn npm_takes_liberties() {
    check(
        Scheme::Npm,
        &[&["1.2.3-beta", "1.2.3beta", "v1.2.3-beta"], &["1.2.3", "v1.2.3", "=1.2.3", "= v1.2.3", "01.02.03"]],
    );
    check(Scheme::Npm, &[&["1.2.3-rc.1", "1.2.3-rc.01"], &["1.2.3-rc.2"], &["1.2.3-rc.10"]]);
    refuse(Scheme::Npm, &["1", "1.2", "1.2.x", "latest", "1.2.3-", "1.2.3+", "1.2.3.4", "file:../x", "1.2.3-é"]);
}

#[test]
fn go_has_pseudo_versions() {
    let ascending: &[&[&str]] = &[
        &["v0.0.0-20190101000000-0123456789ab", "0.0.0-20190101000000-0123456789ab"],
        &["v0.0.0-20200101000000-0123456789ab"],
        &["v1.2.4-0.20200101000000-0123456789ab"],
        &["v1.2.4", "1.2.4"],
        &["1.22.0-rc.1", "go1.22rc1"],
        &["1.22.0", "go1.22", "v1.22"],
        &["go1.22.3"],
        &["v2.0.0+incompatible", "2.0.0", "v2"],
    ];
    check(Scheme::Go, ascending);
    refuse(Scheme::Go, &["", "v", "go", "gopher", "v1.2-rc.1", "master", "go1.2x3", "(devel)"]);
}

#[test]
fn nuget_has_a_fourth_number() {
    check(
        Scheme::NuGet,
        &[&["1.0.0-ALPHA", "1.0-alpha"], &["1.0.0", "1", "1.0.0.0", "1.00"], &["1.0.0.1-rc"], &["1.0.0.1"], &["1.0.1"]],
    );
    refuse(Scheme::NuGet, &["", "1.0.0.0.0", "x", "1.", "1.0-"]);
}

#[test]
fn pep_440_is_ordered_by_its_own_examples() {
    let ascending: &[&[&str]] = &[
        &["1.dev0", "1.0.dev0"],
        &["1.0.dev456"],
        &["1.0a1", "1.0.alpha-1"],
        &["1.0a2.dev456"],
        &["1.0a12.dev456"],
        &["1.0a12"],
        &["1.0b1.dev456"],
        &["1.0b2"],
        &["1.0b2.post345.dev456"],
        &["1.0b2.post345"],
        &["1.0rc1.dev456"],
        &["1.0rc1", "1.0c1", "1.0-RC-1"],
        &["1.0", "1", "v1.0.0"],
        &["1.0+abc.5"],
        &["1.0+abc.7"],
        &["1.0+5"],
        &["1.0.post456.dev34"],
        &["1.0.post456", "1.0-456"],
        &["1.1.dev1"],
        &["2013.10"],
        &["1!0.1"],
    ];
    check(Scheme::Pep440, ascending);
    refuse(Scheme::Pep440, &["", "french toast", "1.0+", "1.0-", "2004d-x", "1.0.*"]);
}

#[test]
fn composer_knows_stabilities() {
    let ascending: &[&[&str]] = &[
        &["1.0.0-dev", "1.0-dev"],
        &["1.0.0-alpha"],
        &["1.0.0-alpha1", "1.0.0a1", "v1.0-ALPHA.1"],
        &["1.0.0-alpha10"],
        &["1.0.0-beta2-dev"],
        &["1.0.0-beta2", "1.0.0.0-b2"],
        &["1.0.0-RC1", "1.0.0.rc-1"],
        &["1.0.0", "v1.0", "1", "1.0.0-stable", "1.0.0+deadbeef"],
        &["1.0.0-patch1", "1.0.0-pl1", "1.0.0p1"],
        &["1.0.1"],
        &["1.9999999.9999999.9999999-dev", "1.x-dev", "1.*-dev"],
        &["2010.01.02", "2010-01-02"],
        &["20100102"],
    ];
    check(Scheme::Composer, ascending);
    refuse(Scheme::Composer, &["", "dev-main", "main", "1.0.0.0.0", "1.0.0-foo", "1.x", "x", "1.0-"]);
}

#[test]
fn maven_is_ordered_by_its_own_examples() {
    let ascending: &[&[&str]] = &[
        &["1-alpha", "1.0.0-alpha", "1.alpha", "1.0.alpha"],
        &["1-alpha-1", "1-a1", "1-alpha1", "1.0a1"],
        &["1-alpha-2"],
        &["1-alpha-10"],
        &["1-beta"],
        &["1-milestone-3", "1.0-M3"],
        &["1-rc", "1-cr"],
        &["1-SNAPSHOT"],
        &["1", "1.0", "1.0.0", "1-ga", "1.Final", "1.0.0.RELEASE", "1-0", "1.0.0-0.0.0"],
        &["1-sp"],
        &["1-foo", "1.0.0-foo.0.0"],
        &["1-jre"],
        &["1-1"],
        &["1-2"],
        &["1.0.1"],
        &["1.1"],
        &["1.2"],
        &["1.10"],
        &["2.0.0.v200706041905-7C78EK9E_EkMNfNOd2d8qq"],
        &["2.0.1"],
    ];
    check(Scheme::Maven, ascending);
    refuse(Scheme::Maven, &["", "LATEST", "${project.version}", "1 .0", "[1.0,2.0)x y"]);
}

#[test]
fn gems_take_letters_for_pre_releases() {
    check(
        Scheme::Gem,
        &[
            &["1.0.0.alpha", "1.alpha"],
            &["1.0.0.beta.2"],
            &["1.0.0.beta.10"],
            &["1.0.0-rc1", "1.pre.rc1"],
            &["1.0.0.rc"],
            &["1.0", "1", "1.0.0"],
            &["1.0.0.1"],
            &["1.0.10"],
        ],
    );
    refuse(Scheme::Gem, &["", "a", "1..2", "1.0_x", "1.é"]);
}

#[test]
fn debian_knows_epochs_and_tildes() {
    let ascending: &[&[&str]] = &[
        &["0~~"],
        &["0~~a"],
        &["0~"],
        &["0", "0:0", "00", "0-0"],
        &["0a"],
        &["0+b1"],
        &["1.0~rc1-1"],
        &["1.0-1~deb12u1"],
        &["1.0-1"],
        &["1.0-1+deb12u1"],
        &["1.0-1.1"],
        &["1.0a-1"],
        &["1.0+dfsg-1"],
        &["1.0.9"],
        &["1.0.10"],
        &["1:0.1"],
        &["2:0.0~"],
    ];
    check(Scheme::Debian, ascending);
    refuse(Scheme::Debian, &["", ":1", "x:1", "1:", "1-", "1 0", "1_0", "-1", "4294967296:1", "1.0\u{e9}"]);
}

#[test]
fn alpine_has_suffixes_before_and_after() {
    let ascending: &[&[&str]] = &[
        &["1.0_alpha"],
        &["1.0_alpha2"],
        &["1.0_beta"],
        &["1.0_pre20200101"],
        &["1.0_rc1"],
        &["1.0_rc1-r1"],
        &["1.0_rc1_p1"],
        &["1.0"],
        &["1.0-r0"],
        &["1.0-r2"],
        &["1.0-r10"],
        &["1.0~c0ffee-r1"],
        &["1.0_git20200101"],
        &["1.0_p1"],
        &["1.0_p2-r1"],
        &["1.0a"],
        &["1.0b-r3"],
        &["1.0.01"],
        &["1.0.1"],
        &["1.0.9"],
        &["1.0.10"],
        &["1.2"],
    ];
    check(Scheme::Alpine, ascending);
    refuse(Scheme::Alpine, &["", "a", "1.", "1.0_foo", "1.0-1", "1.0-r", "1.0A", "1.0aa", "1.0~-r1", "1.0_p1x"]);
}

#[test]
fn versions_of_two_schemes_are_not_comparable() {
    let one = Version::parse(Scheme::Debian, "1.0.0").unwrap();
    let other = Version::parse(Scheme::Semver, "1.0.0").unwrap();
    assert!(one.partial_cmp(&other).is_none() && one != other);
    assert!(Version::parse(Scheme::Debian, &"1".repeat(LONGEST + 1)).is_err());
    let error = Version::parse(Scheme::Npm, &"é".repeat(100)).unwrap_err();
    assert_eq!(error.text.chars().count(), 80, "the text is cut between characters");
}

/// Texts that are nearly versions, made of what the schemes look at.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "0", "1", "2", "10", "01", ".", "-", "+", "~", "_", ":", "!", "a", "b", "rc", "alpha", "beta", "dev", "post",
        "pre", "p", "final", "ga", "sp", "snapshot", "v", "-r1", "x", "1.0", "1.0.0", "-1",
    ]);
    let start = prop::sample::select(vec!["", "1", "1.0", "1.0.0", "1.0.0-", "1:1", "v1.0.0"]);
    (start, prop::collection::vec(piece, 0..6)).prop_map(|(start, pieces)| start.to_owned() + &pieces.concat())
}

fn scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(Scheme::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_order_is_total(scheme in scheme(), texts in prop::collection::vec(text(), 3..8)) {
        let versions: Vec<_> = texts.iter().filter_map(|it| Version::parse(scheme, it).ok()).collect();
        let order = |one: &Version, other: &Version| one.partial_cmp(other).unwrap();
        for one in &versions {
            prop_assert!(order(one, one).is_eq());
            for other in &versions {
                prop_assert_eq!(order(one, other), order(other, one).reverse(), "{:?} {:?}", one, other);
                for third in &versions {
                    if order(one, other).is_le() && order(other, third).is_le() {
                        prop_assert!(order(one, third).is_le(), "{:?} {:?} {:?}", one, other, third);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_makes_a_parser_panic(scheme in scheme(), text in any::<String>()) {
        let _ = Version::parse(scheme, &text);
    }
}
