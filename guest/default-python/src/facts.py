"""What the contract demands of the facts."""

from itertools import pairwise

from componentize_py_types import Err
from wit_world.exports.resolver import Error_InvalidFacts


def check(chain):
    """Raises the contract's `invalid-facts`, naming what and where."""
    if not chain:
        raise invalid("the chain is empty")
    above = parent(chain[-1].path)
    if above is not None:
        raise invalid(f"the chain ends below the organization: {above} is missing")
    for scope, above in pairwise(chain):
        if parent(scope.path) != above.path:
            raise invalid(
                f"in the chain {above.path} follows {scope.path}, but is not its parent"
            )
    twice = repeated(credential.id for scope in chain for credential in scope.credentials)
    if twice is not None:
        raise invalid(f"the credential id {twice} occurs twice")
    for scope in chain:
        name = repeated(credential.name for credential in scope.credentials)
        if name is not None:
            raise invalid(f"{scope.path} has two credentials named {name}")


def invalid(text):
    return Err(Error_InvalidFacts(text))


def parent(path):
    """The path less its last segment; none for an organization."""
    parent, slash, _ = path.rpartition("/")
    return parent if slash else None


def repeated(texts):
    """The first text that was there before."""
    seen = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None
