#!/usr/bin/env bash
# Delivers messages to a webhook of this machine, nginx that answers 204: how many a second, each durable before and after?
#
#   tests/benches/push.sh [MESSAGES]    prints a table in Markdown; 30,000 messages by default
#
# Measured from the moment at which all of them become due to the commit of the last one's outcome, as the journal has it. Beside
# it, Apprise as a library, which keeps nothing, sends a tenth of them to the same nginx; without python3 that can import it,
# that line is left out. UPKEEP and PLUGINS name the program and the plugins, BENCH_DIR a folder on the disk to be measured.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=$(cd "${PLUGINS:-$root/target/plugins}" && pwd)
messages=${1:-30000}
[[ -x $upkeep && -e $plugins/push.wasm ]] || { echo "run \`make build plugins\`, or set UPKEEP and PLUGINS" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/upkeep-push.XXXXXX")
daemon='' nginx=''
stop() {
    for it in $daemon $nginx; do
        kill "$it" 2>/dev/null || true
        wait "$it" 2>/dev/null || true
    done
    rm -rf "$place"
}
trap stop EXIT
cd "$place"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >nginx.conf <<CONF
daemon off; pid pid; error_log error.log; worker_processes 1;
events { worker_connections 1024; }
http {
    log_format keys '\$http_idempotency_key';
    access_log access.log keys buffer=64k;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_requests 1000000;
    server { listen 127.0.0.1:$port; location / { return 204; } }
}
CONF
/usr/sbin/nginx -p "$place" -c nginx.conf 2>/dev/null &
nginx=$!

mkdir -p etc/tasks.d
printf 'state_dir = "%s"\nsocket = "%s"\nplugin_dir = "%s"\n' "$place/state" "$place/s" "$plugins" >etc/upkeep.toml
cat >etc/tasks.d/push.toml <<TOML
plugin = "push"
schedule.outbox = true
[config.channels.hook]
webhook = { url = "http://127.0.0.1:$port/in" }
[grant]
state = true
metrics = true
outbox = { access = ["deliver"] }
http = { allow = ["http://127.0.0.1:$port/"], networks = ["127.0.0.1"], max_requests = 1000000 }
TOML
export UPKEEP_CONFIG=$place/etc
"$upkeep" daemon >daemon.log 2>&1 &
daemon=$!
for _ in {1..600}; do
    "$upkeep" status >/dev/null 2>&1 && break
    sleep 0.1
done

python3 - "$messages" "$daemon" <<'PY'
"""Puts the messages in; they become due together, when all of them are there."""
import http.client, json, os, socket, sqlite3, sys, threading, time

count, threads = int(sys.argv[1]), 4
due = int(time.time() * 1000) + 5_000 + count

class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("s")

def put(first):
    connection = Connection("upkeep")
    for number in range(first, count, threads):
        content = {"title": f"Order {number}", "text": "It is on its way, and arrives tomorrow.", "level": "info"}
        body = json.dumps({"channels": ["hook"], "not_before": due, "content": content})
        connection.request("POST", "/v1/push", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 202, answer.read()
        answer.read()

began = time.monotonic()
workers = [threading.Thread(target=put, args=(first,)) for first in range(threads)]
for worker in workers: worker.start()
for worker in workers: worker.join()
took = time.monotonic() - began
assert time.time() * 1000 < due, "they were due before all of them were there"
print("| | messages | seconds | a second |\n|---|---|---|---|")
print(f"| put in by the API, 4 connections | {count} | {took:.1f} | {count / took:.0f} |", flush=True)
def processor():
    times = open(f"/proc/{sys.argv[2]}/stat").read().rsplit(") ", 1)[1].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

before = processor()
journal = sqlite3.connect("file:state/upkeep.db?mode=ro", uri=True, timeout=60)
while journal.execute("SELECT count(*) FROM outbox_message WHERE ended IS NULL").fetchone()[0]:
    time.sleep(1)
sent, ended = journal.execute("SELECT count(*), max(ended) FROM outbox_message WHERE state = 'sent'").fetchone()
assert sent == count, f"{sent} of {count} were sent"
took = (ended - due) / 1000
spent = processor() - before
print(f"| upkeep, delivered and durable ({spent / count * 1e6:.0f} µs of a processor each) | {count} | {took:.1f} | {count / took:.0f} |", flush=True)
PY
kill "$daemon" && wait "$daemon" || true
daemon=
# Each once, by its key.
kill -USR1 "$nginx" && sleep 1
outcomes=$(sqlite3 -readonly state/upkeep.db "SELECT ifnull(outcome, phase), count(*) FROM runs GROUP BY 1" | tr '\n' ' ')
[[ $(sort access.log | uniq | wc -l) == "$messages" && $(wc -l <access.log) == "$messages" ]] ||
    { echo "nginx has $(wc -l <access.log) requests with $(sort access.log | uniq | wc -l) keys; runs: $outcomes" >&2 && exit 1; }

python3 - "$((messages / 10))" "$port" <<'PY'
import sys, time
try:
    import apprise
except ImportError:
    sys.exit()
count, port = map(int, sys.argv[1:])
peer = apprise.Apprise()
peer.add(f"json://127.0.0.1:{port}/in")
began = time.monotonic()
for number in range(count):
    assert peer.notify(title=f"Order {number}", body="It is on its way, and arrives tomorrow.")
took = time.monotonic() - began
print(f"| Apprise {apprise.__version__}, a library, not durable | {count} | {took:.1f} | {count / took:.0f} |")
PY
