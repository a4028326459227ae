//! Where visitors come from.

use std::borrow::Cow;

/// Where a visitor comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Referrer<'a> {
    /// Nothing is said.
    None,
    /// From a page of the same site.
    Own,
    /// From a search engine, by its name.
    Search(&'static str),
    /// From another site: its host, in small letters, without port and `www.`. Of Android apps, the package.
    Site(Cow<'a, [u8]>),
    /// What is said is no address.
    Invalid,
}

/// Tells own hosts from others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referrers {
    own: Vec<Vec<u8>>,
}

/// Hosts of search engines. What begins with a point is the end of a host, what ends with one its begin.
const ENGINES: [(&str, &str); 45] = [
    ("google.", "Google"),
    ("com.google.android.googlequicksearchbox", "Google"),
    ("bing.com", "Bing"),
    (".bing.com", "Bing"),
    ("baidu.com", "Baidu"),
    ("m.baidu.com", "Baidu"),
    ("wap.baidu.com", "Baidu"),
    ("image.baidu.com", "Baidu"),
    ("sogou.com", "Sogou"),
    ("m.sogou.com", "Sogou"),
    ("wap.sogou.com", "Sogou"),
    ("pic.sogou.com", "Sogou"),
    ("weixin.sogou.com", "Sogou"),
    ("so.com", "360"),
    (".so.com", "360"),
    ("sm.cn", "Shenma"),
    (".sm.cn", "Shenma"),
    ("so.toutiao.com", "Toutiao"),
    ("so.douyin.com", "Douyin"),
    ("duckduckgo.com", "DuckDuckGo"),
    (".duckduckgo.com", "DuckDuckGo"),
    ("yandex.", "Yandex"),
    ("ya.ru", "Yandex"),
    ("search.yahoo.com", "Yahoo"),
    (".search.yahoo.com", "Yahoo"),
    ("search.yahoo.co.jp", "Yahoo"),
    ("search.naver.com", "Naver"),
    ("m.search.naver.com", "Naver"),
    ("search.daum.net", "Daum"),
    ("search.seznam.cz", "Seznam"),
    ("coccoc.com", "Coc Coc"),
    ("ecosia.org", "Ecosia"),
    ("qwant.com", "Qwant"),
    ("lite.qwant.com", "Qwant"),
    ("search.brave.com", "Brave"),
    ("startpage.com", "Startpage"),
    (".startpage.com", "Startpage"),
    ("kagi.com", "Kagi"),
    ("mojeek.com", "Mojeek"),
    ("swisscows.com", "Swisscows"),
    ("petalsearch.com", "Petal"),
    (".petalsearch.com", "Petal"),
    ("search.aol.com", "AOL"),
    ("ask.com", "Ask"),
    ("nova.so", "Nova"),
];

impl Referrers {
    /// The hosts that are one's own: `example.com`, or `*.example.com` for all below it.
    pub fn new(own: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let lower = |it: Vec<u8>| it.strip_prefix(b"*").unwrap_or(&it).to_ascii_lowercase();
        Self { own: own.into_iter().map(|it| lower(it.into())).collect() }
    }

    /// What a referrer says, which must be without escapes. `host` is that of the request, if the log has it, and always one's own.
    pub fn classify<'a>(&self, referrer: Option<&'a [u8]>, host: Option<&[u8]>) -> Referrer<'a> {
        let Some(referrer) = referrer else { return Referrer::None };
        let Some(found) = host_of(referrer) else { return Referrer::Invalid };
        let lower = match found.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(found.to_ascii_lowercase()),
            false => Cow::Borrowed(found),
        };
        let is_host = || host.is_some_and(|it| without_port(it).eq_ignore_ascii_case(&lower));
        if self.own.iter().any(|it| fits(it, &lower)) || is_host() {
            return Referrer::Own;
        }
        let site = match &lower {
            Cow::Borrowed(it) => Cow::Borrowed(it.strip_prefix(b"www.").unwrap_or(it)),
            Cow::Owned(it) => Cow::Owned(it.strip_prefix(b"www.").unwrap_or(it).to_vec()),
        };
        match ENGINES.iter().find(|(engine, _)| fits(engine.as_bytes(), &site)) {
            Some((_, name)) => Referrer::Search(name),
            None => Referrer::Site(site),
        }
    }
}

