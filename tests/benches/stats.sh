#!/usr/bin/env bash
# How long it takes to roll a log up, as the plugin runs, beside GoAccess and beside awk that only counts status codes.
#
#   stats.sh [LINES [VISITORS [ROUNDS]]]      3,200,000 lines, 200,000 visitors and 3 rounds by default
#
# The log is made by the example `generate` of upkeep-accesslog (GENERATE says where it is), 122 bytes a line. UPKEEP and PLUGINS
# say where the program and the plugins are; it should be optimised (make bench). BENCH_DIR has room for the log. Totals are
# compared: requests, bytes and statuses with awk, requests with GoAccess.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=${PLUGINS:-$root/target/plugins}
generate=${GENERATE:-${CARGO_TARGET_DIR:-$root/target}/release/examples/generate}
lines=${1:-3200000} visitors=${2:-200000} rounds=${3:-3}
for tool in goaccess:goaccess awk:mawk sqlite3:sqlite3 python3:python3; do
    command -v "${tool%:*}" >/dev/null || { echo "there is no ${tool%:*}: apt-get install ${tool#*:}" >&2 && exit 1; }
done
[[ -x $generate ]] || { echo "run \`cargo build --release -p upkeep-accesslog --example generate\`, or set GENERATE" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/upkeep-stats.XXXXXX")
trap 'rm -rf "$place"' EXIT
mkdir -p "$place"/{etc/tasks.d,logs}
log=$place/logs/access.log
"$generate" "$lines" "$visitors" 7 combined-short >"$log"
printf 'load %s; %s lines, %s MB\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)" "$lines" "$(($(stat -c %s "$log") / 1000000))"

cat >"$place/etc/upkeep.toml" <<TOML
state_dir = "$place/state"
socket = "$place/upkeep.sock"
plugin_dir = "$plugins"
TOML
cat >"$place/etc/tasks.d/stats.toml" <<TOML
plugin = "stats-rollup"
timeout = "2h"
[[config.sources]]
name = "site"
root = "logs"
[grant]
metrics = true
[grant.files.logs]
path = "$place/logs"
[grant.sql.private]
access = ["write"]
TOML
export UPKEEP_CONFIG=$place/etc

# Seconds of the wall clock and of the processor, and MiB, of a command.
measure() {
    local name=$1
    shift
    command time -f '%e %U %S %M' -o "$place/time" "$@" >"$place/out" 2>"$place/errors" || { cat "$place/errors" >&2 && exit 1; }
    awk -v name="$name" '{ printf "%s\t%.2f\t%.2f\t%.0f\n", name, $1, $2 + $3, $4 / 1024 }' "$place/time" >>"$place/figures"
}
cat "$log" >/dev/null
# The plugin is compiled once, by the first run.
rm -f "$place/figures"
head -n 1000 "$log" >"$place/some" && mv "$log" "$place/all" && mv "$place/some" "$log"
"$upkeep" run stats --standalone >/dev/null 2>&1
mv "$place/all" "$log"
for _ in $(seq "$rounds"); do
    rm -rf "$place/state/private"
    measure upkeep "$upkeep" run stats --standalone
    measure awk awk '{ count[$9]++ } END { for (status in count) print status, count[status] }' "$log"
done
# By quotes, since words are not where they belong in requests that are none.
awk -F '"' '{ split($3, word, " "); count[word[1]]++; bytes += word[2] } END { for (status in count) print status, count[status]; printf "bytes %.0f\n", bytes }' "$log" >"$place/truth"
[[ ${GOACCESS:-1} == 0 ]] || measure goaccess goaccess "$log" --log-format=COMBINED --no-progress --output "$place/report.json"

figures="SELECT sum(requests), sum(bytes), sum(s2xx), sum(s3xx), sum(s4xx), sum(s5xx) FROM traffic WHERE level = 'day'"
sqlite3 "$place/state/private/stats.sqlite" "$figures" >"$place/ours"
python3 - "$place" "$lines" <<'PY'
import json, os, sys
place, lines = sys.argv[1], int(sys.argv[2])
best = {}
for line in open(place + "/figures"):
    name, *values = line.rstrip("\n").split("\t")
    best[name] = min(best.get(name, [1e9] * 3), [float(it) for it in values])
print("\n| | wall | processor | memory | lines a second | wall of upkeep is |\n|---|---|---|---|---|---|")
for name, (wall, processor, memory) in best.items():
    print(f"| {name} | {wall:.2f} s | {processor:.2f} s | {memory:.0f} MiB | {lines / wall:,.0f} | {best['upkeep'][0] / wall:.3f} of it |")
truth = dict(line.split() for line in open(place + "/truth"))
total = int(float(truth.pop("bytes")))
classes = [sum(int(count) for status, count in truth.items() if status[0] == str(number)) for number in (2, 3, 4, 5)]
ours = [int(it) for it in open(place + "/ours").read().split("|")]
print("\nrequests, bytes, 2xx, 3xx, 4xx, 5xx")
print("upkeep  ", *ours)
print("awk     ", sum(int(it) for it in truth.values()), total, *classes)
same = ours == [sum(int(it) for it in truth.values()), total, *classes]
if os.path.exists(place + "/report.json"):
    general = json.load(open(place + "/report.json"))["general"]
    print("goaccess", general["valid_requests"], general["bandwidth"], "and not read:", general["failed_requests"])
    same = same and general["valid_requests"] + general["failed_requests"] == ours[0]
print("the same" if same else "NOT THE SAME")
sys.exit(not same)
PY
