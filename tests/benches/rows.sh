#!/usr/bin/env bash
# Removes 4 of 5 million rows of a SQLite table while another program inserts, with upkeep and with one DELETE of sqlite3.
#
#   tests/benches/rows.sh [ROWS]       prints a table in Markdown; 5,000,000 rows by default, four fifths of them old
#
# UPKEEP and GUESTS name the program and the plugins for tests, BENCH_DIR a folder with 4 GB of room. The writer has a connection of its own
# with SQLite's usual settings (WAL, synchronous FULL, a busy timeout of ten minutes), inserts one row in each transaction, and
# rests a millisecond between two. What it waits is measured from the beginning of a transaction to its end. Rows have
# about 100 bytes; once with an index on the time, once without.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
guests=$(cd "${GUESTS:-$root/target/guests}" && pwd)
rows=${1:-5000000}
for tool in sqlite3:sqlite3 python3:python3; do
    command -v "${tool%:*}" >/dev/null || { echo "there is no ${tool%:*}: apt-get install ${tool#*:}" >&2 && exit 1; }
done
[[ -x $upkeep && -e $guests/purge-rows.wasm ]] || { echo "run \`make build guests\`, or set UPKEEP and GUESTS" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-/var/tmp}/upkeep-rows.XXXXXX")
writer=
finish() {
    if [[ -n $writer ]]; then kill "$writer" 2>/dev/null || true; fi
    rm -rf "$place"
}
trap finish EXIT
cd "$place"
mkdir -p etc/tasks.d
(umask 077 && echo benchmark >password)
printf 'state_dir = "%s"\nplugin_dir = "%s"\n' "$place/state" "$guests" >etc/upkeep.toml
export UPKEEP_CONFIG=$place/etc

now=$(date +%s)
old=$((rows / 5 * 4))
cutoff=$((now - (rows - old)))
make_database() {
    sqlite3 app.db >/dev/null <<SQL
PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, note TEXT);
INSERT INTO events (at, kind, who, note)
    SELECT $now - $rows + value, 'kind ' || (value % 7), 'user ' || (value * 7919 % 100003), hex(randomblob(24))
    FROM generate_series(0, $rows - 1);
$1
PRAGMA wal_checkpoint(TRUNCATE);
SQL
    sync app.db
}
write_beside() {
    python3 - "$place/app.db" "$1" <<'PY' &
import signal, sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], timeout=600, isolation_level=None)
waits, stop = [], []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
count = 0
while not stop:
    began = time.perf_counter()
    database.execute("INSERT INTO events (at, kind, who, note) VALUES (?, 'new', 'writer', 'beside')", (int(time.time()),))
    waits.append(time.perf_counter() - began)
    time.sleep(0.001)
waits.sort()
pick = lambda share: 1000 * waits[min(len(waits) - 1, int(share * len(waits)))]
with open(sys.argv[2], "w") as out:
    out.write(f"{len(waits)} {pick(0.5):.1f} {pick(0.99):.1f} {1000 * waits[-1]:.0f}\n")
PY
    writer=$!
    sleep 1
}
# The longest log meanwhile, in MiB.
watch_log() { python3 -c '
import os, sys, time
most = 0
while True:
    try: most = max(most, os.path.getsize(sys.argv[1]))
    except OSError: pass
    open(sys.argv[2], "w").write(str(most >> 20))
    time.sleep(0.05)' "$place/app.db-wal" "$place/log" & }
measured() {
    local name=$1 began ended log
    shift
    rm -f app.db*
    cp made.db app.db
    sync app.db
    write_beside writer.out
    watch_log
    log=$!
    began=$(date +%s.%N)
    "$@" >out 2>&1 || { cat out >&2 && exit 1; }
    ended=$(date +%s.%N)
    kill "$writer" "$log"
    [[ -z ${SHOW-} ]] || cat out >&2
    wait "$writer" "$log" 2>/dev/null || true
    writer=
    local left lost
    left=$(sqlite3 app.db "SELECT count(*) FROM events WHERE at < $cutoff")
    lost=$(($(sqlite3 app.db "SELECT count(*) FROM events WHERE at >= $cutoff AND who <> 'writer'") - (rows - old)))
    [[ $left -eq 0 && $lost -eq 0 ]] || { echo "$name: $left old rows are left, $lost others too many" >&2 && cat out >&2 && exit 1; }
    read -r inserts median late longest <writer.out
    awk -v n="$name" -v a="$began" -v b="$ended" -v rows="$old" -v i="$inserts" -v m="$median" -v l="$late" -v w="$longest" -v g="$(cat log)" \
        'BEGIN { printf "| %s | %.1f s | %.0f | %d | %s ms | %s ms | **%s ms** | %s MiB |\n", n, b - a, rows / (b - a), i, m, l, w, g }'
}
task() {
    cat >"etc/tasks.d/$1.toml" <<TOML
plugin = "purge-rows"
timeout = "1h"
[config]
database = "app"
table = "events"
column = "at"
clock = "s"
before = $((cutoff * 1000))
$2
[grant.sql.app]
sqlite = "$place/app.db"
access = ["remove", "maintain"]
[grant.sql.app.removal]
tables = ["events"]
max_share = "90%"
$3
TOML
}
task plain "" ""
task saved 'repository = "main"' "[grant.repository.main]
url = \"$place/repository\"
password = { file = \"$place/password\" }"

echo "| $old of $rows rows | took | rows/s | inserts beside | median | 99% | longest wait | longest log |"
echo "|---|---|---|---|---|---|---|---|"
for index in "" "CREATE INDEX at ON events (at);"; do
    rm -f app.db* made.db
    make_database "$index"
    mv app.db made.db
    # What is compiled once is kept.
    cp made.db app.db
    "$upkeep" run plain --standalone --dry-run >out 2>&1 || { cat out >&2 && exit 1; }
    with=$([[ -n $index ]] && echo "index" || echo "no index")
    measured "upkeep, $with" "$upkeep" run plain --standalone
    measured "upkeep, $with, saved first" "$upkeep" run saved --standalone
    measured "sqlite3, one DELETE, $with" sqlite3 -cmd ".timeout 600000" app.db "DELETE FROM events WHERE at < $cutoff"
done
printf '\nThe table is %s MiB with its index. Load: %s.\n' "$(($(stat -c %s made.db) >> 20))" "$(cut -d ' ' -f 1-3 /proc/loadavg)"
