#!/usr/bin/env bash
# Saves a million small files and a sparse file of 20 GB, saves them again, and restores them: how much memory does it take?
#
#   tests/benches/many.sh [FILES]      prints a table in Markdown; 1,000,000 files by default
#
# UPKEEP and PLUGINS name the program and the plugins, BENCH_DIR a folder with 12 GB of room and three inodes for each file.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=$(cd "${PLUGINS:-$root/target/plugins}" && pwd)
files=${1:-1000000}
[[ -x $upkeep && -e $plugins/backup.wasm ]] || { echo "run \`make build plugins\`, or set UPKEEP and PLUGINS" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/upkeep-many.XXXXXX")
trap 'rm -rf "$place"' EXIT
cd "$place"

python3 - "$files" <<'PY'
import os, sys
for number in range(int(sys.argv[1])):
    folder = f"data/{number % 1000:03}"
    if number < 1000:
        os.makedirs(folder)
    with open(f"{folder}/{number}", "w") as f:
        f.write(f"file {number}: {number * 2654435761 % 2**32:08x}\n")
PY
truncate -s 20G data/sparse
# Something in the middle and at the end: the holes around it are to come back as holes.
printf middle | dd of=data/sparse bs=1 seek=10G conv=notrunc status=none
printf end | dd of=data/sparse bs=1 seek=$((20 * 1024 ** 3 - 3)) conv=notrunc status=none

mkdir -p etc/tasks.d
(umask 077 && echo benchmark >password)
printf 'state_dir = "%s"\nplugin_dir = "%s"\n' "$place/state" "$plugins" >etc/upkeep.toml
cat >etc/tasks.d/many.toml <<TOML
plugin = "backup"
timeout = "2h"
[config]
repository = "main"
directories = [{ root = "data" }]
[grant]
state = true
metrics = true
[grant.files.data]
path = "$place/data"
[grant.repository.main]
url = "$place/repository"
password = { file = "$place/password" }
TOML
export UPKEEP_CONFIG=$place/etc

echo "| | wall | processor | memory |"
echo "|---|---|---|---|"
measure() {
    python3 - "$@" <<'PY' || { echo "$1 failed: ${*:2}" >&2 && cat out >&2 && exit 1; }
import os, subprocess, sys, time
began = time.monotonic()
with open("out", "wb") as out:
    process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    _, status, usage = os.wait4(process.pid, 0)
wall = time.monotonic() - began
print(f"| {sys.argv[1]} | {wall:.1f} s | {usage.ru_utime + usage.ru_stime:.1f} s | {usage.ru_maxrss / 1024:.0f} MiB |", flush=True)
sys.exit(status != 0)
PY
}
"$upkeep" run many --standalone --dry-run >out 2>&1 || { cat out >&2 && exit 1; }
measure 'upkeep, first' "$upkeep" run many --standalone
measure 'upkeep, again' "$upkeep" run many --standalone
# The holes need no room.
measure 'upkeep, restore' "$upkeep" backup restore many --target restored --ignore-space

cmp data/sparse "restored$place/data/sparse"
count=$(find "restored$place/data" -type f | wc -l)
[[ $count -eq $((files + 1)) ]] || { echo "$count files came back" >&2 && exit 1; }
diff -rq --exclude sparse data "restored$place/data"
echo
echo "$files files and 20 GiB of holes: the repository takes $(du -sm repository | cut -f 1) MiB, and the sparse file" \
    "$(du -sk "restored$place/data/sparse" | cut -f 1) KiB after the restore. All is equal."
