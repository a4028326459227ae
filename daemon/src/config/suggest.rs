//! "Did you mean ...?": the name that comes closest to a mistyped one.

/// The one of `names` that `wrong` was most likely meant to be, if any is near.
pub fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = (wrong.chars().count() / 3).clamp(1, 4);
    let wrong = wrong.to_lowercase().replace('-', "_");
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase().replace('-', "_")), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Names for a sentence: "`a`, `b` and `c`".
pub fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["schedule", "timeout", "grant", "limits", "max_running"];
        assert_eq!(nearest("shedule", names), Some("schedule"));
        assert_eq!(nearest("max-runing", names), Some("max_running"));
        assert_eq!(nearest("Grants", names), Some("grant"));
        assert_eq!(nearest("colour", names), None);
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
