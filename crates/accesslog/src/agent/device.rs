//! On what an agent runs.

use super::{Platform, behind, has};

pub(super) fn platform(text: &[u8]) -> Platform {
    // The more special ones come first: HarmonyOS says that it is Android, Android that it is Linux, Windows Phone that it is
    // all of them, and iPhones are like Mac OS X.
    const MARKS: [(&str, Platform); 18] = [
        ("wechatdevtools", Platform::Devtools),
        ("HarmonyOS", Platform::HarmonyOs),
        ("OpenHarmony", Platform::HarmonyOs),
        ("ArkWeb/", Platform::HarmonyOs),
        ("Windows Phone", Platform::Windows),
        ("iPhone", Platform::Ios),
        ("iPad", Platform::Ios),
        ("iPod", Platform::Ios),
        ("Android", Platform::Android),
        ("Windows", Platform::Windows),
        ("Macintosh", Platform::MacOs),
        ("Mac OS X", Platform::MacOs),
        ("macOS", Platform::MacOs),
        ("iOS", Platform::Ios),
        ("Linux", Platform::Linux),
        ("X11", Platform::Linux),
        ("linux", Platform::Linux),
        ("Adr ", Platform::Android),
    ];
    match MARKS.iter().find(|(mark, _)| has(text, mark)) {
        Some((_, platform)) => *platform,
        // Apps of Apple's systems that use its library as it is.
        None if has(text, "Darwin/") && has(text, "x86_64") => Platform::MacOs,
        None if has(text, "CFNetwork/") => Platform::Ios,
        None => Platform::Other,
    }
}

/// The model of a device.
pub(super) fn model(text: &[u8], platform: Platform) -> Option<&[u8]> {
    match platform {
        Platform::Ios => ["iPhone", "iPad", "iPod"].iter().find_map(|name| apple(text, name)),
        Platform::Android | Platform::HarmonyOs => android(text),
        _ => None,
    }
}

/// `iPhone`, or `iPhone15,2` where an app tells.
fn apple<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let bare = behind(text, name)?;
    let begin = text.len() - bare.len() - name.len();
    let is_numbered = |rest: &[u8]| {
        let digits = rest.iter().take_while(|it| it.is_ascii_digit()).count();
        let behind = rest.get(digits..).and_then(|it| it.strip_prefix(b","))?;
        let more = behind.iter().take_while(|it| it.is_ascii_digit()).count();
        (digits > 0 && more > 0).then_some(digits + 1 + more)
    };
    let mut rest = text;
    while let Some(tail) = behind(rest, name) {
        if let Some(length) = is_numbered(tail) {
            let begin = text.len() - tail.len() - name.len();
            return Some(&text[begin..begin + name.len() + length]);
        }
        rest = tail;
    }
    Some(&text[begin..begin + name.len()])
}

/// What stands behind `Android 14;` in the brackets, up to `Build/` if there is that.
fn android(text: &[u8]) -> Option<&[u8]> {
    let inside = behind(text, "(")?;
    let inside = inside.split(|it| *it == b')').next()?;
    let mut parts = inside.split(|it| *it == b';').map(<[u8]>::trim_ascii);
    parts.find(|it| it.starts_with(b"Android") || it.starts_with(b"OpenHarmony"))?;
    let part = parts.find(|it| !is_filling(it))?;
    let end = memchr::memmem::find(part, b"Build/").unwrap_or(part.len());
    let model = part[..end].trim_ascii();
    // Samsung's browser alone puts it there.
    let model = model.strip_prefix(b"SAMSUNG ").unwrap_or(model);
    (!model.is_empty() && !is_filling(model)).then_some(model)
}

/// Whether a part between semicolons is something else than a model: what browsers put there to tell less (`K`), a language, or
/// a component.
fn is_filling(part: &[u8]) -> bool {
    match part {
        [] | b"K" | b"U" | b"wv" | b"Mobile" | b"Tablet" | b"HarmonyOS" | b"arm_64" | b"arm64" => true,
        [a, b, b'-' | b'_', c, d] => [a, b, c, d].iter().all(|it| it.is_ascii_alphabetic()),
        [a, b] => a.is_ascii_lowercase() && b.is_ascii_lowercase(),
        _ => part.starts_with(b"rv:") || part.starts_with(b"HMSCore") || part.starts_with(b"GMSCore"),
    }
}
