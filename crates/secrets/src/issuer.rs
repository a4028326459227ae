//! Whose secret it is, when the form alone does not tell: by its name, its length and alphabet, and what stands around it.

use crate::assign::generic;
use crate::class::{Class, is_uuid};
use crate::name::Telling;
use crate::rule::Id;
use crate::value::is_sequence;
use crate::view::View;

/// The rule of a value under a name that tells. `flat` is the name in lower case, without separators.
pub(crate) fn of(view: &View<'_>, flat: &str, telling: Telling, text: &[u8]) -> Id {
    let named = |words: &[&str]| words.iter().any(|word| flat.contains(word));
    let around = view.around(view.start);
    let near = |words: &[&str]| words.iter().any(|word| memchr::memmem::find(&around, word.as_bytes()).is_some());
    let is = |class: Class, length: usize| text.len() == length && class.holds_all(text);
    let file = |endings: &[&str]| view.file.ends_with(endings);
    let is_key = telling != Telling::Password;
    match telling {
        _ if file(&["npmrc"]) => Id::NpmToken,
        _ if file(&["netrc"]) => Id::Netrc,
        Telling::Password if is_data_source(view, flat) => Id::SpringPassword,
        _ if file(&["wp-config.php"]) && is_key => Id::WordpressKey,
        Telling::Key if flat == "appkey" && text.starts_with(b"base64:") => Id::LaravelKey,
        Telling::Key if flat == "secretkey" && file(&[".py"]) && (text.len() >= 50 || text.starts_with(b"django")) => {
            Id::DjangoKey
        }
        Telling::Key if is(Class::Base64, 88) && text.ends_with(b"==") => Id::AzureStorage,
        _ if is_key && is(Class::Base64, 40) && (named(&["aws", "secretaccesskey"]) || near(&["akia", "aws_"])) => {
            Id::AwsSecretKey
        }
        _ if is_key
            && is(Class::Alnum, 30)
            && (named(&["aliyun", "accesskeysecret", "oss"]) || near(&["ltai", "aliyun", "oss-cn"])) =>
        {
            Id::AliyunSecret
        }
        _ if is_key && is(Class::Alnum, 32) && (named(&["tencent", "cos", "qcloud"]) || near(&["akid", "tencent"])) => {
            Id::TencentSecretKey
        }
        _ if is_key
            && is(Class::Alnum, 40)
            && (named(&["huawei", "hwcloud", "obs"]) || near(&["huawei", "myhwclouds"])) =>
        {
            Id::HuaweiSecretKey
        }
        _ if is_key && is(Class::Url64, 40) && (named(&["qiniu"]) || near(&["qiniu", "七牛"])) => Id::QiniuSecretKey,
        _ if is_key
            && is(Class::Alnum, 32)
            && (named(&["mch", "partner", "apiv3", "v3key", "paykey", "wxpay", "wechatpay"])
                || near(&["mch_id", "mchid", "微信支付"]) && telling == Telling::Key) =>
        {
            Id::WechatPayKey
        }
        _ if is_key
            && is(Class::Hex, 32)
            && (named(&["appsecret", "wechat", "weixin", "wxsecret", "miniprogram"])
                || near(&["appid=wx", "weixin"])
                || wechat_app(view)) =>
        {
            Id::WechatAppSecret
        }
        _ if is_key && is(Class::Alnum, 32) && (named(&["baidu"]) || near(&["baidubce", "baidu"])) => {
            Id::BaiduSecretKey
        }
        _ if is(Class::Url64, 43) && named(&["corpsecret"]) => Id::WecomSecret,
        _ if is_key && named(&["volc"]) => Id::VolcengineKey,
        _ if is_key && (named(&["feishu", "larksecret"]) || named(&["appsecret"]) && near(&["feishu", "cli_a"])) => {
            Id::FeishuSecret
        }
        _ if is_key && named(&["dingtalk"]) => Id::DingtalkSecret,
        Telling::Token if is(Class::Hex, 32) && (named(&["twilio"]) || near(&["twilio"])) => Id::Twilio,
        _ if named(&["heroku"]) => Id::Heroku,
        _ if is_key && text.len() >= 37 && (named(&["cloudflare", "cfapi"]) || near(&["cloudflare"])) => Id::Cloudflare,
        _ => generic(telling),
    }
}

/// Whether a value that would not do under any name may do for [`accepts`].
pub(crate) fn may_accept(text: &[u8]) -> bool {
    is_uuid(text) || (50..=80).contains(&text.len())
}

/// Whether a value is fine for its rule although it would not be under any name: a UUID, or a text that looks like a reference.
pub(crate) fn accepts(id: Id, view: &View<'_>, flat: &str, text: &[u8]) -> bool {
    match id {
        Id::Heroku => is_uuid(text),
        Id::NpmToken => is_uuid(text) && flat.ends_with("token"),
        Id::LaravelKey => text.len() == 51 && Class::Base64.holds_all(&text[7..]) && !is_sequence(&text[7..]),
        Id::DjangoKey => text.len() >= 50 && text.iter().all(u8::is_ascii_graphic) && !is_sequence(text),
        Id::Token => is_uuid(text) && view.file.ends_with(&[".env"]),
        _ => false,
    }
}

fn is_data_source(view: &View<'_>, flat: &str) -> bool {
    flat.contains("springdatasource")
        || flat == "password"
            && view.file.path.contains("application")
            && view.is_near(view.start, &["datasource:", "jdbc:"])
}

/// An identifier of an application of WeChat stands near.
fn wechat_app(view: &View<'_>) -> bool {
    let around = &view.data[view.start.saturating_sub(400)..view.data.len().min(view.start + 400)];
    memchr::memmem::find_iter(around, b"wx").any(|at| Class::Hex.run(&around[at + 2..], 16) == 16)
}
