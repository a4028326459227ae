//! Statements for each kind of database, written once.
//!
//! They are those of SQLite and PostgreSQL, with `?` for each value, `"` around names that some database keeps for itself, and
//! `@` before the name of a table, where the prefix goes.

use upkeep_plugin::sql::{Dialect, Value};

/// Characters of a name that is part of a key: what MariaDB can have in one.
pub(crate) const NAME: usize = 190;

/// How statements are written for the database that the figures are in.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    pub(crate) dialect: Dialect,
    /// What names of tables begin with.
    pub(crate) prefix: String,
}

impl Sql {
    /// A statement as the database takes it.
    pub(crate) fn text(&self, statement: &str) -> String {
        let mut text = String::with_capacity(statement.len() + 64);
        let mut number = 0;
        for character in statement.chars() {
            match (character, self.dialect) {
                ('@', _) => text.push_str(&self.prefix),
                ('?', Dialect::Postgresql) => {
                    number += 1;
                    text.push('$');
                    text.push_str(&number.to_string());
                }
                // SQLite takes a name in double quotes for text when nothing is called so.
                ('"', Dialect::Mariadb | Dialect::Sqlite) => text.push('`'),
                (character, _) => text.push(character),
            }
        }
        text
    }

    /// The statement that makes a table if it is not there. Types are `NAME` (of a key, at most [`NAME`] characters), `TEXT`,
    /// `NUMBER` and `BYTES`. Texts are compared by their bytes.
    pub(super) fn create(&self, table: &str) -> String {
        let (name, text, number, bytes, end) = match self.dialect {
            Dialect::Sqlite => ("TEXT", "TEXT", "INTEGER", "BLOB", " STRICT"),
            Dialect::Postgresql => ("TEXT COLLATE \"C\"", "TEXT", "BIGINT", "BYTEA", ""),
            Dialect::Mariadb => (
                "VARCHAR(190)",
                "LONGTEXT",
                "BIGINT",
                "LONGBLOB",
                " ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            ),
        };
        let words = table.split_inclusive([' ', ',', ')']).map(|word| {
            let (word, rest) = word.split_at(word.trim_end_matches([' ', ',', ')']).len());
            let word = match word {
                "NAME" => name,
                "TEXT" => text,
                "NUMBER" => number,
                "BYTES" => bytes,
                word => word,
            };
            format!("{word}{rest}")
        });
        let words: String = words.collect();
        // Quotes of a collation are PostgreSQL's, which keeps them.
        self.text(&format!("CREATE TABLE IF NOT EXISTS {words}{end}"))
    }

    /// Writes a row in the place of the one that has its key.
    pub(super) fn put(&self, table: &str, key: &[&str], columns: &[&str]) -> String {
        let places = vec!["?"; key.len() + columns.len()].join(", ");
        let names = key.iter().chain(columns).map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO @{table} ({names}) VALUES ({places}){}", self.replacing(key, columns))
    }

    /// What follows an INSERT that takes the place of rows with the same key.
    pub(super) fn replacing(&self, key: &[&str], columns: &[&str]) -> String {
        let set = |new: fn(&str) -> String| {
            columns.iter().map(|it| format!("\"{it}\" = {}", new(it))).collect::<Vec<_>>().join(", ")
        };
        match self.dialect {
            Dialect::Mariadb => format!(" ON DUPLICATE KEY UPDATE {}", set(|it| format!("VALUES(\"{it}\")"))),
            _ => {
                let key = key.iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ");
                format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set(|it| format!("excluded.\"{it}\"")))
            }
        }
    }

    /// An INSERT, from INTO on, that does nothing where there is a row with the same key.
    pub(super) fn insert_new(&self, rest: &str) -> String {
        match self.dialect {
            Dialect::Mariadb => format!("INSERT IGNORE {rest}"),
            _ => format!("INSERT {rest} ON CONFLICT DO NOTHING"),
        }
    }

