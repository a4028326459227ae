#!/usr/bin/env bash
# Removes the old half of a million files with upkeep, `find -delete` and tmpreaper in turn, and compares what is left.
#
#   tests/benches/cleanup.sh [FILES] [ROUNDS]      prints a table in Markdown; 1,000,000 files and 3 rounds by default
#
# UPKEEP and PLUGINS name the program and the plugins, BENCH_DIR a folder with 10 GB of room: in memory (/dev/shm) when it has
# as much, since what the disk still writes of the last copy would otherwise be part of the next figure. Needs root: each program gets a
# filesystem of its own, a copy of the same image, since ext4 becomes slow where many files have just been removed. Nothing
# of it is in the cache of names yet. With undo, upkeep moves the files aside and can put them back. Memory is that of the
# largest process, by the system's own account.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=$(cd "${PLUGINS:-$root/target/plugins}" && pwd)
files=${1:-1000000}
rounds=${2:-3}
for tool in tmpreaper:tmpreaper mkfs.ext4:e2fsprogs python3:python3; do
    command -v "${tool%:*}" >/dev/null || { echo "there is no ${tool%:*}: apt-get install ${tool#*:}" >&2 && exit 1; }
done
[[ -x $upkeep && -e $plugins/cleanup.wasm ]] || { echo "run \`make build plugins\`, or set UPKEEP and PLUGINS" >&2 && exit 1; }
[[ $(id -u) -eq 0 ]] || { echo "only root can mount the filesystems that this compares on" >&2 && exit 1; }

free=$(df --output=avail -B 1G /dev/shm 2>/dev/null | tail -n 1)
if [[ -z ${BENCH_DIR-} && ${free:-0} -ge 12 && $(awk '/MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo) -ge 14 ]]; then BENCH_DIR=/dev/shm; fi
place=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/upkeep-cleanup.XXXXXX")
mounted=$(mktemp -d)
trap 'umount "$mounted" 2>/dev/null || true; rm -rf "$place"; rmdir "$mounted"' EXIT
cd "$place"
mkdir etc etc/tasks.d
# Not in memory itself: `/dev` is protected.
ln -s "$mounted" tree

truncate -s $((files * 5 + 500000))K image
mkfs.ext4 -q -F -N $((files + files / 4 + 20000)) -m 0 image
mount -o loop image tree
mkdir tree/data
python3 - "$files" <<'PY'
import os, sys, time
old = time.time() - 90 * 86400
for number in range(int(sys.argv[1])):
    folder = f"tree/data/{number % 1000:03}"
    if number < 1000:
        os.makedirs(folder)
    path = f"{folder}/{number:07}.tmp"
    with open(path, "w") as f:
        f.write("x")
    # Every other one of each folder.
    if number // 1000 % 2:
        os.utime(path, (old, old))
PY
(cd tree/data && find . -type f -printf '%P %s %T@ %i\n' | sort) >before
(cd tree/data && find . -type f ! -mtime +30 -printf '%P %s %T@ %i\n' | sort) >expected
umount tree

printf 'state_dir = "%s"\nplugin_dir = "%s"\n' "$place/state" "$plugins" >etc/upkeep.toml
for task in cleanup aside; do
    undo=""
    [[ $task = aside ]] && undo='undo = "7d"'
    cat >"etc/tasks.d/$task.toml" <<TOML
plugin = "cleanup"
[[config.rule]]
name = "old"
root = "data"
age = { older_than = "30d" }
[grant]
metrics = true
[grant.files.data]
path = "$place/tree/data"
access = ["read", "remove"]
[grant.files.data.removal]
max_share = "60%"
$undo
TOML
done
export UPKEEP_CONFIG=$place/etc

measure() {
    cp --sparse=always image copy
    sync -f copy
    mount -o loop copy tree
    python3 - "$@" <<'PY' || { echo "$1 failed: ${*:2}" >&2 && cat out >&2 && exit 1; }
import json, os, subprocess, sys, time
began = time.monotonic()
with open("out", "wb") as out:
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    _, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - began
with open("figures", "a") as figures:
    print(json.dumps([sys.argv[1], wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]), file=figures)
sys.exit(status != 0)
PY
    (cd tree/data && find . -name .upkeep-undo -prune -o -type f -printf '%P %s %T@ %i\n' | sort) >after
    cmp expected after || { echo "$1 left something else than the new half" >&2 && exit 1; }
    umount tree
    rm copy
}
# Compiles the plugin, which a daemon does once.
cp --sparse=always image copy && mount -o loop copy tree
"$upkeep" run cleanup --standalone --dry-run >out 2>&1 || { cat out >&2 && exit 1; }
(cd tree/data && find . -type f -printf '%P %s %T@ %i\n' | sort) | cmp - before || { echo "a dry run changed something" >&2 && exit 1; }
umount tree && rm copy
for _ in $(seq "$rounds"); do
    measure 'find -delete' find tree/data -type f -mtime +30 -delete
    measure 'upkeep' "$upkeep" run cleanup --standalone
    measure 'tmpreaper' tmpreaper --mtime --runtime=0 30d "$place/tree/data"
    measure 'upkeep, undo = "7d"' "$upkeep" run aside --standalone
done
python3 - "$files" "$rounds" <<'PY'
import json, sys
figures = {}
for line in open("figures"):
    name, *figure = json.loads(line)
    figures.setdefault(name, []).append(figure)
middle = {name: [sorted(column)[len(column) // 2] for column in zip(*all)] for name, all in figures.items()}
find, tmpreaper = middle["find -delete"][0], middle["tmpreaper"][0]
print(f"Half of {int(sys.argv[1]):,} files, the middle of {sys.argv[2]} rounds:\n")
print("| | wall | of find | of tmpreaper | processor | memory |\n|---|---|---|---|---|---|")
for name, (wall, processor, memory) in middle.items():
    print(f"| {name} | {wall:.1f} s | {wall / find:.2f} | {wall / tmpreaper:.2f} | {processor:.1f} s | {memory:.0f} MiB |")
PY
