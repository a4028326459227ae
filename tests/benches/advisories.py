"""The parts of advisories.sh that compare: see there."""
import json
import random
import re
import sys

try:
    from packaging.version import InvalidVersion, Version
except ImportError:
    from pip._vendor.packaging.version import InvalidVersion, Version


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def records(path):
    """By package: each record with its ranges and its list of versions."""
    packages = {}
    for line in open(path):
        record = json.loads(line)
        if "withdrawn" in record:
            continue
        for affected in record["affected"]:
            if affected["package"]["ecosystem"] == "PyPI":
                packages.setdefault(normalised(affected["package"]["name"]), []).append((record["id"], affected))
    return packages


def parsed(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


def is_affected(affected, version):
    """As the OSV schema says it, by nothing but `packaging`: listed, or within a range."""
    if version in affected.get("versions", []):
        return True
    own = parsed(version)
    if own is None:
        return False
    for listed in affected.get("versions", []):
        if parsed(listed) == own:
            return True
    for span in affected.get("ranges", []):
        if span["type"] != "ECOSYSTEM":
            continue
        events = []
        for event in span["events"]:
            ((kind, at),) = event.items()
            at = Version("0.dev0") if at == "0" else parsed(at)
            if at is not None:
                events.append((at, kind))
        inside = False
        for at, kind in sorted(events, key=lambda it: (it[0], it[1] != "introduced")):
            if kind == "introduced" and own >= at:
                inside = True
            elif kind == "fixed" and own >= at:
                inside = False
            elif kind == "last_affected" and own > at:
                inside = False
        if inside:
            return True
    return False


def pins(database, path):
    """Versions that are listed, and some close to the ends of ranges."""
    random.seed(7)
    found = set()
    for name, all_affected in sorted(records(database).items()):
        candidates = set()
        for _, affected in all_affected:
            candidates.update(affected.get("versions", []))
            for span in affected.get("ranges", []):
                for event in span["events"]:
                    for at in event.values():
                        candidates.update([at, at + ".post1", at + "rc1", at + ".1"])
        candidates = sorted(it for it in candidates if parsed(it) and "+" not in it and it != "0")
        for version in random.sample(candidates, min(len(candidates), 12)):
            found.add((name, version))
    chosen = sorted(random.sample(sorted(found), min(len(found), 6000)))
    with open(path, "w") as out:
        out.writelines(f"{name}=={version}\n" for name, version in chosen)


def crates(database, path):
    """A lock file of all crates with advisories, in versions at and beside the ends of ranges."""
    random.seed(7)
    wanted = {}
    for line in open(database):
        for affected in json.loads(line)["affected"]:
            versions = wanted.setdefault(affected["package"]["name"], set())
            for span in affected.get("ranges", []):
                for event in span["events"]:
                    for at in event.values():
                        numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", at)
                        if numbers:
                            major, minor, patch = map(int, numbers.groups())
                            versions.update([f"{major}.{minor}.{patch}", f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0"])
                            versions.add(f"{major}.{minor}.{max(0, patch - 1)}")
            versions.add("0.0.1")
    with open(path, "w") as out:
        out.write("version = 4\n")
        for name, versions in sorted(wanted.items()):
            for version in sorted(random.sample(sorted(versions), min(4, len(versions)))):
                source = "registry+https://github.com/rust-lang/crates.io-index"
                out.write(f'\n[[package]]\nname = "{name}"\nversion = "{version}"\nsource = "{source}"\nchecksum = "{"0" * 64}"\n')


def title(finding):
    """Name and version, as the scan tells them."""
    return tuple(finding["title"].split(": ")[0].split(" (")[0].split(" ")[:2])


def python(database, requirements, report):
    packages = records(database)
    expected = set()
    asked = [tuple(line.strip().split("==")) for line in open(requirements)]
    for name, version in asked:
        if any(is_affected(affected, version) for _, affected in packages.get(name, [])):
            expected.add((name, version))
    findings = json.load(open(report))["report"]["findings"]
    ours = {title(it) for it in findings if it["key"].startswith("vuln/") and not it["key"].endswith("/undecided")}
    undecided = {title(it) for it in findings if it["key"].endswith("/undecided")}
    print(f"PyPI: {len(asked)} versions; {len(expected)} affected by the other check, {len(ours)} by the scan, {len(ours & expected)} by both")
    for what, those in [("only the other", expected - ours), ("only the scan", ours - expected)]:
        for it in sorted(those)[:20]:
            print(f"  {what}: {it[0]} {it[1]}{' (undecided)' if it in undecided else ''}")


def rust(lock, audit, report):
    audit = json.load(open(audit))
    theirs = {(it["package"]["name"], it["package"]["version"], it["advisory"]["id"]) for it in audit["vulnerabilities"]["list"]}
    for kind in audit.get("warnings", {}).values():
        theirs |= {(it["package"]["name"], it["package"]["version"], it["advisory"]["id"]) for it in kind if it.get("advisory")}
    ours = set()
    for it in json.load(open(report))["report"]["findings"]:
        if it["key"].startswith("vuln/"):
            ids = re.findall(r"RUSTSEC-\d+-\d+", json.dumps(it))
            ours |= {title(it) + (found,) for found in ids}
    same = "the same" if ours == theirs else "DIFFERENT"
    print(f"{lock}: cargo-audit {len(theirs)}, scan {len(ours)}: {same}")
    for what, those in [("only cargo-audit", theirs - ours), ("only the scan", ours - theirs)]:
        for it in sorted(those):
            print(f"  {what}: {' '.join(it)}")


{"pins": pins, "crates": crates, "python": python, "rust": rust}[sys.argv[1]](*sys.argv[2:])