    /// An expression that gives 16 bytes, of which nobody knows 122 bits at least.
    pub(super) fn random(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "randomblob(16)",
            Dialect::Postgresql => "uuid_send(gen_random_uuid())",
            Dialect::Mariadb => "RANDOM_BYTES(16)",
        }
    }

    /// A query that takes so many seconds; none where nothing has to be waited for.
    pub(crate) fn sleep(&self, seconds: f64) -> Option<String> {
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgresql => Some(format!("SELECT pg_sleep({seconds})::text")),
            Dialect::Mariadb => Some(format!("SELECT SLEEP({seconds})")),
        }
    }

    /// Asks whether a table is there.
    pub(super) fn is_there(&self, table: &str) -> (String, Vec<Value>) {
        let statement = match self.dialect {
            Dialect::Sqlite => "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
            Dialect::Postgresql => "SELECT 1 WHERE to_regclass(?) IS NOT NULL",
            Dialect::Mariadb => {
                "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
            }
        };
        (self.text(statement), vec![Value::from(format!("{}{table}", self.prefix))])
    }
}

/// A value that every database takes: PostgreSQL has no text with a zero in it.
pub(super) fn harmless(value: Value) -> Value {
    match value {
        Value::Text(text) if text.contains('\0') => Value::Text(text.replace('\0', "\u{fffd}")),
        value => value,
    }
}

/// A name that is part of a key, cut where it is too long for one.
pub(crate) fn short(name: &str) -> &str {
    let end = name.char_indices().nth(NAME).map_or(name.len(), |(end, _)| end);
    name[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(dialect: Dialect) -> Sql {
        Sql { dialect, prefix: "x_".to_owned() }
    }

    #[test]
    fn each_database_has_statements_of_its_own() {
        let (sqlite, postgresql, mariadb) = (sql(Dialect::Sqlite), sql(Dialect::Postgresql), sql(Dialect::Mariadb));
        let statement = "SELECT \"key\" FROM @section WHERE source = ? AND n < ?";
        assert_eq!(sqlite.text(statement), "SELECT `key` FROM x_section WHERE source = ? AND n < ?");
        assert_eq!(postgresql.text(statement), "SELECT \"key\" FROM x_section WHERE source = $1 AND n < $2");
        assert_eq!(mariadb.text(statement), "SELECT `key` FROM x_section WHERE source = ? AND n < ?");
        let table = "@t (name NAME NOT NULL, n NUMBER, b BYTES, PRIMARY KEY (name))";
        assert_eq!(
            postgresql.create(table),
            "CREATE TABLE IF NOT EXISTS x_t (name TEXT COLLATE \"C\" NOT NULL, n BIGINT, b BYTEA, PRIMARY KEY (name))"
        );
        assert_eq!(
            sqlite.create(table),
            "CREATE TABLE IF NOT EXISTS x_t (name TEXT NOT NULL, n INTEGER, b BLOB, PRIMARY KEY (name)) STRICT"
        );
        assert!(mariadb.create(table).starts_with(
            "CREATE TABLE IF NOT EXISTS x_t (name VARCHAR(190) NOT NULL, n BIGINT, b LONGBLOB, PRIMARY KEY (name)) ENGINE"
        ));
        assert_eq!(
            mariadb.text(&mariadb.put("t", &["a"], &["b", "c"])),
            "INSERT INTO x_t (`a`, `b`, `c`) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE `b` = VALUES(`b`), `c` = VALUES(`c`)"
        );
        assert_eq!(
            postgresql.text(&postgresql.put("t", &["a"], &["b"])),
            "INSERT INTO x_t (\"a\", \"b\") VALUES ($1, $2) ON CONFLICT (\"a\") DO UPDATE SET \"b\" = excluded.\"b\""
        );
    }

    #[test]
    fn names_of_keys_are_cut_between_characters() {
        assert_eq!(short(" view "), "view");
        let long = "\u{4e2d}".repeat(500);
        assert_eq!(short(&long).chars().count(), NAME);
    }
}
