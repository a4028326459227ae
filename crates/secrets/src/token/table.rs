//! The forms, as their issuers document them or as they are met.

use super::Token;
use crate::class::{Class, ends_in_crc, is_uuid};
use crate::rule::Id;

fn any(_: &[u8]) -> bool {
    true
}

/// Both letters and digits, as any random text of that length has.
fn mixed(body: &[u8]) -> bool {
    body.iter().any(u8::is_ascii_digit) && body.iter().any(u8::is_ascii_alphabetic)
}

/// Upper case, lower case and digits.
fn varied(body: &[u8]) -> bool {
    mixed(body) && body.iter().any(u8::is_ascii_uppercase) && body.iter().any(u8::is_ascii_lowercase)
}

/// AWS writes identifiers in base 32, and its documents end them with EXAMPLE.
fn aws(body: &[u8]) -> bool {
    body.iter().all(|it| matches!(it, b'A'..=b'Z' | b'2'..=b'7')) && !body.ends_with(b"EXAMPLE")
}

/// Hexadecimal, as DeepSeek and DashScope have it, or long and of all letters.
fn model(body: &[u8]) -> bool {
    mixed(body) && (body.len() >= 40 || Class::Hex.holds_all(body) && body.len() == 32)
}

/// T…/B…/… of a workspace, a hook and its secret.
fn slack_path(body: &[u8]) -> bool {
    let parts: Vec<_> = body.split(|it| *it == b'/').collect();
    matches!(parts[..], [[b'T', ..], [b'B', ..], secret] if secret.len() >= 20)
}

/// A number and a secret.
fn discord_path(body: &[u8]) -> bool {
    let at = body.iter().position(|it| *it == b'/').unwrap_or(0);
    at >= 17 && body[..at].iter().all(u8::is_ascii_digit) && body.len() - at > 60
}

/// Identifier and secret, with a dot between.
fn sendgrid(body: &[u8]) -> bool {
    body.len() == 66 && body[22] == b'.'
}

const fn token(id: Id, prefix: &'static str, body: Class, length: (usize, usize), check: fn(&[u8]) -> bool) -> Token {
    Token { id, prefix, is_place: false, body, length, check }
}

const fn place(id: Id, prefix: &'static str, body: Class, length: (usize, usize), check: fn(&[u8]) -> bool) -> Token {
    Token { id, prefix, is_place: true, body, length, check }
}

/// All forms.
pub(crate) static TOKENS: &[Token] = &[
    token(Id::AwsAccessKey, "AKIA", Class::Upper, (16, 16), aws),
    token(Id::AwsAccessKey, "ASIA", Class::Upper, (16, 16), aws),
    token(Id::AliyunAccessKey, "LTAI", Class::Alnum, (12, 20), mixed),
    token(Id::TencentAccessKey, "AKID", Class::Alnum, (32, 32), varied),
    token(Id::VolcengineKey, "AKLT", Class::Base64, (40, 64), varied),
    place(Id::WecomWebhook, "qyapi.weixin.qq.com/cgi-bin/webhook/send?key=", Class::Uuid, (36, 36), is_uuid),
    place(Id::DingtalkWebhook, "oapi.dingtalk.com/robot/send?access_token=", Class::Hex, (64, 64), mixed),
    token(Id::DingtalkSecret, "SEC", Class::Hex, (64, 64), mixed),
    place(Id::FeishuWebhook, "open.feishu.cn/open-apis/bot/v2/hook/", Class::Uuid, (36, 36), is_uuid),
    place(Id::FeishuWebhook, "open.larksuite.com/open-apis/bot/v2/hook/", Class::Uuid, (36, 36), is_uuid),
    token(Id::GithubToken, "ghp_", Class::Alnum, (36, 36), ends_in_crc),
    token(Id::GithubToken, "gho_", Class::Alnum, (36, 36), ends_in_crc),
    token(Id::GithubToken, "ghu_", Class::Alnum, (36, 36), ends_in_crc),
    token(Id::GithubToken, "ghs_", Class::Alnum, (36, 36), ends_in_crc),
    token(Id::GithubToken, "ghr_", Class::Alnum, (36, 76), ends_in_crc),
    token(Id::GithubToken, "github_pat_", Class::Url64, (82, 82), varied),
    token(Id::GitlabToken, "glpat-", Class::Dotted, (20, 60), mixed),
    token(Id::GitlabToken, "glrt-", Class::Dotted, (20, 60), mixed),
    token(Id::GitlabToken, "gldt-", Class::Dotted, (20, 60), mixed),
    token(Id::NpmToken, "npm_", Class::Alnum, (36, 36), ends_in_crc),
    // The beginning of each macaroon that pypi.org issues.
    token(Id::PypiToken, "pypi-AgEIcHlwaS5vcmc", Class::Url64, (50, 1000), varied),
    token(Id::SlackToken, "xoxb-", Class::Url64, (40, 80), mixed),
    token(Id::SlackToken, "xoxp-", Class::Url64, (40, 90), mixed),
    token(Id::SlackToken, "xoxa-", Class::Url64, (40, 90), mixed),
    token(Id::SlackToken, "xoxs-", Class::Url64, (40, 90), mixed),
    token(Id::SlackToken, "xapp-", Class::Url64, (40, 120), mixed),
    place(Id::SlackWebhook, "hooks.slack.com/services/", Class::Path, (40, 60), slack_path),
    place(Id::DiscordWebhook, "discord.com/api/webhooks/", Class::Path, (78, 120), discord_path),
    place(Id::DiscordWebhook, "discordapp.com/api/webhooks/", Class::Path, (78, 120), discord_path),
    token(Id::StripeLive, "sk_live_", Class::Alnum, (24, 120), mixed),
    token(Id::StripeLive, "rk_live_", Class::Alnum, (24, 120), mixed),
    token(Id::StripeTest, "sk_test_", Class::Alnum, (24, 120), mixed),
    token(Id::StripeTest, "rk_test_", Class::Alnum, (24, 120), mixed),
    token(Id::Sendgrid, "SG.", Class::Dotted, (66, 66), sendgrid),
    token(Id::Mailgun, "key-", Class::Hex, (32, 32), mixed),
    token(Id::Anthropic, "sk-ant-", Class::Url64, (80, 130), varied),
    token(Id::Openai, "sk-proj-", Class::Url64, (40, 200), varied),
    token(Id::Openai, "sk-svcacct-", Class::Url64, (40, 200), varied),
    token(Id::Openai, "sk-admin-", Class::Url64, (40, 200), varied),
    token(Id::ModelKey, "sk-or-v1-", Class::Hex, (64, 64), mixed),
    token(Id::ModelKey, "sk-", Class::Alnum, (32, 64), model),
    token(Id::ModelKey, "gsk_", Class::Alnum, (52, 52), varied),
    token(Id::ModelKey, "hf_", Class::Alnum, (34, 34), varied),
    token(Id::GoogleKey, "AIza", Class::Url64, (35, 35), varied),
    token(Id::GoogleKey, "GOCSPX-", Class::Url64, (28, 28), any),
    token(Id::Heroku, "HRKU-", Class::Url64, (36, 70), mixed),
    token(Id::Digitalocean, "dop_v1_", Class::Hex, (64, 64), mixed),
    token(Id::Digitalocean, "doo_v1_", Class::Hex, (64, 64), mixed),
    token(Id::Vault, "hvs.", Class::Url64, (80, 130), varied),
    token(Id::Sentry, "sntrys_", Class::Base64, (60, 300), varied),
    token(Id::Sentry, "sntryu_", Class::Hex, (64, 64), mixed),
];
