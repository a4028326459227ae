//! Names of databases as names of files, and back. A database may be called `a/b`, `..` or `globals`.

/// The file of accounts.
pub const GLOBALS: &str = "globals.sql";

/// The name of the file for the database `name`. What a file cannot be called is written as `%XX`, as in an address.
pub fn file(name: &str, suffix: &str) -> String {
    let mut file = String::new();
    for (place, letter) in name.char_indices() {
        let is_odd = matches!(letter, '/' | '%' | '\\') || letter.is_control() || (place == 0 && letter == '.');
        if is_odd {
            let mut bytes = [0; 4];
            letter.encode_utf8(&mut bytes).bytes().for_each(|byte| file.push_str(&format!("%{byte:02x}")));
        } else {
            file.push(letter);
        }
    }
    file.push_str(suffix);
    // A database must not take the place of the accounts.
    if file == GLOBALS { file.replacen('g', "%67", 1) } else { file }
}

/// The database whose file this is; none when the file does not end in `suffix`, or is that of the accounts.
pub fn database(file: &str, suffix: &str) -> Option<String> {
    if file == GLOBALS {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = file.strip_suffix(suffix)?.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_names_become_files() {
        for (name, expected) in [
            ("app", "app.sql"),
            ("a/b", "a%2fb.sql"),
            ("..", "%2e..sql"),
            (".hidden", "%2ehidden.sql"),
            ("100%", "100%25.sql"),
            ("it's \"odd\" 数据", "it's \"odd\" 数据.sql"),
            ("new\nline", "new%0aline.sql"),
            ("globals", "%67lobals.sql"),
        ] {
            assert_eq!(file(name, ".sql"), expected);
        }
        assert_eq!(database(GLOBALS, ".sql"), None);
        assert_eq!(database("app.pgdump", ".sql"), None);
        assert_eq!(database("app%2.sql", ".sql"), None);
        assert_eq!(file("globals", ".pgdump"), "globals.pgdump");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "\\PC{1,40}|[a-z/%.\\\\\\n]{1,9}") {
            for suffix in [".sql", ".pgdump", ""] {
                let file = file(&name, suffix);
                prop_assert!(!file.contains('/') && !file.starts_with('.'));
                prop_assert_eq!(database(&file, suffix), Some(name.clone()));
            }
        }
    }
}
