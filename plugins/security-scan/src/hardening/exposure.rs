//! What listens where the whole network reaches it, and should not.
//!
//! A socket is public when it listens at all addresses or at one that is routed in the internet. What belongs to a product
//! is told by the process; where that is hidden, or only passes on to another, by the port.

use std::net::IpAddr;

use upkeep_plugin::Severity;
use upkeep_plugin::system::{Socket, Transport};

use super::machine::Machine;
use super::{Check, Hit, Look};

/// A product by its processes and ports.
struct Kind {
    /// Whatever these listen at is it.
    processes: &'static [&'static str],
    ports: &'static [u16],
    /// Whose these ports are it.
    holders: &'static [&'static str],
}

/// Processes that pass a port on, whoever answers in the end.
const FORWARDERS: [&str; 6] = ["docker-proxy", "rootlessport", "slirp4netns", "conmon", "socat", "systemd"];

const POSTGRESQL: Kind = Kind { processes: &["postgres"], ports: &[5432, 6432], holders: &["pgbouncer"] };
const MYSQL: Kind = Kind { processes: &["mysqld", "mariadbd"], ports: &[3306, 33060], holders: &[] };
const REDIS: Kind =
    Kind { processes: &["redis-server", "valkey-server", "keydb-server"], ports: &[6379, 26379], holders: &[] };
const MONGODB: Kind = Kind { processes: &["mongod", "mongos"], ports: &[27017, 27018, 27019], holders: &[] };
const MEMCACHED: Kind = Kind { processes: &["memcached"], ports: &[11211], holders: &[] };
const SEARCH: Kind = Kind { processes: &[], ports: &[9200, 9300], holders: &["java"] };
const ETCD: Kind = Kind { processes: &["etcd"], ports: &[2379, 2380], holders: &[] };
const DOCKER: Kind = Kind { processes: &["dockerd"], ports: &[2375, 2376], holders: &[] };
const RABBITMQ: Kind = Kind { processes: &["epmd"], ports: &[15672, 25672, 4369], holders: &["beam.smp"] };
const NATS: Kind = Kind { processes: &[], ports: &[8222], holders: &["nats-server"] };
const METRICS: Kind =
    Kind { processes: &["node_exporter", "prometheus", "alertmanager"], ports: &[9090, 9093, 9100], holders: &[] };
const DEBUGGER: Kind =
    Kind { processes: &["dlv", "gdbserver"], ports: &[9229, 5005, 2345, 5678], holders: &["node", "java", "python"] };
const PHP: Kind = Kind { processes: &["php-fpm"], ports: &[], holders: &[] };
const APPLICATION: Kind = Kind {
    processes: &["vite", "esbuild", "webpack", "flask", "next-server"],
    ports: &[3000, 3001, 4200, 5000, 5173, 8000, 8080, 8081, 8888, 9000],
    holders: &["node", "python", "ruby", "php", "java", "uvicorn", "gunicorn", "puma", "dotnet", "bun", "deno"],
};
const CLEARTEXT: Kind = Kind {
    processes: &["telnetd", "in.telnetd", "vsftpd", "proftpd", "in.rshd", "in.rlogind", "in.tftpd"],
    ports: &[21, 23, 69, 512, 513],
    holders: &["inetd", "xinetd"],
};
const SHARES: Kind =
    Kind { processes: &["smbd", "nmbd", "rpcbind", "rpc.mountd"], ports: &[111, 139, 445, 2049], holders: &[] };

const KINDS: [&Kind; 16] = [
    &POSTGRESQL,
    &MYSQL,
    &REDIS,
    &MONGODB,
    &MEMCACHED,
    &SEARCH,
    &ETCD,
    &DOCKER,
    &RABBITMQ,
    &NATS,
    &METRICS,
    &DEBUGGER,
    &PHP,
    &APPLICATION,
    &CLEARTEXT,
    &SHARES,
];

impl Kind {
    fn is(&self, socket: &Socket) -> bool {
        let at_port = self.ports.contains(&socket.port);
        // `php-fpm8.2`, `python3.11`.
        let name = |name: &'_ str| name.trim_end_matches(|it: char| it.is_ascii_digit() || it == '.').to_owned();
        let Some(owner) = socket.owner.as_ref().map(|owner| name(&owner.name)) else { return at_port };
        let is_in = |names: &[&str]| names.contains(&owner.as_str());
        is_in(self.processes) || at_port && (is_in(self.holders) || is_in(&FORWARDERS))
    }
}

