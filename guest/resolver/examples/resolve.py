"""Resolves a request on a bundle, in Python: the resolver core in wasmtime, pyrage for the secret.

    python3 resolve.py CORE BUNDLE REQUEST [IDENTITY]

prints the answer, or with an identity the opened secret, as JSON.
"""

import base64
import json
import sys
from pathlib import Path

import pyrage
from wasmtime import Engine, Instance, Module, Store


class Core:
    """The resolver core. Each request gets a fresh instance."""

    def __init__(self, file):
        self.engine = Engine()
        self.module = Module.from_file(self.engine, file)

    def answer(self, bundle, request):
        store = Store(self.engine)
        store.set_limits(memory_size=1 << 30)
        exports = Instance(store, self.module, []).exports(store)
        memory = exports["memory"]

        def give(text):
            address = exports["entail_allocate"](store, len(text)) & 0xFFFFFFFF
            if not address:
                raise MemoryError("the bundle does not fit into the memory of the core")
            memory.write(store, text, address)
            return address, len(text)

        found = exports["entail_resolve"](store, *give(bundle), *give(request))
        address, length = (found >> 32) & 0xFFFFFFFF, found & 0xFFFFFFFF
        if not address:
            raise MemoryError("the answer does not fit into the memory of the core")
        return memory.read(store, address, address + length).decode()


def open_secret(lease, identities):
    """Opens the secret of a lease, and checks that it was sealed for what the bundle says."""
    plain = pyrage.decrypt(base64.b64decode(lease["sealed"]), identities)
    form, header, values = plain.split(b"\n", 2)
    if form != b"entail-secret/1":
        raise ValueError("the secret has another format")
    header = json.loads(header)
    lengths = header["fields"]
    header["fields"] = sorted(name for name, _ in lengths)
    if header != lease["frame"]:
        raise ValueError("the secret belongs elsewhere")
    fields, start = {}, 0
    for name, length in lengths:
        fields[name] = values[start : start + length].decode()
        start += length
    if start > len(values) or any(values[start:]):
        raise ValueError("the secret is damaged")
    return fields


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: resolve.py CORE BUNDLE REQUEST [IDENTITY]")
    core, bundle, request, *identity = sys.argv[1:]
    answer = Core(core).answer(Path(bundle).read_bytes(), Path(request).read_bytes())
    resolved = json.loads(answer).get("resolved")
    if resolved is None or identity and "lease" not in resolved:
        sys.exit(answer)
    if not identity:
        print(answer)
        return
    lines = Path(identity[0]).read_text().splitlines()
    keys = [line.strip() for line in lines if line.strip().startswith("AGE-SECRET-KEY-")]
    identities = [pyrage.x25519.Identity.from_str(key) for key in keys]
    try:
        print(json.dumps(open_secret(resolved["lease"], identities)))
    except (pyrage.DecryptError, ValueError) as error:
        sys.exit(f"the secret cannot be opened with {identity[0]}: {error}")


if __name__ == "__main__":
    main()
