// What the contract demands of the facts.

/** Throws the contract's `invalid-facts`, naming what and where. */
export function check(chain) {
  if (chain.length === 0) {
    throw invalid("the chain is empty");
  }
  const beyond = parent(chain.at(-1).path);
  if (beyond !== undefined) {
    throw invalid(`the chain ends below the organization: ${beyond} is missing`);
  }
  for (const [depth, above] of chain.slice(1).entries()) {
    const { path } = chain[depth];
    if (parent(path) !== above.path) {
      throw invalid(`in the chain ${above.path} follows ${path}, but is not its parent`);
    }
  }
  const id = repeated(chain.flatMap((scope) => scope.credentials.map((credential) => credential.id)));
  if (id !== undefined) {
    throw invalid(`the credential id ${id} occurs twice`);
  }
  for (const { path, credentials } of chain) {
    const name = repeated(credentials.map((credential) => credential.name));
    if (name !== undefined) {
      throw invalid(`${path} has two credentials named ${name}`);
    }
  }
}

function invalid(text) {
  return { tag: "invalid-facts", val: text };
}

/** The path less its last segment; none for an organization. */
function parent(path) {
  const end = path.lastIndexOf("/");
  return end < 0 ? undefined : path.slice(0, end);
}

/** The first text that was there before. */
function repeated(texts) {
  const seen = new Set();
  for (const text of texts) {
    if (seen.has(text)) {
      return text;
    }
    seen.add(text);
  }
  return undefined;
}