/// Whether a host is that of a pattern.
fn fits(pattern: &[u8], host: &[u8]) -> bool {
    match pattern {
        [b'.', ..] => host.len() > pattern.len() && host.ends_with(pattern),
        // Domains of countries: `google.de`, `google.co.uk`, `google.com.hk`.
        [.., b'.'] => host.strip_prefix(pattern).is_some_and(|it| it.len() <= 6 && !it.is_empty()),
        _ => host == pattern,
    }
}

/// The host of an address.
fn host_of(address: &[u8]) -> Option<&[u8]> {
    let scheme = memchr::memmem::find(address, b"://")?;
    let is_scheme = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
    if scheme == 0 || !address[..scheme].iter().all(is_scheme) {
        return None;
    }
    let rest = &address[scheme + 3..];
    let end = rest.iter().position(|it| matches!(it, b'/' | b'?' | b'#' | b'\\')).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = memchr::memrchr(b'@', authority).map_or(authority, |it| &authority[it + 1..]);
    let host = without_port(host);
    let host = host.strip_suffix(b".").unwrap_or(host);
    let is_host = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_') || !it.is_ascii();
    let is_numeric = |it: &[u8]| it.iter().all(|it| it.is_ascii_hexdigit() || matches!(it, b':' | b'.'));
    match host {
        [] => None,
        [b'[', inner @ .., b']'] => is_numeric(inner).then_some(host),
        _ => host.iter().all(is_host).then_some(host),
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    let digits = host.iter().rev().take_while(|it| it.is_ascii_digit()).count();
    host[..host.len() - digits].strip_suffix(b":").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn referrers() {
        let own = Referrers::new(["shop.example", "*.Shop.example"]);
        let site = |it: &'static str| Referrer::Site(Cow::Borrowed(it.as_bytes()));
        for (referrer, expected) in [
            ("https://shop.example/a", Referrer::Own),
            ("https://www.SHOP.example:8443/a", Referrer::Own),
            ("https://api.example/x", Referrer::Own),
            ("https://myshop.example/", site("myshop.example")),
            ("https://www.google.com/", Referrer::Search("Google")),
            ("https://www.google.co.uk/search?q=a", Referrer::Search("Google")),
            ("https://mail.google.com/", site("mail.google.com")),
            ("https://google.example.net/", site("google.example.net")),
            ("https://cn.bing.com/search?q=a", Referrer::Search("Bing")),
            ("https://www.baidu.com/link?url=x", Referrer::Search("Baidu")),
            ("https://tieba.baidu.com/p/1", site("tieba.baidu.com")),
            ("https://yz.m.sm.cn/s?q=a", Referrer::Search("Shenma")),
            ("https://www.so.com/s?q=a", Referrer::Search("360")),
            ("android-app://com.google.android.gm/", site("com.google.android.gm")),
            ("https://servicewechat.com/wx12/3/page-frame.html", site("servicewechat.com")),
            ("http://user:word@News.Example.org:80/?a", site("news.example.org")),
            ("http://[2001:db8::1]:8080/", site("[2001:db8::1]")),
            ("https://news.example.org", site("news.example.org")),
            ("about:blank", Referrer::Invalid),
            ("https:///a", Referrer::Invalid),
            ("https://<b>/", Referrer::Invalid),
            ("://a", Referrer::Invalid),
            ("", Referrer::Invalid),
        ] {
            assert_eq!(own.classify(Some(referrer.as_bytes()), Some(b"api.example:443")), expected, "{referrer}");
        }
        assert_eq!(own.classify(None, None), Referrer::None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "https?://[a-z@:.\\[\\]0-9/]{0,30}") {
            let own = Referrers::new(["a.b"]);
            let _ = own.classify(Some(&bytes), Some(&bytes));
            let _ = own.classify(Some(text.as_bytes()), None);
        }
    }
}
