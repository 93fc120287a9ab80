"""Which crates are linked into the binary, for scripts/licences and scripts/sbom. Standard library only.

The answer is cargo's, for the two platforms that are released: `cargo tree` knows the features as they are built, without
those that only tests ask for (`cargo metadata` adds them up); `cargo metadata` knows the rest. Build scripts, macros and what
only tests need are not in the binary.
"""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]


class Crate:
    """A crate as it is linked. `targets` are those that link it; `needs` the linked crates that it asks for itself."""

    def __init__(self, package, checksum):
        self.name = package["name"]
        self.version = package["version"]
        self.expression = spdx(package["license"])
        self.authors = package["authors"]
        self.description = package["description"]
        self.repository = package["repository"]
        self.folder = Path(package["manifest_path"]).parent
        self.checksum = checksum
        self.targets = set()
        self.needs = set()

    @property
    def key(self):
        return (self.name, tuple(int(n) for n in re.findall(r"\d+", self.version)[:3]), self.version)

    def __str__(self):
        return f"{self.name} {self.version}"


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"cargo {arguments[0]} failed; see above")
    return done.stdout.decode("utf-8")


def spdx(expression):
    """A licence as SPDX writes it: of old, `/` stood for OR."""
    return re.sub(r"\s*/\s*", " OR ", expression or "")


def checksums():
    """What Cargo.lock says of each crate of a registry."""
    entries = (ROOT / "Cargo.lock").read_text(encoding="utf-8").split("[[package]]")[1:]
    found = {}
    for entry in entries:
        values = dict(re.findall(r'^(name|version|checksum) = "([^"]*)"$', entry, re.M))
        found[values["name"], values["version"]] = values.get("checksum")
    return found


def linked(targets=TARGETS):
    """Weir itself, and the crates linked into it, sorted by name and version."""
    known, sums, root = {}, checksums(), None
    for target in targets:
        tree = cargo(
            *["tree", "--locked", "--package", "weir", "--edges", "normal,no-proc-macro", "--target", target],
            *["--prefix", "none", "--no-dedupe", "--format", "{p}"],
        )
        names = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
        inside = {(name, version.removeprefix("v")) for name, version in names}
        metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target))
        packages = {package["id"]: package for package in metadata["packages"]}

        def pair(id):
            return (packages[id]["name"], packages[id]["version"])

        root = pair(metadata["resolve"]["root"])
        for node in metadata["resolve"]["nodes"]:
            me = pair(node["id"])
            if me not in inside:
                continue
            crate = known.setdefault(me, Crate(packages[node["id"]], sums[me]))
            crate.targets.add(target)
            for need in node["deps"]:
                is_normal = any(kind["kind"] is None for kind in need["dep_kinds"])
                if is_normal and pair(need["pkg"]) in inside:
                    crate.needs.add(pair(need["pkg"]))
        missing = inside - known.keys()
        if missing:
            raise SystemExit(f"cargo tree names what cargo metadata does not: {sorted(missing)}")
    weir = known.pop(root)
    return weir, sorted(known.values(), key=lambda crate: crate.key)


# Licences that somebody may choose among.

def permitted():
    """The licences that deny.toml allows; where a crate offers several, the first of these is chosen."""
    line = re.search(r"^allow = \[(.*)\]$", (ROOT / "deny.toml").read_text(encoding="utf-8"), re.M)
    return re.findall(r'"([^"]+)"', line.group(1))


def choose(expression, allowed):
    """The licences under which something is used: all of an AND, of an OR the one that `allowed` names first; None where
    nothing is allowed."""
    words = re.findall(r"\(|\)|[^\s()]+", expression)
    chosen = _either(words, allowed) if words else None
    if words:
        raise SystemExit(f"{expression}: not an expression of SPDX that scripts/licences reads")
    return chosen


def _either(words, allowed):
    options = [_all(words, allowed)]
    while words and words[0] == "OR":
        words.pop(0)
        options.append(_all(words, allowed))
    options = [option for option in options if option is not None]
    return min(options, key=lambda option: [allowed.index(name) for name in option], default=None)


def _all(words, allowed):
    parts = [_one(words, allowed)]
    while words and words[0] == "AND":
        words.pop(0)
        parts.append(_one(words, allowed))
    if None in parts:
        return None
    return sorted({name for part in parts for name in part}, key=allowed.index)


def _one(words, allowed):
    word = words.pop(0)
    if word == "(":
        inside = _either(words, allowed)
        words.pop(0)
        return inside
    if words and words[0] == "WITH":
        word = f"{word} WITH {words[1]}"
        del words[:2]
    return [word] if word in allowed else None
