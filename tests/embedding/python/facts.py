"""The JSON of facts and decisions, as the conformance vectors have it, and the values
that `wasmtime` takes and returns.

The package ignores attributes of a record that the contract does not have and cuts
numbers to their width. Here everything that is not exactly of the contract is an error.
"""

import json

from wasmtime.component import Record, Variant


class MalformedFacts(Exception):
    """Facts that are not of the contract. No policy has seen them."""


def read_facts(text, settings="{}"):
    """Reads the JSON of facts into the arguments of `decide`."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_int=whole,
            parse_float=not_whole,
            parse_constant=not_whole,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedFacts(str(error)) from error
    facts = FACTS(value, "facts")
    facts.request.settings = settings
    return facts.request, facts.chain


def write_decision(decision):
    """The decision in the JSON form of the vectors."""
    chosen = decision.outcome.payload
    if decision.outcome.tag == "granted":
        outcome = {"credential": chosen.credential}
        if chosen.alternates:
            outcome["alternates"] = chosen.alternates
        if chosen.model is not None:
            outcome["model"] = chosen.model
    else:
        outcome = {"code": chosen.code, "message": chosen.message}
    trail = [
        {"credential": found.credential, "code": found.code, **pairs(found)}
        for found in decision.trail
    ]
    return {decision.outcome.tag: outcome, "trail": trail, **pairs(decision)}


def pairs(holder):
    return {"attributes": dict(holder.attributes)} if holder.attributes else {}


# JSON in Python: the last of two equal names counts, and NaN is a number.


def unique(members):
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name occurs twice")
    return found


def whole(digits):
    if digits.startswith("-"):
        raise ValueError(f"{digits} is below 0")
    return int(digits)


def not_whole(digits):
    raise ValueError(f"{digits} is not a whole number")


# The shapes of the contract. A reader takes a parsed value and where it was found.


def malformed(where, rule):
    raise MalformedFacts(f"{where}: {rule}")


def text(value, where):
    if type(value) is not str:
        malformed(where, "must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        malformed(where, "has an unpaired surrogate")
    return value


def boolean(value, where):
    return value if type(value) is bool else malformed(where, "must be true or false")


def unsigned(bits):
    def read(value, where):
        if type(value) is not int or value >= 1 << bits:
            malformed(where, f"must be a u{bits}")
        return value

    return read


def list_of(item):
    def read(value, where):
        if type(value) is not list:
            malformed(where, "must be a list")
        return [item(each, f"{where}/{index}") for index, each in enumerate(value)]

    return read


def one_of(*names):
    def read(value, where):
        if type(value) is not str or value not in names:
            malformed(where, f"must be one of {', '.join(names)}")
        return value

    return read


def required(read):
    return read, lambda where: malformed(where, "is missing")


def optional(read, default):
    return read, lambda _where: default()


def option(read):
    """Null means the same as absence."""
    return optional(lambda value, where: None if value is None else read(value, where), lambda: None)


def record(**fields):
    def read(value, where):
        if type(value) is not dict:
            malformed(where, "must be an object")
        for name in value:
            if name not in fields:
                malformed(f"{where}/{name}", "is not a field of the contract")
        result = Record()
        for name, (read_field, absent) in fields.items():
            at = f"{where}/{name}"
            found = read_field(value[name], at) if name in value else absent(at)
            # The names of the contract have hyphens.
            setattr(result, name.replace("_", "-"), found)
        return result

    return read


def read_attributes(value, where):
    if type(value) is not dict:
        malformed(where, "must be an object")
    return sorted((text(name, where), text(each, f"{where}/{name}")) for name, each in value.items())


def read_sharing(value, where):
    if type(value) is dict and list(value) == ["paths"]:
        return Variant("paths", list_of(text)(value["paths"], f"{where}/paths"))
    return Variant(one_of("all", "none")(value, where))


attributes = optional(read_attributes, list)

CREDENTIAL = record(
    id=required(text),
    name=required(text),
    enabled=optional(boolean, lambda: True),
    readable=optional(boolean, lambda: True),
    expires_at_ms=option(unsigned(64)),
    models=option(list_of(text)),
    sharing=optional(read_sharing, lambda: Variant("all")),
    mandatory=optional(boolean, lambda: False),
    priority=optional(unsigned(32), lambda: 0),
    attributes=attributes,
)

SCOPE = record(
    path=required(text),
    inheritance=optional(one_of("isolated", "inherit", "fall-back"), lambda: "isolated"),
    default_model=option(text),
    credentials=optional(list_of(CREDENTIAL), list),
    attributes=attributes,
)

REQUEST = record(
    provider=required(text),
    model=option(text),
    credential=option(text),
    principal=optional(text, str),
    now_ms=required(unsigned(64)),
    attributes=attributes,
)

FACTS = record(request=required(REQUEST), chain=required(list_of(SCOPE)))
