#!/usr/bin/env bash
# Seeks secrets with upkeep's scanner, detect-secrets and ripgrep: how many of the labelled set do they find, and how fast?
#
#   tests/benches/secrets.sh [MEGABYTES]      prints tables in Markdown; 79 by default
#
# SCAN and LABELLED name the examples of the crate upkeep-secrets, BENCH_DIR a folder with 1 GB of room. The first part is the
# set that the crate is tested with (crates/secrets/tests/labelled), by lines, since detect-secrets knows no columns. The second
# part are small JSON files, all in memory, that hold no secret. ripgrep gets patterns for the same rules, in one alternation; it
# says which lines match, and does nothing to sort out what only looks like a secret. All have two threads or processes.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
scan=${SCAN:-$target/release/examples/scan}
labelled=${LABELLED:-$target/release/examples/labelled}
megabytes=${1:-79}
for tool in rg:ripgrep python3:python3-venv; do
    command -v "${tool%:*}" >/dev/null || { echo "there is no ${tool%:*}: apt-get install ${tool#*:}" >&2 && exit 1; }
done
[[ -x $scan && -x $labelled ]] || { echo "run \`cargo build --release -p upkeep-secrets --examples\`, or set SCAN and LABELLED" >&2 && exit 1; }

place=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/upkeep-secrets.XXXXXX")
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check detect-secrets

"$labelled" .
"$scan" set 2 --list >ours 2>/dev/null
venv/bin/detect-secrets -c 2 scan --all-files set >theirs
rg --no-config --no-unicode --regex-size-limit 1G --dfa-size-limit 1G --hidden --no-ignore --line-number --no-heading -j 2 -f "$root/tests/benches/secrets.patterns" set >lines || [[ $? -eq 1 ]]
python3 - <<'PY'
import json
truth = {}
for number, line in enumerate(open("labels.tsv")):
    path, first, last, kind = line.rstrip("\n").split("\t")
    for at in range(int(first), int(last) + 1):
        truth.setdefault((path, at), set()).add(number)
    total = number + 1
def ours():
    for line in open("ours"):
        path, at, *_ = line.split("\t")
        yield f"set/{path}", int(at)
def theirs():
    for path, all in json.load(open("theirs"))["results"].items():
        yield from ((path, it["line_number"]) for it in all)
def lines():
    for line in open("lines", errors="replace"):
        path, at, _ = line.split(":", 2)
        yield path, int(at)
print("\n| | found | of | lines in vain | precision | recall |\n|---|---|---|---|---|---|")
for name, found in ("upkeep", set(ours())), ("detect-secrets", set(theirs())), ("rg", set(lines())):
    right = set().union(*(truth.get(it, set()) for it in found))
    vain = sum(it not in truth for it in found)
    hits = sum(it in truth for it in found)
    print(f"| {name} | {len(right)} | {total} | {vain} | {hits / max(1, hits + vain):.3f} | {len(right) / total:.3f} |")
PY

python3 - "$megabytes" <<'PY'
import json, os, random, sys
r = random.Random(20261123)
words = ["order", "parcel", "refund", "address", "coupon", "review", "customer", "courier", "invoice", "stock"]
left, number = int(sys.argv[1]) * 10**6, 0
while left > 0:
    os.makedirs(f"data/{number % 100:02}", exist_ok=True)
    items = [{"sku": r.randrange(10**8), "text": " ".join(r.choices(words, k=12)), "cents": r.randrange(10**5)} for _ in range(36)]
    with open(f"data/{number % 100:02}/{number}.json", "w") as f:
        left -= f.write(json.dumps({"id": number, "items": items}))
    number += 1
PY
measure() {
    python3 - "$@" <<'PY'
import os, subprocess, sys, time
name, rounds, *command = sys.argv[1:]
best = None
for _ in range(int(rounds)):
    began = time.monotonic()
    with open("out", "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    best = min(best or took, took)
    # ripgrep ends with 1 when nothing matches.
    if os.waitstatus_to_exitcode(status) > 1:
        sys.exit(f"{name} failed: {open('out', errors='replace').read()}")
with open("figures", "a") as f:
    print(name, *best, sep="\t", file=f)
PY
}
cat data/*/*.json >/dev/null
measure upkeep 5 "$scan" data 2
measure rg 5 rg --no-config --no-unicode --regex-size-limit 1G --dfa-size-limit 1G --hidden --no-ignore -j 2 -c -f "$root/tests/benches/secrets.patterns" data
measure detect-secrets 1 venv/bin/detect-secrets -c 2 scan --all-files data
python3 - "$megabytes" <<'PY'
import sys
megabytes = int(sys.argv[1])
rows = [line.rstrip("\n").split("\t") for line in open("figures")]
ours = float(rows[0][1])
print(f"\n{megabytes} MB of small JSON files; the best of five rounds, one of detect-secrets:\n")
print("| | wall | MB/s | upkeep is | processor | memory |\n|---|---|---|---|---|---|")
for name, wall, processor, memory in rows:
    wall = float(wall)
    print(f"| {name} | {wall:.3f} s | {megabytes / wall:.1f} | {wall / ours:.2f} times as fast | {float(processor):.2f} s | {float(memory):.0f} MiB |")
PY
