"""The nearest usable credential wins; the organization may say for which models.

componentize-py makes the module `wit_world` from the contract: a dataclass for each
record and for each case of a variant. The error of a result is raised as `Err`.
What is imported is imported here, while the component is built: it has no files later.
"""

import json
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.about import Description
from wit_world.exports.resolver import (
    Decision,
    Error_InvalidFacts,
    Error_Other,
    Finding,
    Grant,
    Inheritance,
    Outcome_Granted,
    Outcome_Refused,
    Refusal,
    Request,
    Sharing_All,
    Sharing_None_,
    Sharing_Paths,
)
from wit_world.exports.settings import Problem

from pattern import model_matches, path_matches


class About(exports.About):
    def describe(self):
        return Description(
            name="{{name}}",
            version="0.1.0",
            summary="The nearest usable credential, of the models that the organization allows",
        )


SCHEMA = {
    "type": "object",
    "properties": {
        "models": {
            "description": "Patterns of the models that are allowed: * is any run of "
            "characters, ? exactly one. Absent means every model.",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "uniqueItems": True,
        },
    },
    "additionalProperties": False,
}


class Settings(exports.Settings):
    def schema(self):
        """Returns the JSON Schema of the settings."""
        return json.dumps(SCHEMA)

    def validate(self, settings):
        """A model that another pattern also allows is probably a mistake."""
        models = json.loads(settings).get("models", [])
        problems = []
        for index, model in enumerate(models):
            if "*" in model or "?" in model:
                continue
            for pattern in models:
                if pattern != model and model_matches(pattern, model):
                    rule = f"is allowed by {pattern} already"
                    problems.append(Problem(f"/models/{index}", rule))
                    break
        if problems:
            raise Err(problems)


class Resolver(exports.Resolver):
    def decide(self, request, chain):
        try:
            return decide(request, chain)
        except Err:
            raise
        except Exception as error:
            # An exception that is not caught would end the call without a message.
            raise Err(Error_Other(repr(error)))


def decide(request, chain):
    if not chain:
        raise Err(Error_InvalidFacts("the chain is empty"))
    settings = json.loads(request.settings)
    reachable = count_reachable(chain)
    model = effective_model(request, chain[:reachable])
    view = View(request, chain[0].path, model)
    forbidden = model_obstacle(settings.get("models"), model)

    chosen = None
    trail = []
    for depth, scope in enumerate(chain):
        for credential in sorted(scope.credentials, key=lambda c: (c.priority, c.name)):
            if depth >= reachable:
                code = "not-opted-in"
            elif obstacle := view.obstacle(depth, credential) or forbidden:
                code = obstacle
            elif chosen is None:
                code = "chosen"
                chosen = credential.id
            else:
                code = "shadowed"
            trail.append(Finding(credential.id, code, attributes=[]))

    if chosen is None:
        outcome = view.refuse(forbidden or "no-credential")
    else:
        outcome = Outcome_Granted(Grant(chosen, alternates=[], model=model))
    return Decision(outcome, trail, attributes=[])


def count_reachable(chain):
    """Returns the number of reachable scopes, starting with the requesting one."""
    for depth, scope in enumerate(chain):
        if scope.inheritance is Inheritance.ISOLATED:
            return depth + 1
    return len(chain)


def effective_model(request, reachable):
    """The model of the request, otherwise the nearest default of a reachable scope."""
    models = [request.model, *(scope.default_model for scope in reachable)]
    return next((model for model in models if model is not None), None)


@dataclass
class View:
    """The values that every credential is checked against."""

    request: Request
    # The path of the requesting scope.
    requesting: str
    model: str | None

    def obstacle(self, depth, credential):
        """Returns why a credential of a reachable scope is not usable; None if it is."""
        if depth > 0 and not self.shares(credential):
            return "not-shared"
        if self.request.credential not in (None, credential.name):
            return "name-mismatch"
        if not credential.enabled:
            return "disabled"
        if not credential.readable:
            return "unreadable"
        end = credential.expires_at_ms
        if end is not None and end <= self.request.now_ms:
            return "expired"
        return model_obstacle(credential.models, self.model)

    def shares(self, credential):
        match credential.sharing:
            case Sharing_All():
                return True
            case Sharing_None_():
                return False
            case Sharing_Paths(patterns):
                return any(path_matches(pattern, self.requesting) for pattern in patterns)

    def refuse(self, code):
        provider = self.request.provider
        match code:
            case "model-required":
                message = f"name a model: only some of {provider} are allowed"
            case "model-not-allowed":
                message = (
                    f"the model {self.model or ''} of {provider} "
                    "is not one of those that are allowed"
                )
            case _:
                message = f"{self.requesting} has no credential for {provider} that it could use"
        return Outcome_Refused(Refusal(code, message))


def model_obstacle(patterns, model):
    """Returns why the patterns do not allow a model; None if they do."""
    # Without patterns every model is allowed.
    if patterns is None:
        return None
    # An empty list allows no model.
    if model is None and patterns:
        return "model-required"
    if any(model_matches(pattern, model) for pattern in patterns):
        return None
    return "model-not-allowed"
