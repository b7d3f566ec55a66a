"""What goes wrong without the checks of facts.py, and does not with them. If one of these
fails, the package has become better: change the page."""

import json

from decide import Policy
from facts import read_facts
from wasmtime import Store

policy = Policy("default-policy.wasm")


def facts(**credential):
    chain = [{"path": "acme", "credentials": [{"id": "a", "name": "a", **credential}]}]
    return json.dumps({"request": {"provider": "openai", "now_ms": 1767225600000}, "chain": chain})


def naive(**changes):
    """Decides without a check of what is changed."""
    request, chain = read_facts(facts())
    chain[0].credentials[0].__dict__.update(changes)
    store = Store(policy.engine)
    store.set_fuel(policy.fuel)
    instance = policy.linker.instantiate(store, policy.component)
    return instance.get_func(store, policy.function)(store, request, chain).outcome


# An attribute that the contract does not have is ignored.
assert naive(**{"expires-at-ms": 1}).payload.code == "expired"
assert naive(expires_at_ms=1).tag == "granted"
assert policy.decide(facts(expires_at_ms=1))["refused"]["code"] == "expired"
assert "expires-at-ms" in policy.decide(facts(**{"expires-at-ms": 1}))["malformed"]

# Numbers are cut to their width: -1 is the last time of all, 2^64 + 2^63 is 2^63.
assert naive(**{"expires-at-ms": -1}).tag == "granted"
assert naive(**{"expires-at-ms": (1 << 64) + (1 << 63)}).tag == "granted"
assert "malformed" in policy.decide(facts(expires_at_ms=-1))
assert "malformed" in policy.decide(facts(expires_at_ms=(1 << 64) + (1 << 63)))

# JSON: of two equal names the last counts.
twice = facts(enabled=False).replace('"enabled": false', '"enabled": false, "enabled": true')
assert json.loads(twice)["chain"][0]["credentials"][0]["enabled"] is True
assert "twice" in policy.decide(twice)["malformed"]

# Facts that are too large end the instance; the next decision has a new one.
large = json.dumps({"request": {"provider": "x" * 5_000_000, "now_ms": 1}, "chain": []})
assert "failure" in policy.decide(large)
assert policy.decide(facts())["granted"]["credential"] == "a"

print("every bite was shown, and refused")
