#!/usr/bin/env bash
# Backs up a data set of 900 MB with upkeep and with restic in turn, checks and restores, and compares the trees.
#
#   tests/benches/backup.sh [ROUNDS]      prints a table in Markdown; 3 rounds by default
#
# UPKEEP and PLUGINS name the program and the plugins, BENCH_DIR a folder with 6 GB of room. The data set is the same each
# time: 20,000 JSON files (100 MB), 4 logs of 100 MB, 40 files of 10 MB that do not compress. It is read once before, so
# that both find it in memory. Repositories are made anew for each round; both use compression `auto` and no cache.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=$(cd "${PLUGINS:-$root/target/plugins}" && pwd)
rounds=${1:-3}
for tool in restic python3; do
    command -v "$tool" >/dev/null || { echo "there is no $tool: apt-get install $tool" >&2 && exit 1; }
done
[[ -x $upkeep && -e $plugins/backup.wasm ]] || { echo "run \`make build plugins\`, or set UPKEEP and PLUGINS" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/upkeep-bench.XXXXXX")
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 - data <<'PY'
import json, os, random, sys
root = sys.argv[1]
r = random.Random(20261123)
words = ["order", "parcel", "refund", "address", "coupon", "review", "customer", "courier", "invoice", "stock"]
for i in range(20000):
    os.makedirs(f"{root}/json/{i % 200:03}", exist_ok=True)
    items = [{"sku": r.randrange(10**8), "text": " ".join(r.choices(words, k=12)), "cents": r.randrange(10**5)} for _ in range(36)]
    with open(f"{root}/json/{i % 200:03}/{i}.json", "w") as f:
        json.dump({"id": i, "items": items}, f)
os.makedirs(f"{root}/logs")
for part in range(4):
    with open(f"{root}/logs/access.{part}.log", "w") as f:
        n = 0
        while n < 100_000_000:
            chunk = "".join(
                f"10.{r.randrange(256)}.{r.randrange(256)}.7 - - [23/Nov/2026:{r.randrange(24):02}:{r.randrange(60):02}:00 +0800] "
                f'"GET /api/v1/{r.choice(words)}/{r.randrange(10**6)} HTTP/1.1" 200 {r.randrange(50000)} "-" "MicroMessenger/8.0"\n'
                for _ in range(5000))
            f.write(chunk)
            n += len(chunk)
os.makedirs(f"{root}/media")
for i in range(40):
    with open(f"{root}/media/{i}.bin", "wb") as f:
        f.write(r.randbytes(10_000_000))
os.symlink("media/0.bin", f"{root}/link")
os.utime(f"{root}/json/000", ns=(10**18 + 1, 10**18 + 1))
os.chmod(f"{root}/media/1.bin", 0o640)
PY
find data -type f -print0 | xargs -0 cat >/dev/null

mkdir -p etc/tasks.d
(umask 077 && echo benchmark >password)
printf 'state_dir = "%s"\nplugin_dir = "%s"\n' "$place/state" "$plugins" >etc/upkeep.toml
cat >etc/tasks.d/bench.toml <<TOML
plugin = "backup"
[config]
repository = "main"
directories = [{ root = "data" }]
[grant]
state = true
metrics = true
[grant.files.data]
path = "$place/data"
[grant.repository.main]
url = "$place/ours"
password = { file = "$place/password" }
TOML
export UPKEEP_CONFIG=$place/etc RESTIC_PASSWORD_FILE=$place/password

# Seconds of wall clock, of processor, and the greatest memory in MiB, appended to a file.
measure() {
    local name=$1
    shift
    sync
    python3 - "$name" "$@" <<'PY' || { echo "$name failed: $*" >&2 && cat out >&2 && exit 1; }
import os, subprocess, sys, time
began = time.monotonic()
with open("out", "wb") as out:
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    _, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - began
with open("figures", "a") as f:
    print(sys.argv[1], wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, sep="\t", file=f)
sys.exit(status != 0)
PY
}

for ((round = 1; round <= rounds; round++)); do
    rm -rf ours theirs state
    command restic --no-cache --quiet -r theirs init
    # The compiled plugin is kept from then on, as on a server.
    "$upkeep" run bench --standalone --dry-run >/dev/null 2>&1
    measure '1 restic, first' restic --no-cache -r theirs backup data
    measure '2 upkeep, first' "$upkeep" run bench --standalone
    measure '3 restic, again' restic --no-cache -r theirs backup data
    measure '4 upkeep, again' "$upkeep" run bench --standalone
done
measure '5 restic check --read-data of the repository of upkeep' restic --no-cache -r ours check --read-data
measure '6 restic restore from it' restic --no-cache -r ours restore latest --target by-restic
measure '7 upkeep backup restore, which reads again and compares' "$upkeep" backup restore bench --target by-upkeep

# Content, modes, times to the nanosecond, owners and links.
entries() { (cd "$1" && find . -type d -printf '%y %m %U:%G %T@ %p\0' -o -printf '%y %m %U:%G %n %s %T@ %l %p\0' | LC_ALL=C sort -z | sha256sum); }
contents() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum); }
for what in entries contents; do
    want=$($what data)
    for tree in by-restic by-upkeep; do
        [[ $($what "$tree$place/data") == "$want" ]] || { echo "$tree: the $what differ from the original" >&2 && exit 1; }
    done
done

python3 - "$(du -sm data | cut -f 1)" "$(du -sm ours | cut -f 1)" "$(du -sm theirs | cut -f 1)" <<'PY'
import statistics, sys
rows = {}
for line in open("figures"):
    name, *numbers = line.rstrip("\n").split("\t")
    rows.setdefault(name, []).append([float(it) for it in numbers])
print("| | wall | processor | memory | runs |\n|---|---|---|---|---|")
for name, runs in sorted(rows.items()):
    wall, cpu, memory = (statistics.median(it) for it in zip(*runs))
    print(f"| {name[2:]} | {wall:.1f} s | {cpu:.1f} s | {memory:.0f} MiB | {len(runs)} |")
print(f"\nData set {sys.argv[1]} MiB, repository of upkeep {sys.argv[2]} MiB, of restic {sys.argv[3]} MiB. All trees are equal.")
PY
