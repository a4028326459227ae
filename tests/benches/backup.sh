#!/usr/bin/env bash
# Backs a data set of 900 MB up with upkeep, restic and borg in turn, four times over: all of it, nothing new, one percent
# changed, and restored. Compares the trees in the end.
#
#   tests/benches/backup.sh [ROUNDS]      prints tables in Markdown; 3 rounds by default
#
# UPKEEP and PLUGINS name the program and the plugins, BENCH_DIR a folder with 8 GB of room and 4 GB more for each round. The data set is the same each
# time: 20,000 JSON files (100 MB), 4 logs of 100 MB, 40 files of 10 MB that do not compress. It is read once before, so
# that all find it in memory. Repositories are made anew for each round; each program has its usual compression and no
# cache of its own (that of borg cannot be switched off; it begins empty). A restore ends when it is on the disk: upkeep sees to
# that itself, the others get a `sync`. All run at the priority that upkeep gives itself
# (nice 5). Memory is that of the process with all below it, looked at every 10 ms, or the system's own account of the largest
# of them, if that is more.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
upkeep=${UPKEEP:-$root/target/debug/upkeep}
plugins=$(cd "${PLUGINS:-$root/target/plugins}" && pwd)
rounds=${1:-3}
for tool in restic:restic borg:borgbackup python3:python3; do
    command -v "${tool%:*}" >/dev/null || { echo "there is no ${tool%:*}: apt-get install ${tool#*:}" >&2 && exit 1; }
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
export UPKEEP_CONFIG=$place/etc RESTIC_PASSWORD_FILE=$place/password BORG_PASSPHRASE=benchmark BORG_BASE_DIR=$place/borg
export BORG_RELOCATED_REPO_ACCESS_IS_OK=yes

# measure ACTION PROGRAM COMMAND...: appends seconds of wall clock, seconds of processor and MiB to a file.
measure() {
    sync
    python3 - "$@" <<'PY' || { echo "$1 by $2 failed: ${*:3}" >&2 && cat out >&2 && exit 1; }
import os, subprocess, sys, threading, time
action, program, *command = sys.argv[1:]

def resident(top):
    """MiB of a process and all below it."""
    parents, sizes = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(pid)], sizes[int(pid)] = int(fields[1]), int(fields[21])
    total, level = 0, {top}
    while level:
        total += sum(sizes.get(pid, 0) for pid in level)
        level = {pid for pid, parent in parents.items() if parent in level}
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20

with open("out", "wb") as out:
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                               preexec_fn=lambda: os.setpriority(os.PRIO_PROCESS, 0, max(5, os.getpriority(os.PRIO_PROCESS, 0))))
    ended, peak = threading.Event(), [0]
    def look():
        while not ended.wait(0.01):
            peak[0] = max(peak[0], resident(process.pid))
    looking = threading.Thread(target=look)
    looking.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    ended.set()
    looking.join()
with open("figures", "a") as f:
    print(action, program, wall, usage.ru_utime + usage.ru_stime, max(peak[0], usage.ru_maxrss / 1024), sep="\t", file=f)
sys.exit(status != 0)
PY
}

# Changes one percent of the bytes: 200 small files, a piece in the middle of each log and its end, 4 of the large files.
change() {
    python3 - "$1" <<'PY'
import random, sys
r = random.Random(f"round {sys.argv[1]}")
for i in r.sample(range(20000), 200):
    with open(f"data/json/{i % 200:03}/{i}.json", "r+") as f:
        f.seek(r.randrange(1000))
        f.write(f"{r.randrange(10**9):09}")
for part in range(4):
    with open(f"data/logs/access.{part}.log", "r+b") as f:
        f.seek(r.randrange(90_000_000))
        f.write(r.randbytes(400_000).hex().encode())
        f.seek(0, 2)
        f.write(b"10.0.0.1 - - new line\n" * 10_000)
for i in r.sample(range(40), 4):
    with open(f"data/media/{i}.bin", "r+b") as f:
        f.seek(r.randrange(9_000_000))
        f.write(r.randbytes(1_000_000))
PY
}

by_restic() { measure "$1" restic restic --no-cache -r theirs "${@:2}"; }
by_upkeep() { measure "$1" upkeep "$upkeep" "${@:2}"; }
by_borg() { measure "$1" borg borg "${@:2}"; }
# What is restored is to be on the disk.
synced() { "$@" && sync -f .; }
export -f synced

