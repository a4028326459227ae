//! For each rule a text that it finds, and a near miss that it leaves alone. Secrets are put together here, so that none
//! stands in the file.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use upkeep_secrets::{Match, Options, RULES, Scanner};

const HEX: &str = "9f3c07a1d8e24b6590c1f7ab3d5e82647b1d90e2c4a86f35d07e1b9c53a2f864e1";
const ALNUM: &str = "k7Qz2mXv9RtB4nWp8LsD3hJc6YgF1xKuT5aZoE0iVqNr7wMb2PdS9fHy4GjC8kXl6UeA3zQ1tRvW5nBmK";

fn scan(path: &str, text: &str) -> Vec<Match> {
    let mut found = Vec::new();
    Scanner::new(Options::default()).unwrap().scan(path, text.as_bytes(), &mut |it| found.push(it));
    found
}

fn hex(length: usize) -> &'static str {
    &HEX[..length]
}

fn alnum(length: usize) -> &'static str {
    &ALNUM[..length]
}

fn uuid() -> &'static str {
    "7c9e6a41-3f0b-4d28-9b57-e18c2fd0a634"
}

/// 30 characters with their checksum.
fn checked() -> String {
    let mut rest = crc32fast::hash(alnum(30).as_bytes());
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut checksum: Vec<_> = (0..6)
        .map(|_| {
            let it = digits[(rest % 62) as usize];
            rest /= 62;
            it
        })
        .collect();
    checksum.reverse();
    alnum(30).to_owned() + std::str::from_utf8(&checksum).unwrap()
}

fn base64(bytes: usize) -> String {
    STANDARD
        .encode((0..bytes).map(|it| u8::try_from((it * 167 + 29 + it * it * 13) % 256).unwrap()).collect::<Vec<_>>())
}

