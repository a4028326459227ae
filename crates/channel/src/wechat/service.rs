//! Customer-service messages: to a user who has written within the last 48 hours, five at most.
//!
//! `POST /cgi-bin/message/custom/send`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{call, openid};
use crate::cut::{bytes, cut};
use crate::markdown::plain;
use crate::message::Message;
use crate::refused::Refused;
use crate::request::Request;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The name of the secret that is the application's access token, which the host keeps.
    #[schemars(extend("format" = "upkeep-secret"))]
    pub token: String,
    /// Where the API is.
    #[serde(default = "super::base")]
    #[schemars(extend("format" = "upkeep-requested"))]
    pub base: String,
    /// How a message looks.
    #[serde(default)]
    pub look: Look,
}

/// How a message looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Look {
    /// A text, with the link behind it.
    #[default]
    Text,
    /// A card that opens the message's link; a text if it has none.
    Link {
        /// The picture on it.
        thumb_url: String,
    },
    /// A card that opens a page of the mini-program.
    Page {
        /// The page, if the message names none.
        page: String,
        /// The picture on it: a medium that was uploaded to WeChat.
        thumb_media_id: String,
    },
}

/// Bytes of a text. WeChat refuses longer ones with 45002 and documents no number; this one is what SDKs keep to.
pub const MOST: usize = 2048;
/// Bytes of what stands below the title of a card; more is not shown on any phone.
const MOST_BELOW: usize = 512;

/// The request of a message.
pub fn request(message: &Message, settings: &Service) -> Result<Request, Refused> {
    message.check()?;
    let to = openid(message, "a WeChat customer-service message")?;
    let link = match &settings.look {
        Look::Link { .. } => message.checked_link()?,
        Look::Text | Look::Page { .. } => None,
    };
    let mut body = match (&settings.look, link) {
        (Look::Link { thumb_url }, Some(link)) => json!({
            "msgtype": "link",
            "link": {
                "title": message.marked(),
                "description": cut(&plain(&message.words()), MOST_BELOW, bytes),
                "url": link,
                "thumb_url": thumb_url,
            },
        }),
        (Look::Page { page, thumb_media_id }, _) => {
            let page = message.template.as_ref().and_then(|it| it.page.as_ref()).unwrap_or(page);
            json!({
                "msgtype": "miniprogrampage",
                "miniprogrampage": { "title": message.marked(), "pagepath": page, "thumb_media_id": thumb_media_id },
            })
        }
        _ => json!({ "msgtype": "text", "text": { "content": cut(&content(message), MOST, bytes) } }),
    };
    body["touser"] = Value::from(to);
    Ok(call(&settings.base, "/cgi-bin/message/custom/send", &settings.token)?.json(&body))
}

fn content(message: &Message) -> String {
    let text = crate::robot::text(message);
    // WeChat makes a link of this one tag wherever it stands in a text.
    text.replace("<a", "< a").replace("<A", "< A")
}