# Content, modes, times to the nanosecond, owners and links.
entries() { (cd "$1" && find . -type d -printf '%y %m %U:%G %T@ %p\0' -o -printf '%y %m %U:%G %n %s %T@ %l %p\0' | LC_ALL=C sort -z | sha256sum); }
contents() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum); }

for ((round = 1; round <= rounds; round++)); do
    rm -rf ours theirs others borg state
    # Not removed before the end: ext4 does not use an inode again for minutes after it was freed, and looks for another one
    # for so long that it slows down whoever makes files next.
    mkdir -p "old/$round" && find . -maxdepth 1 -name 'by-*' -exec mv {} "old/$round" \;
    command restic --no-cache --quiet -r theirs init
    command borg init --encryption repokey others 2>out
    # The compiled plugin is kept from then on, as on a server. This makes no repository yet.
    "$upkeep" run bench --standalone --dry-run >out 2>&1 || { cat out >&2 && exit 1; }
    find data -type f -print0 | xargs -0 cat >/dev/null
    for action in first again changed; do
        [[ $action == changed ]] && change "$round"
        by_restic "$action" backup data
        by_upkeep "$action" run bench --standalone
        by_borg "$action" create "others::$action" data
    done
    measure restore restic bash -c 'synced "$@"' - restic --no-cache -r theirs restore latest --target by-restic
    by_upkeep restore backup restore bench --target by-upkeep
    mkdir by-borg
    (cd by-borg && ln -s ../figures . &&
        measure restore borg bash -c 'synced "$@"' - borg extract ../others::changed && rm figures out)
    mv by-restic "old/$round/unverified"
    measure verified restic bash -c 'synced "$@"' - restic --no-cache -r theirs restore latest --target by-restic --verify
    command restic --no-cache -r ours check --read-data >out 2>&1 || { cat out >&2 && exit 1; }
    for what in entries contents; do
        want=$($what data)
        for tree in "by-restic/data" "by-upkeep$place/data" "by-borg/data"; do
            [[ $($what "$tree") == "$want" ]] || { echo "$tree: the $what differ from the original" >&2 && exit 1; }
        done
    done
done

python3 - "$(uptime | sed 's/.*load/load/')" "$(du -sm data | cut -f 1)" "$(du -sm ours | cut -f 1)" "$(du -sm theirs | cut -f 1)" "$(du -sm others | cut -f 1)" <<'PY'
import statistics, sys
rows = {}
for line in open("figures"):
    action, program, *numbers = line.rstrip("\n").split("\t")
    rows.setdefault((action, program), []).append([float(it) for it in numbers])
median = {key: [statistics.median(it) for it in zip(*runs)] for key, runs in rows.items()}
wanted = {"first": 0.9, "again": 0.5, "changed": 0.6, "restore": 0.9}
print("| | | wall | processor | memory | of restic: wall | processor | memory |\n|---|---|---|---|---|---|---|---|")
for action in [*wanted, "verified"]:
    for program in ["restic", "upkeep", "borg"]:
        if (action, program) not in median:
            continue
        wall, cpu, memory = median[action, program]
        # In turn, so each round gives a ratio of its own: what the machine did besides hit both.
        of = []
        for part, format in [(0, ".2f"), (1, ".2f"), (2, ".2f")]:
            pairs = zip(rows[action, program], rows[action, "restic"])
            of.append(f"{statistics.median(one[part] / other[part] for one, other in pairs):{format}}")
        if program == "upkeep" and action in wanted:
            of[0] += f" (wanted {wanted[action]})"
            of[2] += " (wanted 1.2)"
        print(f"| {action} | {program} | {wall:.1f} s | {cpu:.1f} s | {memory:.0f} MiB | {' | '.join(of)} |")
runs = len(rows["first", "upkeep"])
print(f"\nMedians of {runs} rounds, {sys.argv[1]}. Data set {sys.argv[2]} MiB; repository of upkeep {sys.argv[3]} MiB, of restic "
      f"{sys.argv[4]} MiB, of borg {sys.argv[5]} MiB.\n`restic check --read-data` of the repository of upkeep found no errors, and all trees are equal.")
PY
