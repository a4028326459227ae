//! What kind of file it is, by its path and first bytes: that decides whether a value stands in quotes, and whether it is read
//! at all.

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// A programming language: what stands without quotes is an expression.
    Code,
    /// One setting a line, the value up to its end.
    Config,
    /// Commands, logs, documents, and what is not known.
    Text,
    /// Texts in languages of people, under names of code.
    Labels,
    /// Hashes of packages, source maps and minified code: names tell nothing there.
    Generated,
}

/// What is known of a file before its content is looked at.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) syntax: Syntax,
    /// In lower case, with `/` between its parts.
    pub(crate) path: String,
}

const CODE: &[&str] = &[
    "rs", "py", "js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "vue", "svelte", "java", "kt", "kts", "groovy",
    "gradle", "scala", "go", "php", "rb", "c", "h", "cc", "cpp", "hpp", "cs", "swift", "m", "mm", "dart", "lua", "pl",
    "pm", "r", "ex", "exs", "erl", "clj", "tf", "wxs", "zig", "css", "scss", "less", "svg", "pyi", "sol", "hcl", "s",
    "proto", "graphql",
];
const CONFIG: &[&str] = &[
    "env",
    "properties",
    "yml",
    "yaml",
    "ini",
    "cfg",
    "conf",
    "cnf",
    "toml",
    "config",
    "npmrc",
    "pypirc",
    "netrc",
    "credentials",
];
const GENERATED: &[&str] =
    &["lock", "sum", "map", "snap", "pom.sha1", "min.js", "min.css", "ipynb", "svg", "po", "pot"];
const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "composer.lock",
    "go.sum",
    "gemfile.lock",
    "pipfile.lock",
    ".secrets.baseline",
];

impl File {
    pub(crate) fn new(path: &str) -> Self {
        let path = path.replace('\\', "/").to_ascii_lowercase();
        let name = path.rsplit('/').next().unwrap_or(&path);
        let is_one =
            |endings: &[&str]| endings.iter().any(|it| name.strip_suffix(it).is_some_and(|rest| rest.ends_with('.')));
        let labels = ["/locale/", "/locales/", "/i18n/", "/lang/", "/langs/", "/translations/", "/l10n/", "/nls/"];
        let syntax = if LOCKS.contains(&name) || is_one(GENERATED) {
            Syntax::Generated
        } else if labels.iter().any(|it| format!("/{path}").contains(it))
            || name.starts_with("messages") && name.ends_with(".properties")
        {
            Syntax::Labels
        } else if is_one(CODE) {
            Syntax::Code
        } else if is_one(CONFIG) || name.starts_with(".env") || ["credentials", "config"].contains(&name) {
            Syntax::Config
        } else {
            Syntax::Text
        };
        Self { syntax, path }
    }

    pub(crate) fn ends_with(&self, endings: &[&str]) -> bool {
        endings.iter().any(|it| self.path.ends_with(it))
    }
}

/// How many bytes are looked at to tell whether a file is text.
pub(crate) const HEAD: usize = 8 << 10;

/// Formats that may go without a NUL for longer than that, by their first bytes.
const MAGIC: &[(&[u8], &str)] = &[
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"BZh", "compressed by bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"\0asm", "a WebAssembly module"),
    (b"wOF2", "a font"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
];

/// What a file is that is not read as text; `head` are its first [`HEAD`] bytes.
pub(crate) fn binary(head: &[u8]) -> Option<&'static str> {
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| *what);
    known.or_else(|| memchr::memchr(0, head).map(|_| "binary"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, syntax) in [
            ("src/main.rs", Syntax::Code),
            ("C:\\app\\Web.Config", Syntax::Config),
            (".env.production", Syntax::Config),
            ("a/application-dev.yml", Syntax::Config),
            ("package-lock.json", Syntax::Generated),
            ("dist/app.min.js", Syntax::Generated),
            ("Cargo.lock", Syntax::Generated),
            ("src/i18n/zh.js", Syntax::Labels),
            ("README.md", Syntax::Text),
            ("notes", Syntax::Text),
            ("a.json", Syntax::Text),
        ] {
            assert_eq!(File::new(path).syntax, syntax, "{path}");
        }
    }

    #[test]
    fn binaries() {
        assert_eq!(binary(b"\x89PNG\r\n"), Some("a PNG image"));
        assert_eq!(binary(b"abc\0"), Some("binary"));
        assert_eq!(binary("密码".as_bytes()), None);
    }
}