/// Whether an address is reached from everywhere. Private ones are not, whoever else is in that network.
fn is_public(address: &str) -> bool {
    match address.parse() {
        Ok(IpAddr::V4(it)) => !(it.is_loopback() || it.is_private() || it.is_link_local() || it.is_multicast()),
        Ok(IpAddr::V6(it)) => match it.to_ipv4_mapped() {
            Some(mapped) => is_public(&mapped.to_string()),
            None => !(it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local() || it.is_multicast()),
        },
        Err(_) => false,
    }
}

fn public<'a>(machine: &'a Machine<'_>) -> Result<impl Iterator<Item = &'a Socket>, String> {
    let allowed = &machine.config.public_ports;
    Ok(machine.sockets()?.iter().filter(|socket| is_public(&socket.address) && !allowed.contains(&socket.port)))
}

fn hit(socket: &Socket) -> Hit {
    let transport = if socket.transport == Transport::Tcp { "tcp" } else { "udp" };
    let address = if socket.address.contains(':') { format!("[{}]", socket.address) } else { socket.address.clone() };
    let place = format!("{transport}/{address}:{}", socket.port);
    let seen = match &socket.owner {
        Some(owner) => format!("{} listens at {place}", owner.name),
        None => place.clone(),
    };
    Hit::of(place, seen)
}

/// One hit for each place, also when several processes share it.
fn distinct(sockets: impl Iterator<Item = Hit>) -> Vec<Hit> {
    let mut hits: Vec<_> = sockets.collect();
    hits.sort_by(|one, other| one.object.cmp(&other.object));
    hits.dedup_by(|one, other| one.object == other.object);
    hits
}

fn exposed(machine: &Machine<'_>, kind: &Kind) -> Look {
    Ok(distinct(public(machine)?.filter(|socket| kind.is(socket)).map(hit)))
}

