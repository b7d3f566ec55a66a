// The rules, in order. Their numbers are those of guest/default/README.md.

import { check } from "./facts.js";
import { unsigned } from "./number.js";
import { modelMatches, pathMatches } from "./pattern.js";

/** Decides one request. Throws the contract's `invalid-facts`. */
export function decide(request, chain) {
  check(chain);
  const view = look(request, chain, asSet);
  const outcome = decideOutcome(view);
  return { outcome, trail: trail(view, outcome), attributes: [] };
}

/** The links between scopes count as they are set, */
const asSet = (scope) => scope.inheritance;
/** or as if every isolated scope had opted in. */
const allOptedIn = (scope) => (scope.inheritance === "isolated" ? "inherit" : scope.inheritance);

/** The facts, with what rules 1 to 7 make of them. */
function look(request, chain, inheritance) {
  const view = { request, chain, inheritance };
  view.reachable = countReachable(view);
  view.model = effectiveModel(view);
  view.mandatory = farthestMandatory(view);
  view.candidates = assess(view);
  view.search = search(view);
  return view;
}

/** Rule 1: this many scopes, from the requesting one on, are reachable. */
function countReachable({ chain, inheritance }) {
  const last = chain.findIndex((scope) => inheritance(scope) === "isolated");
  return last < 0 ? chain.length : last + 1;
}

/** Rule 2. */
function effectiveModel({ request, chain, reachable }) {
  const models = chain.slice(0, reachable).map((scope) => scope.defaultModel);
  return [request.model, ...models].find((model) => model != null);
}

/**
 * Rule 3: the depth of the farthest ancestor that holds a mandatory credential
 * shared with the requesting scope; -1 if none does.
 */
function farthestMandatory({ chain }) {
  const requesting = chain[0].path;
  return chain.findLastIndex(
    ({ credentials }, depth) =>
      depth > 0 &&
      credentials.some(({ mandatory, sharing }) => mandatory && shared(sharing, requesting)),
  );
}

/** Whether a credential of an ancestor is shared with the requesting scope. */
function shared(sharing, requesting) {
  switch (sharing.tag) {
    case "all":
      return true;
    case "none":
      return false;
    default:
      return sharing.val.some((pattern) => pathMatches(pattern, requesting));
  }
}

/** Every credential of the chain in the order of rule 4, with what rules 5 and 7 make of it. */
function assess(view) {
  return view.chain.flatMap((scope, depth) =>
    scope.credentials
      .toSorted(comparePlaces)
      .map((credential) => ({
        depth,
        credential,
        ...visibility(view, depth, credential),
        unusable: unusable(view, credential),
      })),
  );
}

function comparePlaces(one, other) {
  const priorities = unsigned(one.priority, 32) - unsigned(other.priority, 32);
  return priorities || compareTexts(one.name, other.name);
}

/** By code points, as in every other language; `<` would go by UTF-16 units. */
function compareTexts(one, other) {
  let place = 0;
  while (place < one.length && one[place] === other[place]) {
    place += 1;
  }
  return (one.codePointAt(place) ?? -1) - (other.codePointAt(place) ?? -1);
}

/**
 * Rule 5: why the credential is not eligible to be found, and whether it would be
 * but for rule 3.
 */
function visibility({ request, chain, reachable, mandatory }, depth, credential) {
  if (depth >= reachable) {
    return { invisible: "not-opted-in", lostToMandatory: false };
  }
  if (depth > 0 && !shared(credential.sharing, chain[0].path)) {
    return { invisible: "not-shared", lostToMandatory: false };
  }
  const named = request.credential === null || request.credential === credential.name;
  if (depth < mandatory) {
    return { invisible: "override-forbidden", lostToMandatory: named };
  }
  return { invisible: named ? null : "name-mismatch", lostToMandatory: false };
}

/** Rule 7: what keeps the credential from being used. */
function unusable({ request, model }, { enabled, readable, expiresAtMs, models }) {
  if (!enabled) {
    return "disabled";
  }
  if (!readable) {
    return "unreadable";
  }
  if (expiresAtMs !== null && unsigned(expiresAtMs, 64) <= unsigned(request.nowMs, 64)) {
    return "expired";
  }
  if (models === null) {
    return null;
  }
  // No model would help a credential that allows none.
  if (model === undefined && models.length > 0) {
    return "model-required";
  }
  return models.some((pattern) => modelMatches(pattern, model)) ? null : "model-not-allowed";
}

/**
 * Rule 6: the visible candidates of the nearest scope that has any, and of the
 * scopes beyond for as long as each one falls back.
 */
function search({ chain, inheritance, reachable, candidates }) {
  const found = [];
  for (const [depth, scope] of chain.slice(0, reachable).entries()) {
    const visible = candidates.filter(
      (candidate) => candidate.depth === depth && candidate.invisible === null,
    );
    found.push(...visible);
    if (visible.length > 0 && inheritance(scope) !== "fall-back") {
      break;
    }
  }
  return found;
}

/** Rules 3 and 8. */
function decideOutcome(view) {
  if (view.mandatory >= view.reachable) {
    return refuse(view, "organization-credential-required");
  }
  const [chosen, ...alternates] = usableOf(view).map(({ credential }) => credential.id);
  if (chosen !== undefined) {
    return {
      tag: "granted",
      val: { credential: chosen, alternates, model: view.model ?? null },
    };
  }
  if (view.search.length > 0) {
    return refuseDefect(view, view.search[0]);
  }
  if (view.candidates.some(({ lostToMandatory }) => lostToMandatory)) {
    return refuse(view, "override-forbidden");
  }
  if (usableOf(look(view.request, view.chain, allOptedIn)).length > 0) {
    return refuse(view, "not-opted-in");
  }
  return refuse(view, "no-credential");
}

function usableOf({ search }) {
  return search.filter(({ unusable }) => unusable === null);
}

const REASONS = {
  "organization-credential-required": (scope, provider) =>
    `a scope above ${scope} requires its own credential for ${provider}, and ${scope} has not opted in to it`,
  "override-forbidden": (scope, provider) =>
    `${scope} may not use these credentials for ${provider} in place of the mandatory one above`,
  "not-opted-in": (scope, provider) =>
    `${scope} has not opted in to the credentials above it for ${provider}`,
  "no-credential": (scope, provider) =>
    `there is no credential for ${provider} that ${scope} could use`,
};

function refuse({ request, chain }, code) {
  return refusal(code, REASONS[code](chain[0].path, request.provider));
}

const DEFECTS = {
  disabled: "is disabled",
  unreadable: "cannot be read",
  expired: "has expired",
  "model-required": "allows only some models, and no model is known",
  "model-not-allowed": "does not allow the model",
};

/** Refuses because the first candidate of the search cannot be used. */
function refuseDefect({ request, chain }, { depth, credential, unusable }) {
  const holder = chain[depth].path;
  return refusal(
    unusable,
    `the credential ${credential.name} of ${holder} for ${request.provider} ${DEFECTS[unusable]}`,
  );
}

function refusal(code, message) {
  return { tag: "refused", val: { code, message } };
}

/** Rule 9: every candidate with the first code that applies. */
function trail({ candidates, search }, outcome) {
  const found = new Set(search);
  const chosen = outcome.tag === "granted" ? outcome.val.credential : null;
  return candidates.map((candidate) => {
    const { credential, invisible, unusable } = candidate;
    const place = credential.id === chosen ? "chosen" : "alternate";
    const code = invisible ?? unusable ?? (found.has(candidate) ? place : "shadowed");
    return { credential: credential.id, code, attributes: [] };
  });
}
