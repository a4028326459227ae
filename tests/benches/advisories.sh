#!/usr/bin/env bash
# What the scan finds in lock files, beside what others find in the same ones, with the same advisories.
#
#   advisories.sh OSV_DIR [ADVISORY_DB LOCK_FILE...]
#
# OSV_DIR holds PyPI.jsonl.zst and crates.io.jsonl.zst: OSV records, one a line. Python's part compares 6,000 pinned versions with a
# check of its own, which has Python's `packaging` for the order of versions. For Rust, ADVISORY_DB is a clone of RustSec's advisory-db
# of the day of the records, and `cargo-audit` has to be there (`cargo install cargo-audit`).
#
# UPKEEP and PLUGINS say where the program and the plugins are.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=${PLUGINS:-$root/target/plugins}
osv=${1:?"advisories.sh OSV_DIR [ADVISORY_DB LOCK_FILE...]"}
place=$(mktemp -d)
trap 'kill "${server-}" 2>/dev/null; rm -rf "$place"' EXIT
mkdir -p "$place"/{etc/tasks.d,app,db,www}

for ecosystem in PyPI crates.io; do
    mkdir "$place/www/$ecosystem"
    zstd -dcq "$osv/$ecosystem.jsonl.zst" >"$place/$ecosystem.jsonl"
    python3 - "$place/$ecosystem.jsonl" "$place/www/$ecosystem/all.zip" <<'PY'
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as archive:
    for line in open(sys.argv[1]):
        archive.writestr(json.loads(line)["id"] + ".json", line)
PY
done
python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$place/www" >"$place/server.log" 2>&1 &
server=$!
until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$place/server.log") && [[ -n $port ]]; do sleep 0.1; done

cat >"$place/etc/upkeep.toml" <<TOML
state_dir = "$place/state"
socket = "$place/upkeep.sock"
plugin_dir = "$plugins"
TOML
cat >"$place/etc/tasks.d/advisories.toml" <<TOML
plugin = "advisories"
[config]
ecosystems = ["PyPI", "crates.io"]
root = "db"
base = "http://127.0.0.1:$port"
[grant]
metrics = true
[grant.http]
allow = ["http://127.0.0.1:$port/"]
networks = ["127.0.0.1"]
[grant.files.db]
path = "$place/db"
access = ["read", "write"]
TOML
cat >"$place/etc/tasks.d/scan.toml" <<TOML
plugin = "security-scan"
[config.dependencies]
advisories = "db"
[[config.dependencies.folders]]
root = "app"
[grant]
metrics = true
[grant.files.app]
path = "$place/app"
[grant.files.db]
path = "$place/db"
TOML
export UPKEEP_CONFIG=$place/etc
"$upkeep" run advisories --standalone >"$place/advisories.log" 2>&1 || { cat "$place/advisories.log" >&2 && exit 1; }
scan() { "$upkeep" run scan --standalone --json 2>/dev/null; }

python3 "$here/advisories.py" pins "$place/PyPI.jsonl" "$place/app/requirements.txt"
scan >"$place/report.json"
python3 "$here/advisories.py" python "$place/PyPI.jsonl" "$place/app/requirements.txt" "$place/report.json"
rm "$place/app/requirements.txt"

[[ $# -gt 1 ]] || exit 0
database=$2
shift 2
# One of all crates that advisories know, beside those that are given.
python3 "$here/advisories.py" crates "$place/crates.io.jsonl" "$place/all-crates.lock"
for lock in "$place/all-crates.lock" "$@"; do
    cp "$lock" "$place/app/Cargo.lock"
    cargo audit --json --no-fetch --stale --db "$database" --file "$lock" >"$place/audit.json" 2>/dev/null || true
    scan >"$place/report.json"
    python3 "$here/advisories.py" rust "$lock" "$place/audit.json" "$place/report.json"
done
