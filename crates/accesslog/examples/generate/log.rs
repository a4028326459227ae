//! Requests as a shop of middling size has them: pages by Zipf's law, visitors that come back, browsers of today, and the few
//! lines that are none.

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// With the user agents of browsers, which are most of a line.
    Combined,
    /// With short user agents and few referrers, as an API for apps has them: lines half as long.
    CombinedShort,
    CombinedTime,
    Json,
}

/// Numbers that look random: a counter, stirred.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        stir(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn stir(mut it: u64) -> u64 {
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

const BROWSERS: [&str; 16] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36 Edg/{}.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.{}(0x18003430) NetType/WIFI Language/zh_CN",
    "Mozilla/5.0 (Linux; Android 14; 23127PN0CC Build/UKQ1.230804.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{}.0.0.0 Mobile Safari/537.36 XWEB/1260059 MMWEBSDK/20240404 MicroMessenger/8.0.49.2600(0x28003137) WeChat/arm64 Weixin NetType/5G Language/zh_CN ABI/arm64",
    "Mozilla/5.0 (Linux; Android 13; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "okhttp/4.12.{}",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

const PROGRAMS: [&str; 8] = [
    "okhttp/4.12.{}",
    "ShopApp/3.{} (iOS 18.3)",
    "ShopApp/3.{} (Android 14)",
    "Dart/3.4 (dart:io)",
    "curl/8.5.0",
    "python-requests/2.32.{}",
    "Go-http-client/1.1",
    "Mozilla/5.0 (iPhone)",
];

const REFERRERS: [&str; 8] = [
    "-",
    "https://shop.example.com/",
    "https://shop.example.com/category/phones",
    "https://shop.example.com/search?q=case",
    "https://www.google.com/",
    "https://www.baidu.com/link?url=k3J9vQ",
    "https://servicewechat.com/wx1234567890abcdef/12/page-frame.html",
    "https://news.example.org/2026/11/gadgets",
];

const PAGES: usize = 20_000;
const FIRST_DAY: i64 = 20_780;
const MONTHS: [(&str, i64); 4] = [("Nov", 30), ("Dec", 31), ("Jan", 31), ("Feb", 28)];

/// A log of some lines, from the first to the last.
pub(crate) struct Log {
    numbers: Numbers,
    /// For each page, the share of requests for it and all before it.
    pages: Vec<f64>,
    lines: u64,
    visitors: u64,
    seconds: u64,
    line: u64,
}

impl Log {
    /// `lines` in order of time, from 2026-11-23 on.
    pub(crate) fn new(lines: u64, visitors: u64, days: u64) -> Self {
        let mut sum = 0.0;
        let mut pages: Vec<f64> = (1..=PAGES)
            .map(|it| {
                sum += 1.0 / it as f64;
                sum
            })
            .collect();
        pages.iter_mut().for_each(|it| *it /= sum);
        let (visitors, seconds) = (visitors.max(1), days.clamp(1, 90) * 86_400);
        Self { numbers: Numbers(42), pages, lines, visitors, seconds, line: 0 }
    }
}

impl Iterator for Log {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        if self.line == self.lines {
            return None;
        }
        let numbers = &mut self.numbers;
        let millis = (u128::from(self.line) * u128::from(self.seconds) * 1000 / u128::from(self.lines)) as u64;
        let share = numbers.share();
        // Some come much more often than others.
        let visitor = (numbers.share().powi(2) * self.visitors as f64) as u64;
        self.line += 1;
        Some(Request {
            millis,
            visitor,
            page: self.pages.partition_point(|it| *it < share).min(PAGES - 1),
            dice: numbers.next(),
            bytes: 200 + numbers.below(200) * numbers.below(200),
            micros: 400 + (numbers.share().powi(6) * 2_000_000.0) as u64,
        })
    }
}

/// One request.
pub(crate) struct Request {
    millis: u64,
    visitor: u64,
    page: usize,
    dice: u64,
    bytes: u64,
    micros: u64,
}

