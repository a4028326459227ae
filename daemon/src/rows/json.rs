//! A row as one JSON object, nothing lost: integers with all digits, and what JSON has no word for as text or as
//! `{"base64": …}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A row that is being written.
#[derive(Debug, Default)]
pub(crate) struct Object {
    text: Vec<u8>,
}

impl Object {
    /// Begins a row, in the same memory.
    pub(crate) fn begin(&mut self) {
        self.text.clear();
        self.text.push(b'{');
    }

    fn name(&mut self, name: &str) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
        self.string(name);
        self.text.push(b':');
    }

    fn string(&mut self, text: &str) {
        // Writing text into memory does not fail.
        let _ = serde_json::to_writer(&mut self.text, text);
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.name(name);
        self.text.extend_from_slice(b"null");
    }

    pub(crate) fn integer(&mut self, name: &str, number: i64) {
        self.digits(name, &number.to_string());
    }

    /// A number that is written already.
    pub(crate) fn digits(&mut self, name: &str, digits: &str) {
        self.name(name);
        self.text.extend_from_slice(digits.as_bytes());
    }

    /// Infinite numbers are written as text.
    pub(crate) fn real(&mut self, name: &str, number: f64) {
        match number.is_finite() {
            true => {
                self.name(name);
                let _ = serde_json::to_writer(&mut self.text, &number);
            }
            false => self.text(name, if number > 0.0 { "Infinity" } else { "-Infinity" }),
        }
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.string(text);
    }

    pub(crate) fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        self.text.extend_from_slice(b"{\"base64\":\"");
        self.text.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        self.text.extend_from_slice(b"\"}");
    }

    /// The row.
    pub(crate) fn end(&mut self) -> &[u8] {
        self.text.push(b'}');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_exact() {
        let mut object = Object::default();
        for _ in 0..2 {
            object.begin();
            object.integer("a \"b\"", i64::MIN);
            object.real("r", 0.1);
            object.real("i", f64::NEG_INFINITY);
            object.text("t", "line\n\u{0}数据");
            object.bytes("x", &[0, 255]);
            object.null("n");
            object.digits("d", "18446744073709551615");
            let expected = "{\"a \\\"b\\\"\":-9223372036854775808,\"r\":0.1,\"i\":\"-Infinity\",\
                 \"t\":\"line\\n\\u0000数据\",\"x\":{\"base64\":\"AP8=\"},\"n\":null,\"d\":18446744073709551615}";
            assert_eq!(std::str::from_utf8(object.end()).unwrap(), expected);
        }
    }
}
