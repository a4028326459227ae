#!/usr/bin/env bash
# Backs up PostgreSQL and MariaDB with 1 GB each, at rest and while they are written to, and restores both on trial.
#
#   tests/benches/databases.sh [MEGABYTES]     prints tables in Markdown; 1000 by default
#
# UPKEEP and PLUGINS name the program and the plugins, BENCH_DIR a folder with 6 GB of room that other accounts may enter.
# Both servers are made anew, on sockets of their own, with their usual safety (fsync on). The writer of PostgreSQL is pgbench
# with two clients, that of MariaDB two clients that each change one row in one transaction after the other.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=$(cd "${PLUGINS:-$root/target/plugins}" && pwd)
megabytes=${1:-1000}
pg=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
[[ -x $pg/pgbench ]] || { echo "there is no pgbench: apt-get install postgresql postgresql-contrib" >&2 && exit 1; }
for tool in mariadbd mariadb-install-db mariadb python3; do
    command -v "$tool" >/dev/null || { echo "there is no $tool: apt-get install mariadb-server python3" >&2 && exit 1; }
done
[[ -x $upkeep && -e $plugins/backup.wasm ]] || { echo "run \`make build plugins\`, or set UPKEEP and PLUGINS" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-/var/tmp}/upkeep-bench.XXXXXX")
servers=()
finish() {
    # The background of a shell ignores SIGINT.
    for server in "${servers[@]}"; do kill -TERM "$server" 2>/dev/null || true; done
    wait "${servers[@]}" 2>/dev/null || true
    rm -rf "$place"
}
trap finish EXIT
cd "$place"
chmod 755 "$place"

# A server must not run as root.
as() {
    local account=$1
    shift
    if [[ $EUID -eq 0 ]]; then setpriv --reuid="$account" --regid="$account" --clear-groups "$@"; else "$@"; fi
}
# The same, in place of the shell, so that the process is the server.
become() {
    local account=$1
    shift
    if [[ $EUID -eq 0 ]]; then exec setpriv --reuid="$account" --regid="$account" --clear-groups "$@"; else exec "$@"; fi
}
folder() {
    mkdir "$2"
    if [[ $EUID -eq 0 ]]; then chown "$1" "$2"; fi
}
until_it_answers() { for _ in {1..300}; do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; echo "no answer: $*" >&2 && exit 1; }

echo "making PostgreSQL with $megabytes MB" >&2
folder postgres pg
as postgres "$pg/initdb" -U bench --auth=trust --locale=C.UTF-8 -E UTF8 -D "$place/pg/data" >/dev/null
become postgres "$pg/postgres" -D "$place/pg/data" -k "$place/pg" -c listen_addresses= -c shared_buffers=256MB -c max_wal_size=4GB >pg.log 2>&1 &
servers+=($!)
psql() { "$pg/psql" -X -q -h "$place/pg" -U bench "$@"; }
until_it_answers psql -d postgres -c 'SELECT 1'
psql -d postgres -c 'CREATE DATABASE bench'
# pgbench's filler compresses to nothing; a column of digests makes rows as they are.
"$pg/pgbench" -h "$place/pg" -U bench -i -q -s $((megabytes / 25)) bench 2>/dev/null
psql -d bench -c "CREATE TABLE events AS SELECT n AS id, now() - n * interval '1 second' AS at, md5(n::text) AS a, md5((n * 7)::text) AS b
    FROM generate_series(1, $((megabytes * 4000))) AS n; ALTER TABLE events ADD PRIMARY KEY (id)"
psql -d bench -c 'VACUUM ANALYZE'

echo "making MariaDB with $megabytes MB" >&2
folder mysql my
as mysql env TMPDIR="$place/my" mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --datadir="$place/my/data" >/dev/null 2>&1
become mysql mariadbd --no-defaults --datadir="$place/my/data" --tmpdir="$place/my" --socket="$place/my/s" --skip-networking \
    --innodb-buffer-pool-size=512M --innodb-log-file-size=512M >my.log 2>&1 &
servers+=($!)
maria() { mariadb --no-defaults -u root -S "$place/my/s" "$@"; }
until_it_answers maria -e 'SELECT 1'
maria -e "CREATE DATABASE bench; USE bench; CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(40), n INT) ENGINE=InnoDB;
    CREATE TABLE events (id INT PRIMARY KEY, user INT NOT NULL, at DATETIME, a CHAR(32), b CHAR(32), FOREIGN KEY (user) REFERENCES users (id)) ENGINE=InnoDB;
    INSERT INTO users SELECT seq, CONCAT('user ', seq), 0 FROM seq_1_to_100000"
for ((from = 1; from < megabytes * 7000; from += 500000)); do
    to=$((from + 499999 < megabytes * 7000 ? from + 499999 : megabytes * 7000))
    maria bench -e "INSERT INTO events SELECT seq, 1 + seq % 100000, NOW() - INTERVAL seq SECOND, MD5(seq), MD5(seq * 7) FROM seq_${from}_to_$to"
