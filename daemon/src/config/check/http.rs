//! The requests that a task file lets out. Whether a server answers is left to the run.

use std::path::Path;

use crate::config::check::TaskFile;
use crate::config::source::KeyPath;

pub(crate) fn check(file: &mut TaskFile<'_>) {
    let settings = file.settings;
    let Some(http) = &settings.grant.http else { return };
    let key = KeyPath::of(["grant", "http"]);
    if http.allow.is_empty() {
        let help = "name what may be asked: `allow = [\"https://api.example.com/v1/\"]`";
        file.error(key.key("allow"), "no address is named, so nothing could ever be asked", help);
    }
    for (index, origin) in http.allow.iter().enumerate() {
        if !origin.is_https() && !origin.is_this_machine() {
            let help = "write `https://`, unless the server knows no TLS";
            file.warning(key.key("allow").index(index), "what is asked there can be read and changed on the way", help);
        }
        if let Some(address) = origin.ip().filter(|address| !http.may_connect(*address)) {
            let message = format!("{address} is no public address, so nothing could ever be asked there");
            let mut networks: Vec<String> = http.networks.iter().map(|network| format!("\"{network}\"")).collect();
            networks.push(format!("\"{address}\""));
            let help = format!("if it is meant, write `networks = [{}]` beside it", networks.join(", "));
            file.warning(key.key("allow").index(index), message, help);
        }
    }
    if http.max_response.0 == 0 {
        let help = "write how large one may be: `\"10 MiB\"`";
        file.error(key.key("max_response"), "no answer could ever be taken", help);
    }
    if http.timeout.is_zero() {
        file.error(key.key("timeout"), "nothing answers at once", "write how long to wait: `\"30s\"`");
    }
    if let Some(ca) = &http.ca {
        check_certificates(file, key.key("ca"), ca);
    }
}

/// Whether a file with certificates to trust is there.
pub(super) fn check_certificates(file: &mut TaskFile<'_>, key: KeyPath, ca: &Path) {
    if !ca.is_absolute() {
        file.error(key, "this is not an absolute path", "write the whole path, such as `\"/etc/ssl/own.pem\"`");
    } else if !ca.is_file() {
        file.error(key, format!("there is no file {}", ca.display()), "name a file with certificates in PEM form");
    }
}
