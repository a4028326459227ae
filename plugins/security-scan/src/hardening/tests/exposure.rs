use super::Case;

const ALL: &str = "0.0.0.0";

pub(super) const CASES: &[Case] = &[
    ("public-postgresql", |it| it.listen(5433, "postgres", ALL), |it| it.listen(5432, "postgres", "127.0.0.1")),
    ("public-mysql", |it| it.listen(3306, "mariadbd", "::"), |it| it.listen(3306, "mysqld", "10.0.0.5")),
    (
        "public-redis",
        |it| it.listen(6379, "docker-proxy", ALL),
        |it| {
            it.listen(6379, "redis-server", "::1");
            it.listen(6379, "nginx", ALL);
        },
    ),
    ("public-mongodb", |it| it.listen(27017, "mongod", "203.0.113.7"), |it| it.listen(27017, "mongod", "192.168.1.2")),
    ("public-memcached", |it| it.listen(11211, "memcached", ALL), |it| it.listen(11211, "memcached", "127.0.0.1")),
    ("public-search", |it| it.listen(9200, "java", "::"), |it| it.listen(9200, "java", "::ffff:127.0.0.1")),
    ("public-etcd", |it| it.listen(2379, "etcd", ALL), |it| it.listen(2379, "etcd", "fd00::1")),
    ("public-docker", |it| it.listen(2375, "dockerd", ALL), |it| it.listen(2375, "dockerd", "127.0.0.1")),
    ("public-rabbitmq", |it| it.listen(15672, "beam.smp", ALL), |it| it.listen(5671, "beam.smp", ALL)),
    ("public-nats", |it| it.listen(8222, "nats-server", ALL), |it| it.listen(4222, "nats-server", ALL)),
    ("public-metrics", |it| it.listen(9100, "node_exporter", "::"), |it| it.listen(9100, "node_exporter", "127.0.0.1")),
    ("public-debugger", |it| it.listen(9229, "node", ALL), |it| it.listen(9229, "node", "127.0.0.1")),
    ("public-php-fpm", |it| it.listen(9001, "php-fpm8.2", ALL), |it| it.listen(9000, "php-fpm8.2", "127.0.0.1")),
    (
        "public-application",
        |it| it.listen(3000, "node", "::"),
        |it| {
            it.listen(8080, "python3.11", ALL);
            it.config.public_ports.push(8080);
        },
    ),
    ("public-cleartext", |it| it.listen(21, "vsftpd", ALL), |it| it.listen(21, "sshd", ALL)),
    ("public-file-share", |it| it.listen(445, "smbd", ALL), |it| it.listen(445, "smbd", "10.1.2.3")),
    (
        "public-port",
        |it| it.listen(7777, "", ALL),
        |it| {
            it.listen(443, "nginx", ALL);
            it.listen(6379, "", ALL);
        },
    ),
];
