import { instantiate } from './policy.js';
import { MalformedFacts, readFacts, writeDecision } from './facts.mjs';

/** A policy that jco has transpiled to policy.js. */
export class Policy {
  #module;
  #instance;

  /** Takes the compiled module policy.core.wasm. */
  constructor(module) {
    this.#module = module;
  }

  /** Decides the facts in `text`: an object in the JSON form of the vectors. */
  decide(text) {
    try {
      const [request, chain] = readFacts(text);
      this.#instance ??= instantiate(() => this.#module, {});
      return writeDecision(this.#instance.resolver.decide(request, chain));
    } catch (error) {
      if (error instanceof MalformedFacts) return { malformed: error.message };
      // After anything thrown an instance may hold half of a call: make a new one.
      this.#instance = undefined;
      if (error.payload) return { error: error.payload.tag, message: error.payload.val };
      return { failure: String(error) };
    }
  }
}
