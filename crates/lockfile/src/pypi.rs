//! Names of Python packages.

/// A name in the one spelling that counts: in lower case, with `-` for each run of `-`, `_` and `.`
/// ([PEP 503](https://peps.python.org/pep-0503/#normalized-names)).
pub(crate) fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for it in name.chars() {
        match it {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            it => normal.push(it.to_ascii_lowercase()),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_have_one_spelling() {
        assert_eq!(super::normalize("Zope.__Interface"), "zope-interface");
    }
}
