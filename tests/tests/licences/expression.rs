//! Licence expressions as they stand in Cargo.toml: SPDX's `AND`, `OR`, `WITH` and brackets, and the `/` of older crates.

/// Whether the expression can be fulfilled with licences that are `allowed`. `LICENCE WITH EXCEPTION` is asked for as one
/// name; when that is not allowed, the licence alone does as well, since an exception only takes conditions away.
pub(crate) fn holds(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { rest: spaced.split_whitespace().peekable(), allowed };
    let value = words.any()?;
    match words.rest.next() {
        None => Ok(value),
        Some(word) => Err(format!("`{word}` stands where the end should be")),
    }
}

struct Words<'a> {
    rest: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Words<'_> {
    fn any(&mut self) -> Result<bool, String> {
        let mut value = self.all()?;
        while self.rest.next_if_eq(&"OR").is_some() {
            value |= self.all()?;
        }
        Ok(value)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut value = self.one()?;
        while self.rest.next_if_eq(&"AND").is_some() {
            value &= self.one()?;
        }
        Ok(value)
    }

    fn one(&mut self) -> Result<bool, String> {
        match self.rest.next() {
            Some("(") => {
                let value = self.any()?;
                self.rest.next_if_eq(&")").map(|_| value).ok_or_else(|| "a bracket is not closed".to_owned())
            }
            Some(word @ (")" | "OR" | "AND" | "WITH")) => Err(format!("`{word}` stands where a licence should be")),
            Some(licence) if self.rest.next_if_eq(&"WITH").is_some() => {
                let exception = self.rest.next().ok_or("`WITH` stands at the end")?;
                Ok((self.allowed)(&format!("{licence} WITH {exception}")) || (self.allowed)(licence))
            }
            Some(licence) => Ok((self.allowed)(licence)),
            None => Err("a licence is missing at the end".to_owned()),
        }
    }
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = |licence: &str| ["MIT", "Apache-2.0", "BSD-3-Clause", "GPL-2.0 WITH linking"].contains(&licence);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 / MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND BSD-3-Clause", true),
        // AND binds closer than OR.
        ("MIT OR GPL-3.0 AND GPL-2.0", true),
        ("GPL-3.0 AND GPL-2.0 OR MIT", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("(MIT OR GPL-3.0) AND (Apache-2.0 OR GPL-2.0)", true),
        ("GPL-2.0 WITH linking", true),
        ("GPL-3.0 WITH linking", false),
        ("Apache-2.0 WITH LLVM-exception", true),
    ] {
        assert_eq!(holds(expression, &allowed), Ok(expected), "{expression}");
    }
    for wrong in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH", "AND"] {
        assert!(holds(wrong, &allowed).is_err(), "`{wrong}`");
    }
}
