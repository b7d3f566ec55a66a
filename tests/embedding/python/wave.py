"""Decides by `wasmtime run --invoke`. Its text form, WAVE, ignores fields that it does not
know, so the call is written by a program that checks the facts."""

import json
import re
import subprocess
import sys

from facts import MalformedFacts, read_facts
from wasmtime.component import Record, Variant

COMMAND = ["wasmtime", "run", "-W", "fuel=10000000", "-W", "max-memory-size=16777216", "--invoke"]


def write(value, name=""):
    """A value that `read_facts` returns, as WAVE."""
    if isinstance(value, Record):
        members = vars(value).items()
        fields = (f"{each}: {write(member, each)}" for each, member in members if member is not None)
        return "{" + ", ".join(fields) + "}"
    if isinstance(value, Variant):
        # A case may have the name of a keyword.
        return f"%{value.tag}" + ("" if value.payload is None else f"({write(value.payload)})")
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(write, value)) + ")"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if name == "inheritance":
        return f"%{value}"
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\u{{{ord(c):x}}}" for c in value) + '"'


TOKEN = re.compile(r'\s*(?:([\[\]{}(),:])|("(?:[^"\\]|\\.)*")|(%?[a-z0-9-]+))')
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def read(text):
    """WAVE as a value of Python: a case is a pair of its name and what it holds."""
    tokens = [match.groups() for match in TOKEN.finditer(text)]
    value, rest = read_value(tokens, 0)
    if rest != len(tokens):
        raise ValueError(text)
    return value


def read_value(tokens, at):
    mark, quoted, word = tokens[at]
    if quoted:
        return unescape(quoted[1:-1]), at + 1
    if word:
        word = word.removeprefix("%")
        if at + 1 < len(tokens) and tokens[at + 1][0] == "(":
            (held,), at = read_items(tokens, at + 2, ")")
            return (word, held), at
        return (word, None), at + 1
    if mark == "{":
        members, at = read_items(tokens, at + 1, "}")
        return dict(members), at
    items, at = read_items(tokens, at + 1, {"[": "]", "(": ")"}[mark])
    return (items if mark == "[" else tuple(items)), at


def read_items(tokens, at, close):
    items = []
    while tokens[at][0] != close:
        if close == "}":
            name = tokens[at][2].removeprefix("%")
            value, at = read_value(tokens, at + 2)
            items.append((name, value))
        else:
            value, at = read_value(tokens, at)
            items.append(value)
        if tokens[at][0] == ",":
            at += 1
    return items, at + 1


def unescape(text):
    def plain(match):
        digits, escaped = match.groups()
        return chr(int(digits, 16)) if digits else ESCAPES.get(escaped, escaped)

    return re.sub(r"\\(?:u\{([0-9a-f]+)\}|(.))", plain, text)


def write_result(text):
    """What `wasmtime` printed, in the JSON form of the vectors."""
    case, held = read(text)
    if case == "err":
        return {"error": held[0], "message": held[1]}
    outcome, chosen = held["outcome"]
    if not chosen.get("alternates"):
        chosen.pop("alternates", None)
    if "model" in chosen:
        chosen["model"] = chosen["model"][1]  # some(…)
    for finding in held["trail"]:
        finding["attributes"] = dict(finding["attributes"])
    trail = [{name: each for name, each in finding.items() if each} for finding in held["trail"]]
    attributes = {"attributes": dict(held["attributes"])} if held["attributes"] else {}
    return {outcome: chosen, "trail": trail, **attributes}


def decide(text):
    try:
        request, chain = read_facts(text)
    except MalformedFacts as error:
        return {"malformed": str(error)}
    call = f"decide({write(request)}, {write(chain)})"
    run = subprocess.run([*COMMAND, call, "default-policy.wasm"], capture_output=True, text=True)
    if run.returncode != 0:
        return {"failure": run.stderr}
    return write_result(run.stdout)


if __name__ == "__main__":
    for line in sys.stdin.buffer.read().decode().split("\n"):
        if line.strip():
            print(json.dumps(decide(line), ensure_ascii=False))
