//! Finds passwords, keys and tokens in the bytes of files.
//!
//! ```
//! use upkeep_secrets::{Options, Scanner};
//!
//! let scanner = Scanner::new(Options::default())?;
//! let mut found = Vec::new();
//! let text = b"spring.datasource.password=Mall@8842kq\n";
//! scanner.scan("application.properties", text, &mut |it| found.push(it));
//! assert_eq!((found[0].rule.id, found[0].line, found[0].column), ("spring-datasource-password", 1, 28));
//! # Ok::<(), upkeep_secrets::OptionsError>(())
//! ```
//!
//! One pass seeks short texts without which nothing can be found ([`anchor`]); around each of them a matcher looks
//! ([`matcher`]). There are matchers for secrets with a prefix of their issuer ([`token`]), for values under names that tell
//! ([`assign`], [`name`], [`issuer`]), and for URLs, private keys, JSON web tokens and logins ([`url`], [`pem`], [`jwt`],
//! [`login`]). What stands in for a secret is sorted out in [`value`]. Of finds at the same place the best is reported
//! ([`search`]).
//!
//! A matcher sees a bounded piece of the file ([`view`]). So the time is linear in the length of the file whatever it holds,
//! and a file that comes in pieces gives what it would give as a whole. There are no regular expressions, since a plugin
//! would compile them anew for each step, and no threads, files or clocks, so that the crate runs in WebAssembly.

mod anchor;
mod assign;
mod class;
mod issuer;
mod jwt;
mod login;
mod matcher;
mod name;
mod pem;
mod place;
mod pragma;
mod report;
mod rule;
mod scanner;
mod search;
mod syntax;
mod token;
mod url;
mod value;
mod view;
mod words;

pub use report::{Fingerprint, Match};
pub use rule::{RULES, Rule, Severity};
pub use scanner::{Options, OptionsError, Scanner, Skipped, Stream, Summary};
