"""What the component exports.

componentize-py makes the module `wit_world` from the contract: a dataclass for each
record and for each case of a variant. The error of a result is raised as `Err`.
"""

from wit_world import exports
from wit_world.exports.about import Description

import rules


class Resolver(exports.Resolver):
    def decide(self, request, chain):
        return rules.decide(request, chain)


class Settings(exports.Settings):
    def schema(self):
        """Nothing can be set."""
        return '{"type": "object", "additionalProperties": false}'

    def validate(self, settings):
        """The schema has said it all."""


class About(exports.About):
    def describe(self):
        return Description(
            name="default-python",
            version="0.1.0",
            summary="The built-in policy in Python: nearest opted-in scope first, "
            "mandatory credentials above all",
        )
