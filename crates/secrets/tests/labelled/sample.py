#!/usr/bin/env python3
"""Draws real.tsv: lines of published code that look as if they held a secret, with their origin.

    sample.py >real.tsv

Reads what cargo, Python and npm have installed, of which the licences are permissive (MIT, Apache-2.0, BSD, ISC, PSF). A line
is drawn when it has a name that tells and something beside it, or a long text of random looks. At most eight lines are drawn
from a file. Lines are chosen by a hash of their text, so the choice is the same for the same sources and does not depend on
what any scanner says of them.
"""
import glob
import hashlib
import os
import re
import sys

NAME = re.compile(r"(?i)(passw|pwd|secret|token|api_?key|access_?key|private_?key|credential|auth_?key)")
JOIN = re.compile(r"""(?i)(passw\w*|pwd|secret\w*|token\w*|key\w*|credential\w*)['"\])]*\s*(=|:|=>|,|\()\s*\S""")
RANDOM = re.compile(r"\b(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[A-Za-z])[A-Za-z0-9+/_-]{24,}={0,2}")
URL = re.compile(r"\w://[^\s/]*:[^\s/]*@")
SOURCES = [
    ("crates.io", os.path.expanduser("~/.cargo/registry/src/*/"), ("rs", "md", "toml", "json", "yml", "txt", "lock"), 900),
    ("python", os.path.dirname(os.__file__) + "/", ("py", "txt"), 420),
    ("npm", "/usr/lib/node_modules/npm/node_modules/", ("js", "json", "md", "ts", "mjs", "cjs"), 420),
]
# Documents whose licence asks for more, and keys of tests, which are keys.
LEFT_OUT = re.compile(r"(?i)(LICENSE|COPYING|/gpl|windows|BEGIN [A-Z ]*PRIVATE KEY|\t)")

for source, pattern, endings, wanted in SOURCES:
    drawn = []
    for root in glob.glob(pattern):
        for path in glob.iglob(root + "**/*", recursive=True):
            if path.rpartition(".")[2] not in endings or not os.path.isfile(path) or os.path.getsize(path) > 2_000_000:
                continue
            origin = path[len(root):]
            with open(path, encoding="utf-8", errors="ignore") as f:
                lines = f.read().splitlines()
            tempting = []
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if not 12 <= len(line) <= 200 or LEFT_OUT.search(line) or LEFT_OUT.search(origin):
                    continue
                if NAME.search(line) and JOIN.search(line) or RANDOM.search(line) or URL.search(line):
                    digest = hashlib.sha256(line.encode()).hexdigest()
                    tempting.append((digest, f"{source}/{origin}:{number}", line))
            drawn += sorted(tempting)[:8]
    unique = {line: (digest, origin) for digest, origin, line in drawn}
    chosen = sorted((digest, origin, line) for line, (digest, origin) in unique.items())[:wanted]
    for _, origin, line in sorted(chosen, key=lambda it: it[1]):
        print(origin, line, sep="\t")
    print(f"{source}: {len(chosen)} of {len(unique)}", file=sys.stderr)