done

mkdir -p etc/tasks.d
(umask 077 && echo benchmark >password)
printf 'state_dir = "%s"\nplugin_dir = "%s"\n' "$place/state" "$plugins" >etc/upkeep.toml
repository="url = \"$place/repository\"
password = { file = \"$place/password\" }"
task() {
    cat >"etc/tasks.d/$1.toml" <<TOML
plugin = "backup"
[config]
repository = "main"
databases = ["bench"]
[grant]
state = true
metrics = true
[grant.dump.bench.$2]
socket = "$3"
user = "$4"
databases = ["bench"]
[grant.repository.main]
$repository
TOML
}
task postgresql postgresql "$place/pg" bench
task mariadb mariadb "$place/my/s" root
export UPKEEP_CONFIG=$place/etc

# Transactions per second, one line each second with the time.
write_postgresql() { "$pg/pgbench" -h "$place/pg" -U bench -n -c 2 -j 2 -T 3600 -P 1 bench 2>&1; }
write_mariadb() {
    python3 - "$place/my/s" <<'PY'
import random, subprocess, sys, threading, time
count = [0, 0]
def client(which):
    process = subprocess.Popen(["mariadb", "--no-defaults", "-u", "root", "-S", sys.argv[1], "--batch", "--unbuffered", "-N", "bench"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while True:
        process.stdin.write(f"UPDATE users SET n = n + 1 WHERE id = {random.randrange(1, 100001)}; SELECT 1;\n")
        process.stdin.flush()
        if not process.stdout.readline():
            return
        count[which] += 1
for which in (0, 1):
    threading.Thread(target=client, args=(which,), daemon=True).start()
before = 0
for second in range(1, 3600):
    time.sleep(1)
    now = sum(count)
    print(f"progress: {second}.0 s, {now - before}.0 tps", flush=True)
    before = now
PY
}
tps() { awk -v from="$2" -v to="$3" '/^progress:/ && NR > from && NR <= to { sum += $4; n++ } END { printf "%.0f", n ? sum / n : 0 }' "$1"; }
seconds() { date +%s.%N; }
passed() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", b - a }'; }
size() { du -sm "$1" | cut -f 1; }
saved() {
    local began
    began=$(seconds)
    "$upkeep" run "$1" --standalone >out 2>&1 || { cat out >&2 && exit 1; }
    passed "$began" "$(seconds)"
}

echo "| | dump alone | first backup | again, at rest | while written to | writer alone | writer during the backup | repository grew by |"
echo "|---|---|---|---|---|---|---|---|"
before=0
for server in postgresql mariadb; do
    began=$(seconds)
    if [[ $server == postgresql ]]; then
        "$pg/pg_dump" -h "$place/pg" -U bench -Fc -Z0 bench >/dev/null
    else
        mariadb-dump --no-defaults -u root -S "$place/my/s" --single-transaction --quick --hex-blob --databases bench >/dev/null
    fi
    alone=$(passed "$began" "$(seconds)")
    "$upkeep" run "$server" --standalone --dry-run >/dev/null 2>&1
    first=$(saved "$server")
    grown=$(($(size repository) - before))
    again=$(saved "$server")
    "write_$server" >"writer.$server" &
    writer=$!
    sleep 16
    lines=$(wc -l <"writer.$server")
    busy=$(saved "$server")
    after=$(wc -l <"writer.$server")
    pkill -P "$writer" 2>/dev/null || true
    kill "$writer" 2>/dev/null || true
    wait "$writer" 2>/dev/null || true
    echo "| $server | $alone s | $first s | $again s | $busy s | $(tps "writer.$server" 1 "$lines") tps | $(tps "writer.$server" "$lines" "$after") tps | $grown MiB |"
    before=$(size repository)
done
printf '\nPostgreSQL holds %s, MariaDB %s MiB on its disk; both repositories are one, of %s MiB at the end. Load: %s.\n' \
    "$(psql -At -d bench -c 'SELECT pg_size_pretty(pg_database_size(current_database()))')" "$(size my/data)" "$(size repository)" \
    "$(cut -d ' ' -f 1-3 /proc/loadavg)"

if [[ -e $plugins/restore-drill.wasm ]]; then
    for server in postgresql mariadb; do
        cat >"etc/tasks.d/drill-$server.toml" <<TOML
plugin = "restore-drill"
[config]
repository = "main"
task = "$server"
[[config.databases]]
dump = "bench"
database = "bench"
foreign_keys = true
queries = [{ sql = "SELECT count(*) FROM events", at_least = $((megabytes * 4000)) }]
[grant]
state = true
metrics = true
[grant.drill]
folder = "$place"
[grant.repository.main]
$repository
access = ["list", "restore"]
TOML
    done
    printf '\n'
    for server in postgresql mariadb; do
        echo "Drill of $server: $(saved "drill-$server") s"
        "$upkeep" show --standalone latest 2>/dev/null || tail -n 20 out
    done
fi
