//! Package URLs, by which tools of other makers know a package: <https://github.com/package-url/purl-spec>.

use std::fmt::Write;

use crate::Ecosystem;
use crate::pypi::normalize;

/// The package URL of a package of a registry. Packages of distributions are source packages, so they have
/// `arch=source`, and a `distro` where the release is known.
pub fn purl(ecosystem: &Ecosystem, name: &str, version: &str) -> String {
    let (kind, path, distro) = match ecosystem {
        Ecosystem::Npm => ("npm", name.to_owned(), None),
        Ecosystem::CratesIo => ("cargo", name.to_owned(), None),
        Ecosystem::PyPi => ("pypi", normalize(name), None),
        Ecosystem::Go => ("golang", name.to_ascii_lowercase(), None),
        Ecosystem::Packagist => ("composer", name.to_ascii_lowercase(), None),
        Ecosystem::Maven => ("maven", name.replacen(':', "/", 1), None),
        Ecosystem::Debian(release) => ("deb", format!("debian/{name}"), Some(("debian", release.as_str()))),
        Ecosystem::Ubuntu(release) => {
            let number = release.split(':').next().unwrap_or_default();
            ("deb", format!("ubuntu/{name}"), Some(("ubuntu", number)))
        }
        Ecosystem::Alpine(release) => {
            ("apk", format!("alpine/{name}"), Some(("alpine", release.trim_start_matches('v'))))
        }
    };
    let mut url = format!("pkg:{kind}");
    for segment in path.split('/') {
        url.push('/');
        encode(&mut url, segment);
    }
    if !version.is_empty() {
        // Versions of Go begin with `v` everywhere but in advisories.
        url.push_str(if *ecosystem == Ecosystem::Go { "@v" } else { "@" });
        encode(&mut url, version);
    }
    if let Some((name, release)) = distro {
        url.push_str("?arch=source");
        if !release.is_empty() {
            url.push_str("&distro=");
            encode(&mut url, &format!("{name}-{release}"));
        }
    }
    url
}

/// Writes a string with all in percent-encoding that a package URL does not hold as it is.
fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // A string takes everything that is written to it.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ecosystem_has_its_shape() {
        let release = |it: &str| it.to_owned();
        for (ecosystem, name, version, url) in [
            (Ecosystem::Npm, "@babel/core", "7.0.0+b", "pkg:npm/%40babel/core@7.0.0%2Bb"),
            (Ecosystem::CratesIo, "serde_json", "1.0.0", "pkg:cargo/serde_json@1.0.0"),
            (Ecosystem::PyPi, "Zope_Interface", "1.0", "pkg:pypi/zope-interface@1.0"),
            (Ecosystem::Go, "github.com/BurntSushi/toml", "1.2.0", "pkg:golang/github.com/burntsushi/toml@v1.2.0"),
            (Ecosystem::Packagist, "Symfony/Console", "v5.0", "pkg:composer/symfony/console@v5.0"),
            (Ecosystem::Maven, "org.x:a", "1.0", "pkg:maven/org.x/a@1.0"),
            (
                Ecosystem::Debian(release("12")),
                "curl",
                "1:7~1",
                "pkg:deb/debian/curl@1:7~1?arch=source&distro=debian-12",
            ),
            (Ecosystem::Debian(release("")), "g++", "", "pkg:deb/debian/g%2B%2B?arch=source"),
            (
                Ecosystem::Ubuntu(release("22.04:LTS")),
                "curl",
                "7",
                "pkg:deb/ubuntu/curl@7?arch=source&distro=ubuntu-22.04",
            ),
            (
                Ecosystem::Alpine(release("v3.19")),
                "musl",
                "1-r2",
                "pkg:apk/alpine/musl@1-r2?arch=source&distro=alpine-3.19",
            ),
        ] {
            assert_eq!(purl(&ecosystem, name, version), url);
        }
    }
}