impl Request {
    fn target(&self) -> String {
        let page = self.page;
        let tracked = if self.dice.is_multiple_of(8) { "&utm_source=wechat" } else { "" };
        match page % 10 {
            _ if page == 0 => "/".to_owned(),
            0 => format!("/category/{}", page % 97),
            1 | 2 => format!("/static/js/app.{:08x}.js", page * 7919),
            3 => format!("/images/goods/{page}/cover.webp"),
            4 => format!("/api/v1/cart?user={}&page={page}", self.visitor),
            5 => format!("/search?q=case+{page}{tracked}"),
            6 => format!("/article/2026/11/how-to-choose-{page}"),
            _ => format!("/goods/{page}?from=list{tracked}"),
        }
    }

    fn status(&self) -> u16 {
        match (self.dice >> 8) % 1000 {
            0..900 => 200,
            900..930 => 304,
            930..955 => 302,
            955..985 => 404,
            985..990 => 403,
            990..995 => 499,
            _ => 502,
        }
    }

    fn agent(&self, shape: Shape) -> String {
        let of_visitor = stir(self.visitor ^ 0x5eed);
        let version = (118 + of_visitor / 16 % 24).to_string();
        let agent = match shape {
            Shape::CombinedShort => PROGRAMS[(of_visitor % 8) as usize],
            _ => BROWSERS[(of_visitor % 16) as usize],
        };
        agent.replace("{}", &version)
    }

    /// Writes the line, with its end.
    pub(crate) fn write(&self, shape: Shape, line: &mut Vec<u8>) {
        let of_visitor = stir(self.visitor);
        let address = match of_visitor % 50 {
            0 => format!(
                "2001:db8:{:x}:{:x}::{:x}:{:x}",
                of_visitor >> 8 & 0xffff,
                of_visitor >> 24 & 0xffff,
                of_visitor >> 40 & 0xffff,
                of_visitor >> 56
            ),
            _ => format!(
                "{}.{}.{}.{}",
                1 + (of_visitor >> 8) % 222,
                of_visitor >> 16 & 255,
                of_visitor >> 24 & 255,
                of_visitor >> 32 & 255
            ),
        };
        let seconds = (self.millis / 1000) as i64;
        let (day, of_day) = (seconds / 86_400, seconds % 86_400);
        // The first day is 2026-11-23.
        let (mut month, mut date) = (0, 23 + day);
        while date > MONTHS[month].1 {
            date -= MONTHS[month].1;
            month += 1;
        }
        let year = if month > 1 { 2027 } else { 2026 };
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let method = if self.dice >> 20 & 15 == 0 { "POST" } else { "GET" };
        let protocol = if self.dice >> 24 & 3 == 0 { "HTTP/1.1" } else { "HTTP/2.0" };
        let referrer = match shape {
            Shape::CombinedShort => "-",
            _ => REFERRERS[(self.dice >> 28 & 7) as usize],
        };
        let (target, status, agent, bytes) = (self.target(), self.status(), self.agent(shape), self.bytes);
        let name = MONTHS[month].0;
        let time = format!("{date:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000");
        let took = format!("{}.{:03}", self.micros / 1_000_000, self.micros / 1000 % 1000);
        let text = match shape {
            Shape::Combined | Shape::CombinedShort | Shape::CombinedTime => {
                let request = match self.dice >> 32 & 0xfff {
                    0 => r"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_owned(),
                    _ => format!("{method} {target} {protocol}"),
                };
                let took = if shape == Shape::CombinedTime { format!(" {took}") } else { String::new() };
                format!("{address} - - [{time}] \"{request}\" {status} {bytes} \"{referrer}\" \"{agent}\"{took}\n")
            }
            Shape::Json => {
                let at = FIRST_DAY * 86_400 + seconds;
                let millis = self.millis % 1000;
                format!(
                    "{{\"msec\":\"{at}.{millis:03}\",\"remote_addr\":\"{address}\",\"host\":\"shop.example.com\",\
                     \"request_method\":\"{method}\",\"request_uri\":\"{target}\",\"server_protocol\":\"{protocol}\",\
                     \"status\":{status},\"body_bytes_sent\":{bytes},\"request_time\":{took},\
                     \"http_referer\":\"{referrer}\",\"http_user_agent\":\"{agent}\"}}\n"
                )
            }
        };
        line.extend_from_slice(text.as_bytes());
    }
}
