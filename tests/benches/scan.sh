#!/usr/bin/env bash
# How long the security scan takes, as the plugin runs: 10,000 packages against all advisories, and secrets in a tree beside ripgrep.
#
#   scan.sh [OSV_DIR]
#
# DETECT_SECRETS=1 has detect-secrets look at the same tree, which takes minutes. OSV_DIR holds ECOSYSTEM.jsonl.zst, OSV records, one a line; without it the first part is left out. The tree is MiB times 79 of
# small JSON files. UPKEEP and PLUGINS say where the program and the plugins are; it should be optimised (make bench).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=${PLUGINS:-$root/target/plugins}
osv=${1:-$root/../shared/data/osv}
place=$(mktemp -d)
trap 'kill "${server-}" 2>/dev/null; rm -rf "$place"' EXIT
mkdir -p "$place"/{etc/tasks.d,app,db,www,tree}
printf 'load %s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)"

cat >"$place/etc/upkeep.toml" <<TOML
state_dir = "$place/state"
socket = "$place/upkeep.sock"
plugin_dir = "$plugins"
TOML
export UPKEEP_CONFIG=$place/etc
# Seconds that the steps took from the first start to the last end, and the most memory.
run() {
    command time -f 'MEMORY %M' "$upkeep" run "$1" --standalone --json >"$place/report.json" 2>"$place/errors"
    python3 - "$place/report.json" "$place/errors" "${2-}" <<'PY'
import json, re, sys
run = json.load(open(sys.argv[1]))
steps = [it for it in run["steps"] if it["id"].startswith(sys.argv[3])]
took = (max(it["ended"] for it in steps) - min(it["started"] for it in steps)) / 1000
memory = int(re.search(r"MEMORY (\d+)", open(sys.argv[2]).read())[1]) / 1024
print(f"{took:.3f} {memory:.0f} {len(run['report']['findings'])}")
PY
}

if [[ -d $osv ]]; then
    ecosystems=()
    for file in "$osv"/*.jsonl.zst; do
        ecosystem=$(basename "$file" .jsonl.zst)
        ecosystems+=("\"$ecosystem\"")
        mkdir "$place/www/$ecosystem"
        zstd -dcq "$file" >"$place/records.jsonl"
        python3 - "$place/records.jsonl" "$place/www/$ecosystem/all.zip" "$place/app" "$ecosystem" <<'PY'
import json, os, random, sys, zipfile
random.seed(11)
lines = open(sys.argv[1]).read().splitlines()
with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as archive:
    for line in lines:
        archive.writestr(json.loads(line)["id"] + ".json", line)
# 2,500 packages of each: a quarter that advisories know, the others that nobody does.
known = sorted({it["package"]["name"] for line in lines for it in json.loads(line)["affected"]})
names = random.sample(known, min(len(known), 625))
names += [f"unknown-package-{number}" for number in range(2500 - len(names))]
version = lambda: f"{random.randrange(6)}.{random.randrange(20)}.{random.randrange(20)}"
place, ecosystem = sys.argv[3], sys.argv[4]
if ecosystem == "npm":
    packages = {f"node_modules/{name}": {"version": version(), "resolved": f"https://registry.npmjs.org/{name}/-/x.tgz"} for name in names}
    json.dump({"name": "x", "lockfileVersion": 3, "packages": packages}, open(place + "/package-lock.json", "w"), indent=1)
elif ecosystem == "PyPI":
    open(place + "/requirements.txt", "w").writelines(f"{name}=={version()}\n" for name in names)
elif ecosystem == "crates.io":
    text = 'version = 4\n' + "".join(f'\n[[package]]\nname = "{name}"\nversion = "{version()}"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\n' for name in names)
    open(place + "/Cargo.lock", "w").write(text)
elif ecosystem == "Go":
    open(place + "/go.mod", "w").write("module x\ngo 1.20\nrequire (\n" + "".join(f"\t{name if '/' in name else 'example.com/' + name} v{version()}\n" for name in names) + ")\n")
PY
    done
    python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$place/www" >"$place/server.log" 2>&1 &
    server=$!
    until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$place/server.log") && [[ -n $port ]]; do sleep 0.1; done
    cat >"$place/etc/tasks.d/advisories.toml" <<TOML
plugin = "advisories"
[config]
ecosystems = [$(IFS=, && echo "${ecosystems[*]}")]
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
    cat >"$place/etc/tasks.d/dependencies.toml" <<TOML
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
    "$upkeep" run advisories --standalone >"$place/advisories.log" 2>&1 || { cat "$place/advisories.log" >&2 && exit 1; }
    for round in 1 2 3; do
        read -r took memory found < <(run dependencies dependencies)
        printf '10,000 packages against all advisories: %s s (wanted 1), the process %s MiB (wanted 150), %s findings\n' "$took" "$memory" "$found"
    done
else
    echo "SKIPPED: there are no records in $osv" >&2
fi

python3 - "$place/tree" <<'PY'
import json, os, random, sys
random.seed(3)
made, number = 0, 0
while made < 79_000_000:
    folder = f"{sys.argv[1]}/{number // 500}"
    os.makedirs(folder, exist_ok=True)
    items = [{"id": random.getrandbits(60), "name": f"item {random.randrange(10**6)}", "token_count": random.randrange(4096),
              "tags": ["new", "sale", "gift"], "price": random.random(), "hash": f"{random.getrandbits(160):040x}"} for _ in range(30)]
    text = json.dumps({"page": number, "items": items})
    open(f"{folder}/{number}.json", "w").write(text)
    made, number = made + len(text), number + 1
PY
cat >"$place/etc/tasks.d/secrets.toml" <<TOML
plugin = "security-scan"
[[config.secrets.folders]]
root = "tree"
[grant]
metrics = true
[grant.files.tree]
path = "$place/tree"
TOML
patterns=$here/secrets.patterns
best=
for round in 1 2 3; do
    read -r took memory found < <(run secrets secrets)
    best=$(printf '%s\n' $best "$took" | sort -g | head -n 1)
    printf 'secrets in 79 MB of small JSON: %s s, the process %s MiB, %s findings' "$took" "$memory" "$found"
    if command -v rg >/dev/null && [[ -f $patterns ]]; then
        begin=$(date +%s.%N)
        rg --no-unicode --no-ignore --hidden --regex-size-limit 1G --dfa-size-limit 1G --count-matches -f "$patterns" "$place/tree" >/dev/null || true
        end=$(date +%s.%N)
        python3 -c "print(f'; rg {$end - $begin:.3f} s, so {($end - $begin) / $took:.2f} of its speed (wanted 0.5)')"
    else
        echo
    fi
done
if [[ ${DETECT_SECRETS:-} == 1 ]]; then
    python3 -m venv "$place/venv"
    "$place/venv/bin/pip" install --quiet --disable-pip-version-check detect-secrets
    begin=$(date +%s.%N)
    # Of a folder with an absolute path it sees nothing.
    (cd "$place" && venv/bin/detect-secrets -c 2 scan --all-files tree) >"$place/baseline"
    grep -q '"results"' "$place/baseline"
    end=$(date +%s.%N)
    python3 -c "print(f'detect-secrets {$end - $begin:.1f} s, so upkeep is {($end - $begin) / $best:.0f} times as fast (wanted 300)')"
fi
