//! What can be found: the catalogue of rules.
//!
//! Which bytes a rule is about stands where it is matched: [`crate::token`] for what carries a prefix of its issuer,
//! [`crate::name`] for what only its name tells, and a module each for URLs, private keys and JSON web tokens.

/// How much an outsider gains by the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Likely a secret, of unknown use.
    Medium,
    /// Opens one service or database.
    High,
    /// Opens an account with all that runs in it, money, or the identity of a server.
    Critical,
}

/// One kind of secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable, in lower case with hyphens: for configuration and reports.
    pub id: &'static str,
    /// How much it opens.
    pub severity: Severity,
    /// What it is: the beginning of a sentence, without a full stop.
    pub what: &'static str,
    /// What to do once it has been seen by others; a sentence without its full stop.
    pub remedy: &'static str,
}

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident $what:literal $remedy:literal)*) => {
        /// The place of a rule in [`RULES`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Id { $($name),* }

        /// All rules. Their order is no part of the interface.
        pub static RULES: &[Rule] =
            &[$(Rule { id: $id, severity: Severity::$severity, what: $what, remedy: $remedy }),*];
    };
}

impl Id {
    pub(crate) fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }

    /// Only the name beside it tells that it is a secret; a rule that knows its issuer comes first.
    pub(crate) fn is_generic(self) -> bool {
        matches!(self, Self::Password | Self::Secret | Self::Token | Self::Key | Self::BasicAuth)
    }
}

