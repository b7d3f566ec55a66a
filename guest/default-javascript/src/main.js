// What the component exports. jco gives the contract's names in camel case, an
// option as a value or null, a variant as `{ tag, val }`; the error of a result is
// what is thrown.

import { decide } from "./rules.js";

export const resolver = { decide };

export const settings = {
  /** Nothing can be set. */
  schema() {
    return '{"type": "object", "additionalProperties": false}';
  },

  /** The schema has said it all. */
  validate() {},
};

export const about = {
  describe() {
    return {
      name: "default-javascript",
      version: "0.1.0",
      summary:
        "The built-in policy in JavaScript: nearest opted-in scope first, mandatory credentials above all",
    };
  },
};