/// How one binds a product to this machine, where an address in its configuration does it.
macro_rules! bind {
    ($place:literal, $restart:literal) => {
        concat!(
            "Set ",
            $place,
            ", then `systemctl restart ",
            $restart,
            "`. Other servers reach it over a private network or a \
             tunnel. Where it is meant to be public, add the port to `config.hardening.public_ports`."
        )
    };
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "public-postgresql",
        severity: Severity::High,
        title: "PostgreSQL is reachable from everywhere",
        reason: "Its passwords are guessed at all day, and each hole in it is one for everybody.",
        remedy: bind!("`listen_addresses = 'localhost'` in postgresql.conf", "postgresql"),
        look: |machine| exposed(machine, &POSTGRESQL),
    },
    Check {
        id: "public-mysql",
        severity: Severity::High,
        title: "MySQL or MariaDB is reachable from everywhere",
        reason: "Its passwords are guessed at all day, and each hole in it is one for everybody.",
        remedy: bind!("`bind-address = 127.0.0.1` in the section [mysqld]", "mariadb"),
        look: |machine| exposed(machine, &MYSQL),
    },
    Check {
        id: "public-redis",
        severity: Severity::Critical,
        title: "Redis is reachable from everywhere",
        reason: "Often it asks for no password, and who may write to it can have it write files such as root's \
                 authorized_keys.",
        remedy: bind!("`bind 127.0.0.1 -::1` in redis.conf", "redis-server"),
        look: |machine| exposed(machine, &REDIS),
    },
    Check {
        id: "public-mongodb",
        severity: Severity::Critical,
        title: "MongoDB is reachable from everywhere",
        reason: "Databases that were open like this have been copied, emptied and held for ransom by the thousand.",
        remedy: bind!("`net.bindIp: 127.0.0.1` in mongod.conf", "mongod"),
        look: |machine| exposed(machine, &MONGODB),
    },
    Check {
        id: "public-memcached",
        severity: Severity::High,
        title: "memcached is reachable from everywhere",
        reason: "It knows no passwords: anybody reads sessions out of it; and over UDP it floods others in the server's name.",
        remedy: bind!("`-l 127.0.0.1` and `-U 0` in memcached.conf", "memcached"),
        look: |machine| exposed(machine, &MEMCACHED),
    },
    Check {
        id: "public-search",
        severity: Severity::Critical,
        title: "Elasticsearch or OpenSearch is reachable from everywhere",
        reason: "Without a licence or plugin for security it shows and deletes everything for anybody.",
        remedy: bind!("`network.host: 127.0.0.1` in elasticsearch.yml", "elasticsearch"),
        look: |machine| exposed(machine, &SEARCH),
    },
    Check {
        id: "public-etcd",
        severity: Severity::Critical,
        title: "etcd is reachable from everywhere",
        reason: "It holds the configuration and secrets of everything that it coordinates, by default without authentication.",
        remedy: bind!(
            "`listen-client-urls` and `listen-peer-urls` to private addresses, with client certificates",
            "etcd"
        ),
        look: |machine| exposed(machine, &ETCD),
    },
    Check {
        id: "public-docker",
        severity: Severity::Critical,
        title: "the Docker API is reachable from everywhere",
        reason: "Whoever reaches it starts a container that has the machine's disk, and is root.",
        remedy: "Remove `-H tcp://...` from the unit and `hosts` from /etc/docker/daemon.json, then `systemctl restart docker`; \
                 from afar use `docker -H ssh://HOST`.",
        look: |machine| exposed(machine, &DOCKER),
    },
    Check {
        id: "public-rabbitmq",
        severity: Severity::High,
        title: "the management of RabbitMQ is reachable from everywhere",
        reason: "The page takes passwords without limit, and the ports of Erlang trust whoever knows one cookie.",
        remedy: bind!(
            "`management.tcp.ip = 127.0.0.1` in rabbitmq.conf, and `ERL_EPMD_ADDRESS=127.0.0.1`",
            "rabbitmq-server"
        ),
        look: |machine| exposed(machine, &RABBITMQ),
    },
    Check {
        id: "public-nats",
        severity: Severity::Medium,
        title: "the monitoring of NATS is reachable from everywhere",
        reason: "It shows connections, subjects and accounts to anybody.",
        remedy: bind!("`http: 127.0.0.1:8222` in nats-server.conf", "nats-server"),
        look: |machine| exposed(machine, &NATS),
    },
    Check {
        id: "public-metrics",
        severity: Severity::Low,
        title: "metrics are reachable from everywhere",
        reason: "They tell versions, load, mounts and names of inner services.",
        remedy: bind!("`--web.listen-address=127.0.0.1:PORT` in the unit", "prometheus-node-exporter"),
        look: |machine| exposed(machine, &METRICS),
    },
    Check {
        id: "public-debugger",
        severity: Severity::Critical,
        title: "a debugger is reachable from everywhere",
        reason: "Debug ports of Node, Java, Python and Go run whatever they are sent, without asking who it is.",
        remedy: "Remove `--inspect`, `-agentlib:jdwp=...`, `debugpy` or `dlv` from the command line and restart the service; if \
                 it has to be, listen at 127.0.0.1 and go there with `ssh -L`.",
        look: |machine| exposed(machine, &DEBUGGER),
    },
    Check {
        id: "public-php-fpm",
        severity: Severity::Critical,
        title: "php-fpm is reachable from everywhere",
        reason: "FastCGI has no authentication: who reaches it chooses the script and the settings, and so runs code.",
        remedy: "Set `listen = /run/php/php-fpm.sock` in the pool's file, tell the web server the same, and restart both.",
        look: |machine| exposed(machine, &PHP),
    },
    Check {
        id: "public-application",
        severity: Severity::Medium,
        title: "an application server is reachable past the web server",
        reason: "Servers for development and applications behind a proxy expect that somebody else did TLS, limits and logs.",
        remedy: "Have it listen at 127.0.0.1 (often `HOST=127.0.0.1` or `--host 127.0.0.1`) with nginx before it. Where it is \
                 meant to be public, add the port to `config.hardening.public_ports`.",
        look: |machine| exposed(machine, &APPLICATION),
    },
    Check {
        id: "public-cleartext",
        severity: Severity::High,
        title: "a service takes passwords in the clear",
        reason: "Telnet, rsh, FTP and TFTP show passwords and files to everybody on the way.",
        remedy: "Stop it (`systemctl disable --now NAME`) and use SSH and SFTP instead.",
        look: |machine| exposed(machine, &CLEARTEXT),
    },
    Check {
        id: "public-file-share",
        severity: Severity::High,
        title: "file shares are reachable from everywhere",
        reason: "SMB, NFS and rpcbind are made for a network of friends; rpcbind floods others in the server's name, too.",
        remedy: "`systemctl disable --now rpcbind.socket rpcbind smbd nfs-server` where they are not needed; else let a firewall \
                 admit only the machines that are meant.",
        look: |machine| exposed(machine, &SHARES),
    },
    Check {
        id: "public-port",
        severity: Severity::Info,
        title: "something listens where everybody reaches it",
        reason: "It is no service that is known to be dangerous; whether it is meant to be public only its operator knows.",
        remedy: "Add the port to `config.hardening.public_ports` if it is; else have it listen at 127.0.0.1, or stop it.",
        look: |machine| {
            let is_other =
                |socket: &&Socket| socket.transport == Transport::Tcp && !KINDS.iter().any(|kind| kind.is(socket));
            Ok(distinct(public(machine)?.filter(is_other).map(hit)))
        },
    },
];
