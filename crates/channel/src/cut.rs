//! Makes texts fit where a provider has a limit, and says so in the text.

use std::borrow::Cow;

/// How much a character counts.
pub(crate) type Measure = fn(char) -> usize;

/// Bytes of UTF-8.
pub(crate) fn bytes(it: char) -> usize {
    it.len_utf8()
}

/// Bytes in a string of JSON, as serde_json writes it.
pub(crate) fn json_bytes(it: char) -> usize {
    match it {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => it.len_utf8(),
    }
}

/// The text if it fits; else as much of its beginning as fits together with a remark of how much is missing. Cut between
/// characters, and at the end of a line where that costs less than a tenth. What is returned never exceeds the limit; where
/// not even the remark fits, the characters that do.
pub(crate) fn cut(text: &str, limit: usize, measure: Measure) -> Cow<'_, str> {
    let whole: usize = text.chars().map(measure).sum();
    if whole <= limit {
        return Cow::Borrowed(text);
    }
    let count = text.chars().count();
    // With the largest number that can stand in it, so that it fits whatever the number is.
    let room = limit.saturating_sub(remark(count, count).chars().map(measure).sum());
    if room == 0 {
        return Cow::Owned(text[..fitting(text, limit, measure)].to_owned());
    }
    let mut kept = &text[..fitting(text, room, measure)];
    if let Some(line) = kept.rfind('\n').filter(|it| *it >= kept.len() / 10 * 9) {
        kept = &kept[..line];
    }
    let missing = count - kept.chars().count();
    Cow::Owned(format!("{kept}{}", remark(missing, count)))
}

/// Up to which byte a text fits.
fn fitting(text: &str, limit: usize, measure: Measure) -> usize {
    let mut used = 0;
    for (at, it) in text.char_indices() {
        used += measure(it);
        if used > limit {
            return at;
        }
    }
    text.len()
}

fn remark(missing: usize, count: usize) -> String {
    format!("\n… (cut: {missing} of {count} characters are missing)")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_what_is_missing() {
        assert_eq!(cut("all of it", 9, bytes), "all of it");
        let text = "日本語".repeat(40);
        let short = cut(&text, 100, bytes);
        assert_eq!(short, format!("{}\n… (cut: 102 of 120 characters are missing)", "日本語".repeat(6)));
        assert!(short.len() <= 100);
    }

    #[test]
    fn prefers_the_end_of_a_line() {
        let text = format!("{}\n{}", "a".repeat(200), "b".repeat(200));
        assert!(cut(&text, 260, bytes).starts_with(&format!("{}\n…", "a".repeat(200))));
    }

    #[test]
    fn fits_where_not_even_the_remark_does() {
        assert_eq!(cut("日本語日本語", 7, bytes), "日本");
        assert_eq!(cut("日本語", 0, bytes), "");
    }

    proptest! {
        #[test]
        fn never_exceeds_and_never_splits(text in "[\\x00-\\x7fä日\u{1f600}\n]{0,300}", limit in 0_usize..400) {
            for measure in [bytes as Measure, json_bytes] {
                let short = cut(&text, limit, measure);
                prop_assert!(short.chars().map(measure).sum::<usize>() <= limit);
                let kept = short.split("\n… (cut: ").next().unwrap_or_default();
                prop_assert!(text.starts_with(kept));
                if text.chars().map(measure).sum::<usize>() <= limit {
                    prop_assert_eq!(short, text.as_str());
                }
            }
        }

        #[test]
        fn measures_as_json_is_written(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap().len() - 2;
            prop_assert_eq!(text.chars().map(json_bytes).sum::<usize>(), written);
        }
    }
}
