//! Expected outcome: denied. Sends each mail in turn, whether it may or not. What became of it goes to the log, one line for each
//! attempt.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::smtp::{self, Answer, Mail};
use upkeep_plugin::{Context, Error, Report, Result, info};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Attack {
    /// The mails, in order.
    mails: Vec<Letter>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Letter {
    /// The name of a server.
    server: String,
    from: String,
    name: Option<String>,
    to: Vec<String>,
    subject: String,
    text: String,
    html: Option<String>,
    /// Bytes that are added to the text.
    #[serde(default)]
    more: usize,
    /// How often it is sent, each with an identifier of its own.
    #[serde(default = "once")]
    times: usize,
    #[serde(default)]
    together: bool,
}

fn once() -> usize {
    1
}

impl Letter {
    fn mail(&self, id: String) -> Mail {
        let text = format!("{}{}", self.text, "x".repeat(self.more));
        let mut mail = Mail::new(id, &self.from).subject(&self.subject).text(text);
        for recipient in &self.to {
            mail = mail.to(recipient);
        }
        if let Some(name) = &self.name {
            mail = mail.name(name);
        }
        if let Some(html) = &self.html {
            mail = mail.html(html);
        }
        if self.together { mail.together() } else { mail }
    }
}

fn shown(answer: &Answer) -> String {
    let said = if answer.accepted { "accepted".to_owned() } else { format!("refused ({:?})", answer.stage) };
    let mut text = format!("{said}: {}", answer.reply);
    for refusal in &answer.refused {
        text.push_str(&format!(", not {}: {}", refusal.recipient, refusal.reply));
    }
    text
}

fn attack(ctx: &Context, config: Attack) -> Result<Report> {
    let (mut accepted, mut refused, mut failed) = (0, 0, None);
    for (at, letter) in config.mails.iter().enumerate() {
        let mails = (0..letter.times).map(|time| letter.mail(format!("{}.{at}.{time}", ctx.run)));
        let answers = smtp::send(&letter.server, mails).unwrap_or_else(|error| vec![Err(error)]);
        for answer in answers {
            match answer {
                Ok(answer) => {
                    if letter.times == 1 {
                        info!("attempt {at}: {}", shown(&answer));
                    }
                    if answer.accepted { accepted += 1 } else { refused += 1 }
                }
                Err(error) => {
                    info!("attempt {at}: {error}");
                    failed = Some(Error::permanent(error.to_string()));
                }
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(Report::new(format!("{accepted} accepted, {refused} refused"))),
    }
}

upkeep_plugin::export!(fn attack);
