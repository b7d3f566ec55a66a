import json
import sys

from facts import MalformedFacts, read_facts, write_decision
from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import Component, Linker, Variant


class Policy:
    """A policy component, run in a new instance for each decision."""

    def __init__(self, path, fuel=10_000_000):
        config = Config()
        config.consume_fuel = True
        self.engine = Engine(config)
        self.component = Component.from_file(self.engine, path)
        self.linker = Linker(self.engine)  # empty: a policy imports nothing
        self.fuel = fuel
        resolver = self.component.get_export_index("entail:policy/resolver@0.2.0")
        self.function = self.component.get_export_index("decide", resolver)

    def decide(self, text):
        """Decides the facts in `text`: an object in the JSON form of the vectors."""
        try:
            request, chain = read_facts(text)
            store = Store(self.engine)
            store.set_fuel(self.fuel)
            store.set_limits(memory_size=16 << 20)
            instance = self.linker.instantiate(store, self.component)
            result = instance.get_func(store, self.function)(store, request, chain)
        except MalformedFacts as error:
            return {"malformed": str(error)}
        except WasmtimeError as error:
            return {"failure": str(error)}
        if isinstance(result, Variant):
            return {"error": result.tag, "message": result.payload}
        return write_decision(result)


if __name__ == "__main__":
    policy = Policy("default-policy.wasm")
    for line in sys.stdin.buffer.read().decode().split("\n"):
        if line.strip():
            print(json.dumps(policy.decide(line), ensure_ascii=False))
