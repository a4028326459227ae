//! Makes files of the templates beside it: each `@[kind]` becomes a secret that is to be found, each `@{kind}` something that
//! only looks like one. The same seed gives the same files. Templates hold no secret, and no part of one that a code host
//! would take for it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

const DIGITS: &str = "0123456789";
const HEX: &str = "0123456789abcdef";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const ALNUM: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A generator of numbers: SplitMix64, after G. L. Steele et al., "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        (0..length).map(|_| char::from(alphabet.as_bytes()[self.below(alphabet.len())])).collect()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Base64 of `length` characters.
    fn base64(&mut self, length: usize) -> String {
        // 44, 88 and 28 are what 32, 64 and 20 bytes take.
        let bytes = if length.is_multiple_of(4) {
            [32, 64, 20].into_iter().find(|it: &usize| it.div_ceil(3) * 4 == length)
        } else {
            None
        };
        let count = bytes.unwrap_or(length);
        let text = {
            let bytes = self.bytes(count);
            STANDARD.encode(bytes)
        };
        text[..length].to_owned()
    }

    /// As people and generators make them.
    fn password(&mut self, symbols: &str) -> String {
        let word = self.pick(&[
            "mall",
            "shop",
            "Order",
            "wechat",
            "Admin",
            "zhang",
            "woaini",
            "redis",
            "Spring",
            "beijing",
            "Kuaile",
            "server",
            "lixiaoming",
            "Hangzhou",
        ]);
        match self.below(8) {
            0 => self.of(ALNUM, 16) + "7q",
            1 => format!("{}{}{}", self.of(ALNUM, 6), self.of(symbols, 1), self.of(ALNUM, 5)),
            2 => format!("{word}{}{}", self.of(symbols, 1), self.of(DIGITS, 4)),
            3 => format!("{word}{}", 1980 + self.below(46)) + &self.of(DIGITS, 2),
            4 => format!("{}{word}{}", self.of(DIGITS, 2), self.of(symbols, 2)),
            5 => format!("{}{}{}", self.of(UPPER, 2), self.of(LOWER, 5), self.of(DIGITS, 3)),
            6 => format!("{word}{}{}{}", self.of(symbols, 1), self.of(DIGITS, 3), self.of(LOWER, 2)),
            _ => self.of(ALNUM, 5) + &self.of(DIGITS, 2) + &self.of(LOWER, 3) + &self.of(UPPER, 2),
        }
    }

    fn pem(&mut self, label: &str, bytes: usize) -> String {
        let body = STANDARD.encode(self.bytes(bytes));
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let (begin, end) = ("-----BEGIN", "-----END");
        format!("{begin} {label}-----\n{}\n{end} {label}-----", lines.join("\n"))
    }

    fn uuid(&mut self) -> String {
        let digits = self.of(HEX, 32);
        format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
    }

    /// Prefix, 30 random characters, and their checksum as GitHub and npm write it.
    fn checked(&mut self, prefix: &str) -> String {
        let body = self.of(ALNUM, 30);
        let mut rest = crc32fast::hash(body.as_bytes());
        let mut checksum = String::new();
        for _ in 0..6 {
            checksum.insert(0, char::from(ALNUM.as_bytes()[(rest % 62) as usize]));
            rest /= 62;
        }
        format!("{prefix}{body}{checksum}")
    }

    fn jwt(&mut self) -> String {
        let claims =
            format!("{{\"sub\":\"u{}\",\"role\":\"admin\",\"exp\":2098{}}}", self.of(DIGITS, 6), self.of(DIGITS, 6));
        let signature = URL_SAFE_NO_PAD.encode(self.bytes(32));
        format!(
            "{}.{}.{signature}",
            URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    fn value(&mut self, kind: &str) -> String {
        let url64 = format!("{ALNUM}-_");
        let (name, length) = kind.split_once(':').map_or((kind, 0), |(name, length)| (name, length.parse().unwrap()));
        match name {
            "hex" => self.of(HEX, length),
            "alnum" => self.of(ALNUM, length),
            "upper" => self.of(&(UPPER.to_owned() + DIGITS), length),
            "lower" => self.of(LOWER, length),
            "url64" => self.of(&url64, length - 1) + "4",
            "base64" => self.base64(length),
            "salt" => self.of(&format!("{ALNUM}!@#$%^&*()-_ []{{}}~`+=,.;:/?|"), length - 1) + "=",
            "django" => self.of("abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)", 50),
            "uuid" => self.uuid(),
            "password" => self.password("@#!.-_$%"),
            "urlpassword" => self.password("!._-~*"),
            "aws.id" => ["AK", "IA"].concat() + &self.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
            "aws.secret" => self.base64(40),
            "aliyun.id" => ["LT", "AI"].concat() + "5t" + &self.of(ALNUM, 18),
            "aliyun.secret" => self.of(ALNUM, 30),
            "tencent.id" => ["AK", "ID"].concat() + &self.of(ALNUM, 32),
            "tencent.secret" => self.of(ALNUM, 32),
            "wx.appid" => format!("wx{}", self.of(HEX, 16)),
            "qqmap" => (0..6).map(|_| self.of(&(UPPER.to_owned() + DIGITS), 5)).collect::<Vec<_>>().join("-"),
            "stripe.live" => ["sk_", "live_"].concat() + &self.of(ALNUM, 24),
            "openai" => ["sk-", "proj-"].concat() + &self.of(&url64, 80) + "A1b",
            "anthropic" => ["sk-", "ant-api03-"].concat() + &self.of(&url64, 93) + "AA",
            "github.ghp" => self.checked(&["gh", "p_"].concat()),
            "github.pat" => ["github", "_pat_"].concat() + &self.of(ALNUM, 22) + "_" + &self.of(ALNUM, 59),
            "gitlab" => ["gl", "pat-"].concat() + &self.of(&url64, 19) + "7",
            "npm" => self.checked(&["np", "m_"].concat()),
            "pypi" => ["pypi-", "AgEIcHlwaS5vcmc"].concat() + &self.of(&url64, 140) + "z",
            "slack.bot" => {
                ["xo", "xb-"].concat()
                    + &format!("{}-{}-{}", self.of(DIGITS, 12), self.of(DIGITS, 12), self.of(ALNUM, 24))
            }
            "slack.hook" => format!(
                "T0{}/B0{}/{}",
                self.of(&(UPPER.to_owned() + DIGITS), 9),
                self.of(&(UPPER.to_owned() + DIGITS), 9),
                self.of(ALNUM, 24)
            ),
            "discord" => format!("{}/{}", self.of(DIGITS, 18), self.of(&url64, 67) + "a"),
            "telegram" => format!("7{}:AA{}", self.of(DIGITS, 9), self.of(&url64, 33)),
            "sendgrid" => ["S", "G."].concat() + &format!("{}.{}", self.of(&url64, 22), self.of(ALNUM, 43)),
            "google" => ["AI", "za"].concat() + "Sy" + &self.of(&url64, 32) + "k",
            "digitalocean" => ["dop", "_v1_"].concat() + &self.of(HEX, 64),
            "dockerauth" | "basic" => {
                let login = format!("shop:{}", self.password("@#!.-_$%"));
                STANDARD.encode(login)
            }
            "sas" => self.base64(43).replace('+', "%2B").replace('/', "%2F") + "%3D",
            "jwt" => self.jwt(),
            "pem.pkcs8" => self.pem(&["PRIVATE", "KEY"].join(" "), 1216),
            "pem.rsa" => self.pem(&["RSA", "PRIVATE", "KEY"].join(" "), 1190),
            "pem.ec" => self.pem(&["EC", "PRIVATE", "KEY"].join(" "), 121),
            "pem.openssh" => self.pem(&["OPENSSH", "PRIVATE", "KEY"].join(" "), 400),
            "pem.pgp" => {
                self.pem(&["PGP", "PRIVATE", "KEY", "BLOCK"].join(" "), 900).replacen("-----\n", "-----\n\n", 1)
            }
            "pem.escaped" => self.pem(&["PRIVATE", "KEY"].join(" "), 1216).replace('\n', "\\n"),
            "putty" => format!(
                "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: deploy\nPublic-Lines: 2\n{}\nPrivate-Lines: 1\n{}\nPrivate-MAC: {}",
                self.base64(64) + "\n" + &self.base64(44),
                self.base64(64),
                self.of(HEX, 64)
            ),
            _ => panic!("no kind `{kind}`"),
        }
    }
}

/// A file, and where its secrets are.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Bytes and kind of each secret.
    pub(crate) secrets: Vec<(Range<usize>, String)>,
    /// How many lines look as if they held a secret and do not.
    pub(crate) tempting: usize,
}

