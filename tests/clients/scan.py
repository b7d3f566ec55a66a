#!/usr/bin/env python3
"""Finds every environment variable that the installed clients read, and fails on one that
Entail neither sets, unsets nor blocks, and that unrelated.toml does not list.

`entail providers --json` says what Entail does with a variable. unrelated.toml lists the
irrelevant variables with reasons, and the few reads of names that are built at run time,
which no scan can follow.
"""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True
from readers import read_javascript, read_python  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENTS = ROOT / "target" / "clients"
# Directories of a package that contain its tests.
TESTS = {"test", "tests", "__tests__"}


def fail(message):
    print(f"scan: {message}", file=sys.stderr)
    sys.exit(2)


def matches(pattern, name):
    return fnmatch.fnmatchcase(name.upper(), pattern.upper())


class Entail:
    """What Entail does with variables, from its list of providers."""

    def __init__(self, program):
        output = subprocess.run([program, "providers", "--json"], capture_output=True, text=True)
        if output.returncode != 0:
            fail(f"{program} providers --json: {output.stderr.strip()}")
        self.set = {}
        self.unset = {}
        self.kept = {}
        self.blocked = {}
        for provider in json.loads(output.stdout)["providers"]:
            of = provider["id"]
            for field in provider.get("field", provider.get("fields", [])):
                for variable in field.get("environment", []):
                    self.set[variable["name"]] = (of, variable)
            for mode in provider.get("mode", provider.get("modes", [])):
                for variable in mode.get("set-env", []):
                    self.set[variable["name"]] = (of, variable)
            for pattern in provider.get("unset-env", []):
                self.unset[pattern] = of
            for kept in provider.get("keep-env", []):
                self.kept[kept["name"]] = kept["reason"]
            for block in provider.get("block-ambient", []):
                self.blocked[block["name"]] = block["value"]

    def does(self, name):
        """What Entail does with the variable, or None if nothing."""
        # Entail unsets all variables that it can set, whether or not it sets them again.
        if name in self.set:
            return "set"
        if name in self.blocked:
            return "blocked"
        if any(matches(pattern, name) for pattern in self.kept):
            return "kept"
        if any(matches(pattern, name) for pattern in self.unset):
            return "unset"
        return None


def sources(root, rules, suffixes):
    """The files to read, as pairs of a path and its label."""
    for directory in rules["directories"]:
        top = root / directory
        if not top.is_dir():
            fail(f"{directory} is not installed: run tests/clients/install.sh")
        for path in sorted(top.rglob("*")):
            if path.suffix not in suffixes or not path.is_file():
                continue
            below = path.relative_to(top)
            if TESTS & set(below.parts) or ".test." in path.name:
                continue
            if "only" in rules and not is_below(below, rules["only"]):
                continue
            if is_below(below, rules.get("except", [])):
                continue
            yield path, path.relative_to(root).as_posix()


def is_below(path, rules):
    path = path.as_posix()
    return any(path == rule or path.startswith(rule + "/") for rule in rules)


def read_all():
    data = tomllib.loads((HERE / "scan.toml").read_text())
    [site] = (CLIENTS / "python" / "lib").glob("python3*/site-packages")
    reads = []
    # Functions and constants are followed only within a package.
    for rules in data["python"]:
        reads += read_python(sources(site, rules, {".py"}), rules.get("constants", {}).items())
    modules = CLIENTS / "node" / "node_modules"
    for rules in data["node"]:
        reads += read_javascript(sources(modules, rules, {".js", ".mjs", ".cjs"}))
    return reads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entail", default=os.environ.get("ENTAIL", str(ROOT / "target" / "debug" / "entail")))
    parser.add_argument("--list", action="store_true", help="list every variable, and what Entail does with it")
    options = parser.parse_args()
    entail = Entail(options.entail)
    unrelated = tomllib.loads((HERE / "unrelated.toml").read_text())

    places = {}
    unknown = {}
    recognized = set()
    for read in read_all():
        names = [read.name]
        if read.name is None:
            entries = [
                (number, entry)
                for number, entry in enumerate(unrelated["computed"])
                if fnmatch.fnmatchcase(read.file, entry["file"]) and entry["text"] in read.text
            ]
            if not entries:
                unknown.setdefault((read.file, read.text), read)
            recognized |= {number for number, _ in entries}
            names = [name for _, entry in entries for name in entry.get("names", [])]
        for name in names:
            places.setdefault(name, []).append(f"{read.file}:{read.line}")

    faults = 0
    counts = {}
    used = set()
    for name in sorted(places, key=str.upper):
        does = entail.does(name)
        if does is None:
            for number, group in enumerate(unrelated["group"]):
                hits = [pattern for pattern in group["names"] if matches(pattern, name)]
                used |= {(number, pattern) for pattern in hits}
                if hits:
                    does = "unrelated"
                    break
        counts[does] = counts.get(does, 0) + 1
        if options.list:
            print(f"{does or 'NOTHING':10} {name}  {places[name][0]}")
        if does is None:
            faults += 1
            shown = places[name][:3]
            more = f" and {len(places[name]) - 3} more" if len(places[name]) > 3 else ""
            print(f"scan: {name} is neither set, unset, blocked nor kept: {', '.join(shown)}{more}", file=sys.stderr)
    for (file, text), read in sorted(unknown.items()):
        faults += 1
        print(f"scan: a computed name that unrelated.toml does not list: {file}:{read.line}: {text}", file=sys.stderr)
    for number, entry in enumerate(unrelated["computed"]):
        if number not in recognized:
            faults += 1
            print(f"scan: unrelated.toml lists a read that no longer exists: {entry['file']}: {entry['text']}", file=sys.stderr)
    for number, group in enumerate(unrelated["group"]):
        for pattern in group["names"]:
            if (number, pattern) not in used:
                faults += 1
                print(f"scan: unrelated.toml names {pattern}, which nothing reads any more, or which Entail handles", file=sys.stderr)
    # A variable that no client reads is useless and misleading.
    for name, (provider, _) in sorted(entail.set.items()):
        if name not in places:
            faults += 1
            print(f"scan: {provider} sets {name}, which no client reads", file=sys.stderr)
    if not places:
        fail("no variable was found: the patterns of readers.py match nothing")
    summary = ", ".join(f"{counts.get(key, 0)} {key}" for key in ("set", "unset", "blocked", "kept", "unrelated"))
    print(f"{len(places)} variables: {summary}, {counts.get(None, 0)} open")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
