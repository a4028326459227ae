//! Lines and columns, counted along the way.

/// Where the count has come to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// Line ends so far.
    lines: u64,
    /// Characters since the last line end.
    column: u64,
}

impl Place {
    /// Goes over some bytes.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        let line = match memchr::memrchr(b'\n', bytes) {
            None => bytes,
            Some(last) => {
                self.lines += memchr::memchr_iter(b'\n', &bytes[..=last]).count() as u64;
                self.column = 0;
                &bytes[last + 1..]
            }
        };
        // In UTF-8, all bytes of a character but the first begin with the bits 10.
        self.column += line.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
    }

    /// Line and column of the next byte, from 1 on.
    pub(crate) fn here(self) -> (u64, u64) {
        (self.lines + 1, self.column + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_pieces_as_at_once() {
        let text = "ab\n密码=1\r\n\nx";
        for (end, expected) in
            [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (9, (2, 3)), (13, (3, 1)), (14, (4, 1)), (15, (4, 2))]
        {
            for cut in 0..=end {
                let mut place = Place::default();
                place.pass(&text.as_bytes()[..cut]);
                place.pass(&text.as_bytes()[cut..end]);
                assert_eq!(place.here(), expected, "{end} {cut}");
            }
        }
    }
}