rules! {
    AwsAccessKey "aws-access-key" High "Access key ID of AWS" "Deactivate and delete the key in IAM, then issue another"
    AwsSecretKey "aws-secret-key" Critical "Secret access key of AWS" "Deactivate and delete the key in IAM, then issue another"
    AliyunAccessKey "aliyun-access-key" High "AccessKey ID of Alibaba Cloud" "Disable the AccessKey in RAM, then issue another for a RAM user with few rights"
    AliyunSecret "aliyun-secret" Critical "AccessKey secret of Alibaba Cloud" "Disable the AccessKey in RAM, then issue another for a RAM user with few rights"
    TencentAccessKey "tencent-secret-id" High "SecretId of Tencent Cloud" "Disable the key in CAM, then issue another for a sub-user"
    TencentSecretKey "tencent-secret-key" Critical "SecretKey of Tencent Cloud" "Disable the key in CAM, then issue another for a sub-user"
    HuaweiSecretKey "huawei-secret-key" Critical "Secret key (SK) of Huawei Cloud" "Delete the access key under My Credentials, then issue another"
    BaiduSecretKey "baidu-secret-key" High "Secret key of Baidu AI Cloud" "Reset the secret key of the application in Baidu's console"
    VolcengineKey "volcengine-key" Critical "Access key of Volcengine" "Disable the key in Volcengine's IAM, then issue another"
    QiniuSecretKey "qiniu-secret-key" Critical "Secret key of Qiniu" "Make a second key in Qiniu's console, then disable this one"
    WechatAppSecret "wechat-app-secret" Critical "AppSecret of a WeChat mini program or official account" "Reset the AppSecret in WeChat's admin console under Development"
    WechatPayKey "wechat-pay-key" Critical "API key (v2 or v3) of WeChat Pay" "Set another API key in the merchant platform under API security"
    WecomWebhook "wecom-webhook" High "Webhook of a WeCom group robot" "Remove the robot from the group and add another"
    WecomSecret "wecom-secret" Critical "Secret of a WeCom application" "Reset the secret in WeCom's admin console"
    DingtalkWebhook "dingtalk-webhook" High "Webhook of a DingTalk group robot" "Remove the robot from the group and add another"
    DingtalkSecret "dingtalk-secret" High "Signing secret of a DingTalk group robot" "Reset the signing secret in the robot's security settings"
    FeishuWebhook "feishu-webhook" High "Webhook of a Feishu or Lark group robot" "Remove the robot from the group and add another"
    FeishuSecret "feishu-secret" High "Signing secret of a Feishu or Lark robot or application" "Reset the secret in the robot's or the application's settings"
    PrivateKey "private-key" Critical "Private key" "Make a new pair, have certificates issued again and the old ones revoked"
    DatabaseUrl "database-url" High "URL of a database or broker with its password" "Change the account's password, and read the URL from the environment or a secret store"
    BasicAuth "basic-auth" High "Account and password of a web service" "Change the account's password"
    Jwt "jwt" Medium "JSON web token" "Revoke it, or change the signing key if it cannot be revoked"
    GithubToken "github-token" Critical "Access token of GitHub" "Revoke it in GitHub's settings under Developer settings"
    GitlabToken "gitlab-token" Critical "Access token of GitLab" "Revoke it in GitLab under Access tokens"
    NpmToken "npm-token" Critical "Access token of npm" "Revoke it with `npm token revoke` and publish from CI by OIDC"
    PypiToken "pypi-token" Critical "API token of PyPI" "Remove it in PyPI's account settings and publish from CI by OIDC"
    SlackToken "slack-token" High "Token of Slack" "Revoke it on the application's page at api.slack.com"
    SlackWebhook "slack-webhook" High "Incoming webhook of Slack" "Remove the webhook on the application's page at api.slack.com"
    DiscordWebhook "discord-webhook" High "Webhook of Discord" "Delete the webhook in the channel's settings"
    StripeLive "stripe-live-key" Critical "Live secret key of Stripe" "Roll the key in Stripe's dashboard under API keys"
    StripeTest "stripe-test-key" Medium "Test secret key of Stripe" "Roll the key in Stripe's dashboard under API keys"
    Sendgrid "sendgrid-key" High "API key of SendGrid" "Delete the key in SendGrid's settings, then make another"
    Twilio "twilio-token" High "Auth token or API key of Twilio" "Promote a secondary auth token in Twilio's console"
    Mailgun "mailgun-key" High "API key of Mailgun" "Delete the key in Mailgun's dashboard, then make another"
    TelegramBot "telegram-bot-token" High "Token of a Telegram bot" "Have BotFather revoke it with /revoke"
    Openai "openai-key" High "API key of OpenAI" "Revoke it on the platform's page of API keys"
    Anthropic "anthropic-key" High "API key of Anthropic" "Disable it in Anthropic's console"
    ModelKey "model-key" High "API key of a language model's provider, like DeepSeek, DashScope or Moonshot" "Delete it in the provider's console, then make another"
    GoogleKey "google-api-key" High "API key of Google" "Regenerate it in Google Cloud's console and restrict it to the APIs and callers that need it"
    GoogleAccount "google-service-account" Critical "Key of a Google service account" "Delete the key under IAM, service accounts"
    AzureStorage "azure-storage-key" Critical "Account key of Azure storage" "Rotate the key under Access keys of the storage account"
    AzureSas "azure-sas" High "Shared access signature of Azure" "Rotate the account key that signed it, or drop its stored access policy"
    Heroku "heroku-key" High "API key of Heroku" "Regenerate it in Heroku's account settings"
    Digitalocean "digitalocean-token" Critical "Token of DigitalOcean" "Delete it in DigitalOcean's control panel under API"
    Cloudflare "cloudflare-token" Critical "API token or key of Cloudflare" "Roll it in Cloudflare's dashboard under API tokens"
    Vault "vault-token" Critical "Token of HashiCorp Vault" "Revoke it with `vault token revoke`"
    Sentry "sentry-token" High "Auth token of Sentry" "Revoke it in Sentry's settings under Auth tokens"
    DockerAuth "docker-auth" High "Login to a container registry" "Change the password or token, and keep logins in a credential helper"
    Netrc "netrc" High "Password in a .netrc file" "Change the account's password"
    Pgpass "pgpass" High "Password in a .pgpass file" "Change the account's password"
    WordpressKey "wordpress-key" High "Key or salt of WordPress" "Set new ones from api.wordpress.org; all sessions end"
    LaravelKey "laravel-app-key" Critical "APP_KEY of Laravel" "Run `php artisan key:generate`; what was encrypted with the old one has to be encrypted again"
    DjangoKey "django-secret-key" Critical "SECRET_KEY of Django" "Set another, and keep the old one in SECRET_KEY_FALLBACKS for a while"
    SpringPassword "spring-datasource-password" High "Password of a Spring data source" "Change the account's password, and read it from the environment"
    SqlPassword "sql-password" High "Password in an SQL statement" "Change the account's password"
    ShellPassword "shell-password" High "Password on a command line" "Change it, and hand it over by a file or the environment"
    Password "password" High "Password" "Change it where it is used, and read it from the environment or a secret store"
    Secret "secret" High "Secret" "Replace it where it was issued, and read it from the environment or a secret store"
    Token "token" High "Token" "Revoke it where it was issued, and read it from the environment or a secret store"
    Key "key" High "Key" "Replace it where it was issued, and read it from the environment or a secret store"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_texts_are_whole() {
        let ids: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            assert!(rule.id.bytes().all(|it| it.is_ascii_lowercase() || it == b'-'), "{}", rule.id);
            assert!(!rule.what.is_empty() && !rule.remedy.ends_with('.'), "{}", rule.id);
        }
    }
}
