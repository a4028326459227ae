//! `upkeep push tokens`.

use std::io::{self, Write};

use crate::api::KeptTokens;
use crate::cli::screen::{Ink, Screen, line};
use crate::cli::table::{Cell, Table};
use crate::record::token::KeptToken;

pub(super) fn write(screen: &Screen, kept: &KeptTokens, out: &mut dyn Write) -> io::Result<()> {
    if kept.tokens.is_empty() {
        return writeln!(out, "No access token was needed since the daemon started.");
    }
    let mut table = Table::new(["APPID", "TOKEN", "GOT", "EXPIRES", "ASKED", "TOKENS", "FORCED TODAY"], 1);
    for token in &kept.tokens {
        let KeptToken { appid, api: _, got, expires, asked, tokens, forced_today, trouble } = token;
        let relative = |at: &Option<_>| Cell::from(at.map_or_else(|| "-".to_owned(), |at| screen.relative(at)));
        let state = match (got, trouble) {
            (Some(_), None) => Cell::new(Ink::Green, "kept"),
            (Some(_), Some(_)) => Cell::new(Ink::Yellow, "old"),
            (None, _) => Cell::new(Ink::Red, "none"),
        };
        let (tokens, forced) = (tokens.to_string(), format!("{forced_today} of 20"));
        table.row([
            Cell::from(appid.as_str()),
            state,
            relative(got),
            relative(expires),
            relative(asked),
            tokens.into(),
            forced.into(),
        ]);
    }
    table.write(screen, 0, out)?;
    for token in &kept.tokens {
        if let Some(trouble) = &token.trouble {
            let (reason, until) = (line(&trouble.reason), screen.relative(trouble.until));
            let told = format!("{}: {reason}", token.appid);
            let told = textwrap::fill(&told, textwrap::Options::new(screen.width.unwrap_or(usize::MAX)));
            writeln!(out, "\n{told}\nIt is asked again {until}.")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::record::token::TokenTrouble;

    #[test]
    fn what_is_kept_is_shown_without_the_token() {
        let now = terminal().now.0;
        let at = |seconds: i64| Some(Timestamp(now + seconds * 1_000));
        let token = |appid: &str, got, expires, trouble| KeptToken {
            appid: appid.to_owned(),
            api: "https://api.weixin.qq.com".to_owned(),
            got,
            expires,
            asked: at(-30),
            tokens: 3,
            forced_today: 1,
            trouble,
        };
        let reason = "this machine's address 1.2.3.4 is not in WeChat's allow-list: invalid ip 1.2.3.4 (40164), rid \
                      5f0a7e2b-1c2d3e4f-00112233: 1.2.3.4: add it to the allow-list in the mini-program's console";
        let trouble = TokenTrouble { code: Some(40164), reason: reason.to_owned(), until: Timestamp(now + 270_000) };
        let kept = KeptTokens {
            tokens: vec![
                token("wx0123456789abcdef", at(-3_600), at(3_600), None),
                token("wx1123456789abcdef", at(-7_000), at(200), Some(trouble.clone())),
                token("wx2123456789abcdef", None, None, Some(trouble)),
            ],
        };
        let mut out = Vec::new();
        write(&terminal(), &kept, &mut out).unwrap();
        write(&terminal(), &KeptTokens { tokens: Vec::new() }, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
