"""The rules, in order. Their numbers are those of guest/default/README.md."""

from dataclasses import dataclass

from wit_world.exports.resolver import (
    Credential,
    Decision,
    Finding,
    Grant,
    Inheritance,
    Outcome_Granted,
    Outcome_Refused,
    Refusal,
    Sharing_All,
    Sharing_None_,
    Sharing_Paths,
)

import facts
from pattern import model_matches, path_matches


def decide(request, chain):
    """Decides one request. Raises the contract's `invalid-facts`."""
    facts.check(chain)
    view = View(request, chain, as_set)
    outcome = decide_outcome(view)
    return Decision(outcome, trail(view, outcome), attributes=[])


def as_set(scope):
    """The links between scopes count as they are set,"""
    return scope.inheritance


def all_opted_in(scope):
    """or as if every isolated scope had opted in."""
    if scope.inheritance is Inheritance.ISOLATED:
        return Inheritance.INHERIT
    return scope.inheritance


@dataclass(eq=False)
class Candidate:
    """One credential of the chain and what rules 5 and 7 make of it."""

    depth: int
    credential: Credential
    # Why it is not eligible to be found.
    invisible: str | None
    # Why it could not be used if found.
    unusable: str | None
    # Whether it would be visible but for rule 3.
    lost_to_mandatory: bool


class View:
    """The facts, with what rules 1 to 7 make of them."""

    def __init__(self, request, chain, inheritance):
        self.request = request
        self.chain = chain
        self.inheritance = inheritance
        self.reachable = self.count_reachable()
        self.model = self.effective_model()
        self.mandatory = self.farthest_mandatory()
        self.candidates = self.assess()
        self.search = self.find()

    def count_reachable(self):
        """Rule 1: so many scopes, from the requesting one on, are reachable."""
        for depth, scope in enumerate(self.chain):
            if self.inheritance(scope) is Inheritance.ISOLATED:
                return depth + 1
        return len(self.chain)

    def effective_model(self):
        """Rule 2."""
        defaults = (scope.default_model for scope in self.chain[: self.reachable])
        models = (self.request.model, *defaults)
        return next((model for model in models if model is not None), None)

    def farthest_mandatory(self):
        """Rule 3: the depth of the farthest ancestor that holds a mandatory
        credential shared with the requesting scope; 0 if none does.
        """
        return max(
            (
                depth
                for depth, scope in enumerate(self.chain)
                for credential in scope.credentials
                if depth > 0 and credential.mandatory and self.shared(depth, credential)
            ),
            default=0,
        )

    def shared(self, depth, credential):
        """Whether the requesting scope holds the credential itself or it is shared
        with it.
        """
        if depth == 0:
            return True
        match credential.sharing:
            case Sharing_All():
                return True
            case Sharing_None_():
                return False
            case Sharing_Paths(patterns):
                requesting = self.chain[0].path
                return any(path_matches(pattern, requesting) for pattern in patterns)

    def assess(self):
        """Every credential of the chain in the order of rule 4, assessed."""
        return [
            self.assess_one(depth, credential)
            for depth, scope in enumerate(self.chain)
            for credential in sorted(scope.credentials, key=lambda c: (c.priority, c.name))
        ]

    def assess_one(self, depth, credential):
        eligible = depth < self.reachable and self.shared(depth, credential)
        overridden = depth < self.mandatory
        named = self.request.credential in (None, credential.name)
        if depth >= self.reachable:
            invisible = "not-opted-in"
        elif not eligible:
            invisible = "not-shared"
        elif overridden:
            invisible = "override-forbidden"
        elif not named:
            invisible = "name-mismatch"
        else:
            invisible = None
        return Candidate(
            depth,
            credential,
            invisible,
            unusable=self.unusable(credential),
            lost_to_mandatory=eligible and overridden and named,
        )

    def unusable(self, credential):
        """Rule 7: what keeps the credential from being used."""
        if not credential.enabled:
            return "disabled"
        if not credential.readable:
            return "unreadable"
        end = credential.expires_at_ms
        if end is not None and end <= self.request.now_ms:
            return "expired"
        if credential.models is None:
            return None
        # No model would help a credential that allows none.
        if self.model is None and credential.models:
            return "model-required"
        if any(model_matches(pattern, self.model) for pattern in credential.models):
            return None
        return "model-not-allowed"

    def find(self):
        """Rule 6: the visible candidates of the nearest scope that has any, and of
        the scopes beyond for as long as each one falls back.
        """
        found = []
        for depth, scope in enumerate(self.chain[: self.reachable]):
            visible = [
                candidate
                for candidate in self.candidates
                if candidate.depth == depth and candidate.invisible is None
            ]
            found += visible
            if visible and self.inheritance(scope) is not Inheritance.FALL_BACK:
                break
        return found

    def usable(self):
        """The ids of those found that can be used, best first."""
        return [
            candidate.credential.id
            for candidate in self.search
            if candidate.unusable is None
        ]


def decide_outcome(view):
    """Rules 3 and 8."""
    if view.mandatory >= view.reachable:
        return refuse(view, "organization-credential-required")
    if usable := view.usable():
        chosen, *alternates = usable
        return Outcome_Granted(Grant(chosen, alternates, view.model))
    if view.search:
        return refuse_defect(view, view.search[0])
    if any(candidate.lost_to_mandatory for candidate in view.candidates):
        return refuse(view, "override-forbidden")
    if View(view.request, view.chain, all_opted_in).usable():
        return refuse(view, "not-opted-in")
    return refuse(view, "no-credential")


REASONS = {
    "organization-credential-required": "a scope above {scope} requires its own credential "
    "for {provider}, and {scope} has not opted in to it",
    "override-forbidden": "{scope} may not use these credentials for {provider} in place of "
    "the mandatory one above",
    "not-opted-in": "{scope} has not opted in to the credentials above it for {provider}",
    "no-credential": "there is no credential for {provider} that {scope} could use",
}


def refuse(view, code):
    message = REASONS[code].format(scope=view.chain[0].path, provider=view.request.provider)
    return Outcome_Refused(Refusal(code, message))


DEFECTS = {
    "disabled": "is disabled",
    "unreadable": "cannot be read",
    "expired": "has expired",
    "model-required": "allows only some models, and no model is known",
    "model-not-allowed": "does not allow the model",
}


def refuse_defect(view, first):
    """Refuses because the first candidate of the search cannot be used."""
    code = first.unusable
    message = (
        f"the credential {first.credential.name} of {view.chain[first.depth].path} "
        f"for {view.request.provider} {DEFECTS[code]}"
    )
    return Outcome_Refused(Refusal(code, message))


def trail(view, outcome):
    """Rule 9: every candidate with the first code that applies."""
    match outcome:
        case Outcome_Granted(grant):
            chosen = grant.credential
        case _:
            chosen = None
    found = {candidate.credential.id for candidate in view.search}

    def code(candidate):
        if reason := candidate.invisible or candidate.unusable:
            return reason
        if candidate.credential.id not in found:
            return "shadowed"
        return "chosen" if candidate.credential.id == chosen else "alternate"

    return [
        Finding(candidate.credential.id, code(candidate), attributes=[])
        for candidate in view.candidates
    ]