fn jwt(claims: &str) -> String {
    let part = |it: &str| URL_SAFE_NO_PAD.encode(it);
    format!("{}.{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(claims), alnum(43))
}

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// Rule, path, what is found, and what is not.
fn cases() -> Vec<(&'static str, &'static str, String, String)> {
    let crc = checked();
    let broken = crc.replace(&crc[5..6], if &crc[5..6] == "A" { "B" } else { "A" });
    let login = |password: &str| STANDARD.encode(format!("shop:{password}"));
    let p = "Mall@8842kq";
    let upper = "QZ7RBX2MVK5TNWPL";
    let slack = format!("T0{}/B0{}/{}", &upper[..9], &upper[3..12], alnum(24));
    let mut all = Vec::new();
    let mut case = |rule, path, yes: String, no: String| all.push((rule, path, yes, no));
    case(
        "aws-access-key",
        "a.tf",
        format!("id = \"AK{}{upper}\"", "IA"),
        format!("id = \"AK{}IOSFODNN7EXAMPLE\"", "IA"),
    );
    case(
        "aws-secret-key",
        "a.env",
        format!("AWS_SECRET_ACCESS_KEY={}", &base64(30)),
        "AWS_SECRET_ACCESS_KEY=${SECRET}".into(),
    );
    case("aliyun-access-key", "a.py", format!("k = 'LT{}5t{}'", "AI", alnum(18)), format!("k = 'LT{}'", "AI5t"));
    case(
        "aliyun-secret",
        "a.yml",
        format!("accessKeySecret: {}", alnum(30)),
        "accessKeySecret: your-access-key-secret-here-30".into(),
    );
    case(
        "tencent-secret-id",
        "a.py",
        format!("k = 'AK{}{}'", "ID", alnum(32)),
        format!("k = 'AK{}{}'", "ID", alnum(20)),
    );
    case("tencent-secret-key", "a.env", format!("TENCENT_SECRET_KEY={}", alnum(32)), "TENCENT_SECRET_KEY=".into());
    case("huawei-secret-key", "a.env", format!("HUAWEI_SECRET_KEY={}", alnum(40)), "HUAWEI_SECRET_KEY=$SK".into());
    case("baidu-secret-key", "a.env", format!("BAIDU_SECRET_KEY={}", alnum(32)), "BAIDU_SECRET_KEY=none".into());
    case("volcengine-key", "a.env", format!("K=AK{}{}", "LT", alnum(44)), format!("K=AK{}{}", "LT", "abc"));
    case(
        "qiniu-secret-key",
        "a.go",
        format!("qiniuSecretKey := \"{}\"", alnum(40)),
        "qiniuSecretKey := os.Getenv(\"QINIU_SK\")".into(),
    );
    case(
        "wechat-app-secret",
        "a.js",
        format!("appid: 'wx{}', secret: '{}'", hex(16), hex(32)),
        format!("appid: 'wx{}'", hex(16)),
    );
    case(
        "wechat-pay-key",
        "a.php",
        format!("'mch_id' => '1499', 'key' => '{}'", alnum(32)),
        format!("'cache' => '1499', 'key' => '{}'", alnum(32)),
    );
    case(
        "wecom-webhook",
        "a.sh",
        format!("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={}", uuid()),
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=KEY".into(),
    );
    case("wecom-secret", "a.go", format!("corpSecret = \"{}\"", alnum(43)), "corpSecret = \"\"".into());
    case(
        "dingtalk-webhook",
        "a.sh",
        format!("https://oapi.dingtalk.com/robot/send?access_token={}", hex(64)),
        "https://oapi.dingtalk.com/robot/send?access_token=$TOKEN".into(),
    );
    case("dingtalk-secret", "a.py", format!("s = 'SE{}{}'", "C", hex(64)), format!("s = 'SE{}{}'", "C", hex(40)));
    case(
        "feishu-webhook",
        "a.sh",
        format!("https://open.feishu.cn/open-apis/bot/v2/hook/{}", uuid()),
        "https://open.feishu.cn/open-apis/bot/v2/hook/xxxx".into(),
    );
    case("feishu-secret", "a.env", format!("FEISHU_SECRET={}", alnum(22)), "FEISHU_SECRET=feishu-secret-here".into());
    case(
        "private-key",
        "a.pem",
        pem(&["RSA", "PRIVATE", "KEY"].join(" "), &base64(300)),
        pem("RSA PUBLIC KEY", &base64(300)),
    );
    case(
        "private-key",
        "a.ppk",
        format!("Private-Lines: 1\n{}\nPrivate-MAC: 1", base64(48)),
        "Private-Lines: 1\n\nPrivate-MAC: 1".into(),
    );
    case(
        "database-url",
        "a.txt",
        format!("postgres://shop:{}@db:5432/shop", "x7.Kq2mW"),
        "postgres://user:password@localhost/db".into(),
    );
    case(
        "database-url",
        "a.go",
        format!("\"shop:{}@tcp(db:3306)/shop\"", "x7.Kq2mW"),
        "\"user:password@tcp(localhost)/db\"".into(),
    );
    case(
        "basic-auth",
        "a.txt",
        format!("https://ci:{}@git.internal/a.git", "x7.Kq2mW"),
        "https://ci:${TOKEN}@git.internal/a.git".into(),
    );
    case("jwt", "a.log", jwt(r#"{"sub":"7"}"#), jwt(r#"{"sub":"1234567890","name":"John Doe"}"#));
    case("github-token", "a.sh", format!("gh{}{crc}", "p_"), format!("gh{}{broken}", "p_"));
    case(
        "github-token",
        "a.sh",
        format!("github{}{}_{}", "_pat_", alnum(22), &ALNUM[10..69]),
        format!("github{}{}", "_pat_", alnum(22)),
    );
    case("gitlab-token", "a.sh", format!("gl{}{}", "pat-", alnum(20)), format!("gl{}x", "pat-"));
    case("npm-token", "a.sh", format!("np{}{crc}", "m_"), format!("np{}{broken}", "m_"));
    case(
        "npm-token",
        ".npmrc",
        format!("//npm.internal/:_authToken={}", uuid()),
        "//npm.internal/:_authToken=${NPM_TOKEN}".into(),
    );
    case(
        "pypi-token",
        "a.sh",
        format!("pypi{}{}", "-AgEIcHlwaS5vcmc", alnum(70)),
        format!("pypi{}", "-AgEIcHlwaS5vcmc"),
    );
    case(
        "slack-token",
        "a.sh",
        format!("xo{}730468219054-918273640528-{}", "xb-", alnum(24)),
        format!("xo{}1-2", "xb-"),
    );
    case(
        "slack-webhook",
        "a.sh",
        format!("https://hooks.slack.com/services/{slack}"),
        "https://hooks.slack.com/services/T00/B00/XXX".into(),
    );
    case(
        "discord-webhook",
        "a.sh",
        format!("https://discord.com/api/webhooks/{}{}/{}", 918_273_645, 546_372_819, alnum(68)),
        "https://discord.com/api/webhooks/ID/TOKEN".into(),
    );
    case("stripe-live-key", "a.rb", format!("sk_{}{}", "live_", alnum(24)), format!("sk_{}...", "live_"));
    case("stripe-test-key", "a.rb", format!("sk_{}{}", "test_", alnum(24)), format!("pk_{}{}", "test_", alnum(24)));
    case("sendgrid-key", "a.rb", format!("S{}{}.{}", "G.", alnum(22), alnum(43)), format!("S{}{}", "G.", alnum(22)));
    case("twilio-token", "a.env", format!("TWILIO_AUTH_TOKEN={}", hex(32)), "TWILIO_AUTH_TOKEN=[token]".into());
    case("mailgun-key", "a.rb", format!("k = 'key{}{}'", "-", hex(32)), format!("k = 'key{}{}'", "-", hex(12)));
    case(
        "telegram-bot-token",
        "a.py",
        format!("'7123498760:A{}{}'", "A", alnum(33)),
        format!("'7123498760:A{}{}'", "A", alnum(20)),
    );
    case("openai-key", "a.py", format!("sk{}{}", "-proj-", alnum(60)), format!("sk{}xxxx", "-proj-"));
    case(
        "anthropic-key",
        "a.py",
        format!("sk{}api03-{}{}", "-ant-", alnum(60), alnum(40)),
        format!("sk{}api03-...", "-ant-"),
    );
    case("model-key", "a.py", format!("sk{}{}", "-", hex(32)), "sk-learn-is-not-a-key".into());
    case("google-api-key", "a.js", format!("AI{}Sy{}", "za", alnum(33)), format!("AI{}Sy{}", "za", alnum(20)));
    case(
        "google-service-account",
        "a.json",
        format!(
            r#"{{"type": "service_account", "private_key": "{}"}}"#,
            pem(&["PRIVATE", "KEY"].join(" "), &base64(300)).replace('\n', "\\n")
        ),
        r#"{"type": "service_account", "private_key": "..."}"#.into(),
    );
    case(
        "azure-storage-key",
        "a.cs",
        format!("\"AccountName=a;AccountKey={}\"", base64(64)),
        "\"AccountName=a;AccountKey=<key>\"".into(),
    );
    case(
        "azure-sas",
        "a.py",
        format!("https://a.blob.core.windows.net/c?sv=2022-11-02&sig={}%3D", alnum(43)),
        format!("https://a.cn/c?sig={}", alnum(43)),
    );
    case("heroku-key", "a.env", format!("HEROKU_API_KEY={}", uuid()), format!("HEROKU_APP_ID={}", uuid()));
    case("digitalocean-token", "a.sh", format!("dop{}{}", "_v1_", hex(64)), format!("dop{}{}", "_v1_", hex(20)));
    case("cloudflare-token", "a.env", format!("CLOUDFLARE_API_TOKEN={}", alnum(40)), "CLOUDFLARE_API_TOKEN=".into());
    case("vault-token", "a.sh", format!("hv{}{}{}", "s.", alnum(60), alnum(35)), format!("hv{}abc", "s."));
    case("sentry-token", "a.sh", format!("sntr{}{}", "yu_", hex(64)), format!("sntr{}{}", "yu_", hex(20)));
    case(
        "docker-auth",
        "config.json",
        format!(r#"{{"auth": "{}"}}"#, login(p)),
        format!(r#"{{"auth": "{}"}}"#, STANDARD.encode("shop shop shop")),
    );
    case(
        "basic-auth",
        "a.log",
        format!("Authorization: Basic {}", login(p)),
        format!("Authorization: Basic {}", login("password")),
    );
    case("netrc", ".netrc", format!("machine a login b password {p}"), "machine a login b".into());
    case("pgpass", ".pgpass", format!("db:5432:shop:shop:{p}"), "db:5432:shop:shop:*".into());
    case(
        "wordpress-key",
        "wp-config.php",
        format!("define('AUTH_KEY', '{}');", alnum(64)),
        "define('AUTH_KEY', 'put your unique phrase here');".into(),
    );
    case("laravel-app-key", ".env", format!("APP_KEY=base64:{}", base64(32)), "APP_KEY=".into());
    case(
        "django-secret-key",
        "settings.py",
        format!("SECRET_KEY = 'django-insecure-{}'", alnum(50)),
        "SECRET_KEY = os.environ['SECRET_KEY']".into(),
    );
    case(
        "spring-datasource-password",
        "application.properties",
        format!("spring.datasource.password={p}"),
        "spring.datasource.password=${DB_PASSWORD}".into(),
    );
    case(
        "sql-password",
        "a.sql",
        format!("CREATE USER a IDENTIFIED BY '{p}'"),
        "CREATE USER a IDENTIFIED BY 'password'".into(),
    );
    case("shell-password", "a.sh", format!("mysqldump -u root -p{p} mall"), "mysqldump -u root -p mall".into());
    case("password", "a.yml", format!("password: {p}"), "password: 密码".into());
    case("password", "a.md", format!("数据库密码:{p}"), "数据库密码:请联系管理员".into());
    case(
        "password",
        "a.xml",
        format!("<property name=\"jdbc.password\" value=\"{p}\"/>"),
        "<property name=\"jdbc.password\" value=\"${jdbc.password}\"/>".into(),
    );
    case(
        "secret",
        "a.js",
        format!("const jwtSecret = '{}'", alnum(20)),
        "const jwtSecret = process.env.JWT_SECRET".into(),
    );
    case("token", "a.py", format!("token = \"{}\"", alnum(40)), "token = \"StringLiteralToken\"".into());
    case("key", "a.go", format!("ApiKey: \"{}\",", hex(32)), format!("CacheKey: \"{}\",", hex(32)));
    all
}

#[test]
fn each_rule_finds_its_own_and_leaves_the_near_miss() {
    let mut wrong = Vec::new();
    for (rule, path, yes, no) in cases() {
        let found: Vec<_> = scan(path, &yes).iter().map(|it| it.rule.id).collect();
        if !found.contains(&rule) {
            wrong.push(format!("{rule}: {yes} gives {found:?}"));
        }
        let found: Vec<_> = scan(path, &no).iter().map(|it| it.rule.id).collect();
        if !found.is_empty() {
            wrong.push(format!("{rule}: {no} gives {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let tested: BTreeSet<_> = cases().iter().map(|it| it.0).collect();
    let untested: Vec<_> = RULES.iter().map(|it| it.id).filter(|id| !tested.contains(id)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}