/// The files of one text: `=== path`, and what comes after it.
fn fill(templates: &str, folder: &str, random: &mut Random) -> Vec<Sample> {
    let files = templates.split("=== ").skip(1);
    files
        .map(|file| {
            let (path, mut rest) = file.split_once('\n').unwrap();
            let mut sample =
                Sample { path: format!("{folder}/{path}"), text: String::new(), secrets: Vec::new(), tempting: 0 };
            while let Some(at) = rest.find("@[").into_iter().chain(rest.find("@{")).min() {
                sample.text.push_str(&rest[..at]);
                let is_secret = rest[at..].starts_with("@[");
                let close = at + rest[at..].find(if is_secret { ']' } else { '}' }).unwrap();
                let kind = &rest[at + 2..close];
                let value = random.value(kind);
                if is_secret {
                    let start = sample.text.len();
                    sample.secrets.push((start..start + value.len(), kind.to_owned()));
                }
                sample.text.push_str(&value);
                rest = &rest[close + 1..];
            }
            sample.text.push_str(rest);
            sample
        })
        .collect()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labelled").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What has secrets: `seen.txt`, which rules may be fitted to, or `held-out.txt`, which they may not.
pub(crate) fn secrets(name: &str) -> Vec<Sample> {
    let templates = read(name);
    let rounds = 0..2_u64;
    rounds.flat_map(|round| fill(&templates, &format!("{name}/{round}"), &mut Random(20_261_129 + round))).collect()
}

/// What has none: generated files, and lines of published code.
pub(crate) fn tempting() -> Vec<Sample> {
    let templates = read("tempting.txt");
    let mut all: Vec<_> =
        (0..6_u64).flat_map(|round| fill(&templates, &format!("tempting/{round}"), &mut Random(round))).collect();
    for (number, sample) in all.iter_mut().enumerate() {
        // What has nothing random in it is the same in each round.
        let lines = sample.text.lines().filter(|it| it.len() >= 12).count();
        let random = sample
            .text
            .lines()
            .filter(|it| it.split(|it: char| !it.is_ascii_alphanumeric()).any(|word| word.len() >= 20))
            .count();
        sample.tempting = if number * 6 < templates.matches("=== ").count() * 6 { lines } else { random };
    }
    for line in read("real.tsv").lines() {
        let (origin, text) = line.split_once('\t').unwrap();
        let path = format!("real/{}", origin.rsplit_once(':').unwrap().0);
        if all.last().is_none_or(|last| last.path != path) {
            all.push(Sample { path, text: String::new(), secrets: Vec::new(), tempting: 0 });
        }
        let sample = all.last_mut().unwrap();
        sample.text.push_str(text);
        sample.text.push('\n');
        sample.tempting += 1;
    }
    all
}
