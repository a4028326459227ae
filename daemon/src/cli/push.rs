//! `upkeep push`: messages that are to be delivered: give one, see what became of it, send dead ones again.
//!
//! | module | holds                                    |
//! |--------|------------------------------------------|
//! | `consents` | which messages users still accept |
//! | `send` | a message out of arguments and input     |
//! | `show` | lists, and one message with its attempts |
//! | `tokens` | WeChat's access tokens that the host keeps |

mod consents;
mod send;
mod show;
mod tokens;

use std::io::Write;

use clap::{Args, Subcommand};

use self::consents::ConsentsArgs;
use self::send::SendArgs;
use self::show::ListArgs;
use super::failure::Exit;
use super::place::Place;
use super::screen::line;
use super::{stdout_screen, write_json};
use crate::record::outbox::Message;

/// Why messages wait that nobody delivers.
pub(super) const NOBODY: &str =
    "no task delivers messages; one of the plugin `push` does, with `schedule.outbox = true` (docs/push.md)";

/// Send messages through channels, and see what became of them
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Send(Box<SendArgs>),
    List(ListArgs),
    /// Show a message with every attempt to deliver it
    Show {
        /// The message, or the beginning of its identifier
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a dead message again, from the first channel of its chain on
    Resend {
        /// The message, or the beginning of its identifier; it may have expired as well
        #[arg(required_unless_present = "dead")]
        id: Option<String>,
        /// All dead messages
        #[arg(long, conflicts_with = "id")]
        dead: bool,
        /// Of these, only those whose last channel was this
        #[arg(long, requires = "dead", value_name = "CHANNEL")]
        channel: Option<String>,
    },
    /// End the pause of a channel, when what was wrong with it is put right
    Resume {
        /// The channel
        channel: String,
    },
    Consents(ConsentsArgs),
    /// Show the access tokens of WeChat that the host keeps: how old they are, and what is wrong with them
    Tokens {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a message, whatever became of it; its idempotency key is free again
    Drop {
        /// The message, or the beginning of its identifier
        id: String,
    },
}

impl PushArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let client = place.client()?;
        match self.verb {
            Verb::Send(args) => args.run(&client, out).await?,
            Verb::List(args) => args.run(&client, out).await?,
            Verb::Consents(args) => args.run(&client, out).await?,
            Verb::Show { id, json } => {
                let detail = client.message(&id).await?;
                match json {
                    true => write_json(&detail, out)?,
                    false => show::write_message(&stdout_screen(), &detail, out)?,
                }
            }
            Verb::Resend { id: Some(id), .. } => {
                let message = client.resend(&id).await?;
                writeln!(out, "Waits again: {} {}", message.id, headline(&message))?;
            }
            Verb::Resend { id: None, channel, .. } => match client.resend_dead(channel.as_deref()).await?.messages {
                0 => writeln!(out, "There are no such messages.")?,
                1 => writeln!(out, "1 message waits again.")?,
                messages => writeln!(out, "{messages} messages wait again.")?,
            },
            Verb::Resume { channel } => match client.resume_channel(&channel).await?.was_paused {
                true => writeln!(out, "The pause of {channel} is over.")?,
                false => {
                    writeln!(out, "{channel} is not paused; `upkeep push list` shows what waits in each channel.")?
                }
            },
            Verb::Tokens { json } => {
                let kept = client.tokens().await?;
                match json {
                    true => write_json(&kept, out)?,
                    false => tokens::write(&stdout_screen(), &kept, out)?,
                }
            }
            Verb::Drop { id } => {
                let message = client.drop_message(&id).await?;
                writeln!(out, "Dropped: {} {}", message.id, headline(&message))?;
            }
        }
        Ok(Exit::Done)
    }
}

/// What a message says, on one line.
fn headline(message: &Message) -> String {
    let content = &message.content;
    let first = |text: &str| text.lines().map(str::trim).find(|text| !text.is_empty()).map(str::to_owned);
    let template = content.template.as_ref().map(|template| format!("template {template}"));
    let text = first(&content.title).or_else(|| first(&content.text)).or(template).unwrap_or_default();
    line(&text).into_owned()
}
