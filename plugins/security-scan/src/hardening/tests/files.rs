use super::Case;
use super::stage::Stage;

const KEY: &str = "-----BEGIN PRIVATE KEY-----\n";
const REDIS: &str = "bind 0.0.0.0\n";

/// Gives a file away, which only root may do.
fn give(stage: &mut Stage, uid: u32) {
    stage.file("uploads/picture", "", 0o644);
    stage.owner("uploads/picture", uid);
}

pub(super) const CASES: &[Case] = &[
    ("file-world-writable", |it| it.file("data/cache", "", 0o666), |it| it.file("data/cache", "", 0o664)),
    ("folder-world-writable", |it| it.folder("data", 0o777), |it| it.folder("data", 0o1777)),
    ("file-set-uid", |it| it.file("bin/run", "", 0o4755), |it| it.file("bin/run", "", 0o755)),
    ("file-set-gid", |it| it.file("bin/run", "", 0o2755), |it| it.folder("shared", 0o2775)),
    ("file-foreign-owner", |it| give(it, 33), |it| it.file("uploads/picture", "", 0o644)),
    ("file-without-owner", |it| give(it, 4321), |it| it.file("uploads/picture", "", 0o644)),
    (
        "private-key-readable",
        |it| it.file("tls/server.key", KEY, 0o644),
        |it| {
            it.file("tls/server.key", KEY, 0o600);
            it.file("tls/public.key", "-----BEGIN PUBLIC KEY-----\n", 0o644);
            it.file("tls/locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 0o644);
        },
    ),
    (
        "private-key-in-web",
        |it| it.file("public/server.pem", KEY, 0o600),
        |it| it.file("public-not/server.pem", KEY, 0o600),
    ),
    ("env-readable", |it| it.file(".env", "A=1", 0o644), |it| it.file(".env.example", "A=", 0o644)),
    ("env-in-web", |it| it.file("public/.env.local", "A=1", 0o600), |it| it.file(".env", "A=1", 0o600)),
    ("repository-in-web", |it| it.folder("public/.git", 0o700), |it| it.folder(".git", 0o700)),
    ("dump-readable", |it| it.file("data/app.sql.gz", "", 0o644), |it| it.file("db/0001.sql", "", 0o644)),
    ("dump-in-web", |it| it.file("public/backup.zip", "", 0o600), |it| it.file("public/app.zip", "", 0o644)),
    ("database-in-web", |it| it.file("public/app.sqlite", "", 0o600), |it| it.file("data/app.sqlite", "", 0o600)),
    ("credentials-readable", |it| it.file(".pgpass", "", 0o644), |it| it.file(".pgpass", "", 0o600)),
    ("credentials-in-web", |it| it.file("public/.htpasswd", "", 0o640), |it| it.file(".htpasswd", "", 0o640)),
    (
        "admin-tool-in-web",
        |it| it.file("public/tools/phpinfo.php", "", 0o644),
        |it| it.file("tools/adminer.php", "", 0o644),
    ),
    (
        "source-copy-in-web",
        |it| it.file("public/index.php.bak", "", 0o644),
        |it| it.file("src/index.php.bak", "", 0o644),
    ),
    (
        "authorized-keys-writable",
        |it| it.file(".ssh/authorized_keys", "", 0o664),
        |it| it.file(".ssh/authorized_keys", "", 0o644),
    ),
    ("certificate-over", |it| it.certificate("over"), |it| it.certificate("soon")),
    (
        "certificate-ends-soon",
        |it| it.certificate("soon"),
        |it| {
            it.certificate("soon");
            it.config.certificate_days = 7;
        },
    ),
    ("certificate-short-key", |it| it.certificate("short"), |it| it.certificate("rsa")),
    ("certificate-weak-signature", |it| it.certificate("sha1"), |it| it.certificate("self")),
    ("certificate-self-signed", |it| it.certificate("self"), |it| it.certificate("authority")),
    (
        "redis-without-password",
        |it| it.file("etc/redis.conf", REDIS, 0o640),
        |it| it.file("etc/redis.conf", &format!("{REDIS}requirepass secret\n"), 0o640),
    ),
    (
        "redis-local-without-password",
        |it| it.file("etc/redis.conf", "bind 127.0.0.1\n", 0o640),
        |it| it.file("etc/redis.conf", "bind 127.0.0.1\naclfile /etc/redis/users.acl\n", 0o640),
    ),
];
