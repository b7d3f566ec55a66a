// The nearest usable credential wins; the organization may say for which models.
//
// jco gives the contract's names in camel case, an option as a value or null, a
// variant as `{ tag, val }`; the error of a result is thrown.

import { unsigned } from "./number.js";
import { modelMatches, pathMatches } from "./pattern.js";

export const about = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "The nearest usable credential, of the models that the organization allows",
    };
  },
};

export const settings = {
  /** Returns the JSON Schema of the settings. */
  schema() {
    return JSON.stringify({
      type: "object",
      properties: {
        models: {
          description:
            "Patterns of the models that are allowed: * is any run of characters, ? exactly one. Absent means every model.",
          type: "array",
          items: { type: "string", minLength: 1 },
          uniqueItems: true,
        },
      },
      additionalProperties: false,
    });
  },

  /** A model that another pattern also allows is probably a mistake. */
  validate(text) {
    const { models = [] } = JSON.parse(text);
    const problems = [];
    for (const [index, model] of models.entries()) {
      const pattern = models.find((other) => other !== model && modelMatches(other, model));
      if (pattern !== undefined && !/[*?]/.test(model)) {
        problems.push({ path: `/models/${index}`, rule: `is allowed by ${pattern} already` });
      }
    }
    if (problems.length > 0) {
      throw problems;
    }
  },
};

export const resolver = {
  decide(request, chain) {
    try {
      return decide(request, chain);
    } catch (error) {
      // An error that is not caught would end the call without a message.
      throw error instanceof Error ? { tag: "other", val: String(error) } : error;
    }
  },
};

function decide(request, chain) {
  if (chain.length === 0) {
    throw { tag: "invalid-facts", val: "the chain is empty" };
  }
  const { models } = JSON.parse(request.settings);
  const reachable = countReachable(chain);
  const model = effectiveModel(request, chain.slice(0, reachable));
  const view = { request, model, requesting: chain[0].path };
  const forbidden = modelObstacle(models, model);

  let chosen = null;
  const trail = [];
  for (const [depth, scope] of chain.entries()) {
    for (const credential of scope.credentials.toSorted(comparePlaces)) {
      const obstacle =
        depth < reachable ? obstacleOf(view, depth, credential) ?? forbidden : "not-opted-in";
      const code = obstacle ?? (chosen === null ? "chosen" : "shadowed");
      if (code === "chosen") {
        chosen = credential.id;
      }
      trail.push({ credential: credential.id, code, attributes: [] });
    }
  }

  const outcome =
    chosen === null
      ? refuse(view, forbidden ?? "no-credential")
      : { tag: "granted", val: { credential: chosen, alternates: [], model } };
  return { outcome, trail, attributes: [] };
}

/** Returns the number of reachable scopes, starting with the requesting one. */
function countReachable(chain) {
  const last = chain.findIndex((scope) => scope.inheritance === "isolated");
  return last < 0 ? chain.length : last + 1;
}

/** The model of the request, otherwise the nearest default of a reachable scope. */
function effectiveModel(request, reachable) {
  const models = [request.model, ...reachable.map((scope) => scope.defaultModel)];
  return models.find((model) => model !== null) ?? null;
}

/** Sorts by priority, lower first, then by name. */
function comparePlaces(one, other) {
  const priorities = unsigned(one.priority, 32) - unsigned(other.priority, 32);
  return priorities || (one.name < other.name ? -1 : 1);
}

/** Returns why a credential of a reachable scope is not usable; null if it is. */
function obstacleOf({ request, model, requesting }, depth, credential) {
  if (depth > 0 && !shares(credential, requesting)) {
    return "not-shared";
  }
  if (request.credential !== null && request.credential !== credential.name) {
    return "name-mismatch";
  }
  if (!credential.enabled) {
    return "disabled";
  }
  if (!credential.readable) {
    return "unreadable";
  }
  const end = credential.expiresAtMs;
  if (end !== null && unsigned(end, 64) <= unsigned(request.nowMs, 64)) {
    return "expired";
  }
  return modelObstacle(credential.models, model);
}

function shares({ sharing }, requesting) {
  switch (sharing.tag) {
    case "all":
      return true;
    case "none":
      return false;
    default:
      return sharing.val.some((pattern) => pathMatches(pattern, requesting));
  }
}

/** Returns why the patterns do not allow a model; null if they do. */
function modelObstacle(patterns, model) {
  // Without patterns every model is allowed.
  if (patterns == null) {
    return null;
  }
  // An empty list allows no model.
  if (model === null && patterns.length > 0) {
    return "model-required";
  }
  return patterns.some((pattern) => modelMatches(pattern, model)) ? null : "model-not-allowed";
}

function refuse({ request: { provider }, model, requesting }, code) {
  const messages = {
    "model-required": `name a model: only some of ${provider} are allowed`,
    "model-not-allowed": `the model ${model ?? ""} of ${provider} is not one of those that are allowed`,
    "no-credential": `${requesting} has no credential for ${provider} that it could use`,
  };
  return { tag: "refused", val: { code, message: messages[code] } };
}
