// The JSON of facts and decisions, as the conformance vectors have it, and the values
// that a component transpiled by jco takes and returns.
//
// jco ignores fields that it does not know and converts values that do not fit, so a
// misspelt `expires_at_ms` grants an expired credential. Here everything that is not
// exactly of the contract is an error.

/** Facts that are not of the contract. No policy has seen them. */
export class MalformedFacts extends Error {}

/** Reads the JSON of facts into the arguments of `decide`. */
export function readFacts(text, settings = '{}') {
  const { request, chain } = FACTS(parse(text), 'facts');
  return [{ ...request, settings }, chain];
}

/** The decision in the JSON form of the vectors. */
export function writeDecision({ outcome: { tag, val }, trail, attributes }) {
  const outcome = tag === 'granted'
    ? {
        credential: val.credential,
        ...(val.alternates.length > 0 && { alternates: val.alternates }),
        ...(val.model !== undefined && { model: val.model }),
      }
    : { code: val.code, message: val.message };
  return {
    [tag]: outcome,
    trail: trail.map((finding) => ({
      credential: finding.credential,
      code: finding.code,
      ...pairs(finding.attributes),
    })),
    ...pairs(attributes),
  };
}

const pairs = (list) => list.length > 0 && { attributes: Object.fromEntries(list) };

// The shapes of the contract. A reader takes a parsed value and where it was found.

const malformed = (where, rule) => {
  throw new MalformedFacts(`${where}: ${rule}`);
};

const text = (value, where) =>
  typeof value === 'string' ? value : malformed(where, 'must be a string');
const bool = (value, where) =>
  typeof value === 'boolean' ? value : malformed(where, 'must be true or false');
const u64 = (value, where) =>
  typeof value === 'bigint' && value < 2n ** 64n ? value : malformed(where, 'must be a u64');
const u32 = (value, where) =>
  typeof value === 'bigint' && value < 2n ** 32n ? Number(value) : malformed(where, 'must be a u32');
const list = (item) => (value, where) =>
  Array.isArray(value)
    ? value.map((each, index) => item(each, `${where}/${index}`))
    : malformed(where, 'must be a list');
const oneOf = (...names) => (value, where) =>
  names.includes(value) ? value : malformed(where, `must be one of ${names.join(', ')}`);

// A field that must be there; one with a default; one where null means the same as absence.
const required = (read) => ({ read, absent: malformed });
const optional = (read, otherwise) => ({ read, absent: () => otherwise });
const option = (read) =>
  optional((value, where) => (value === null ? undefined : read(value, where)), undefined);

const camelCase = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

const record = (fields) => (value, where) => {
  if (!(value instanceof Map)) malformed(where, 'must be an object');
  for (const name of value.keys()) {
    if (!Object.hasOwn(fields, name)) malformed(`${where}/${name}`, 'is no field of the contract');
  }
  return Object.fromEntries(Object.entries(fields).map(([name, { read, absent }]) => {
    const at = `${where}/${name}`;
    return [camelCase(name), value.has(name) ? read(value.get(name), at) : absent(at, 'is missing')];
  }));
};

const attributes = optional((value, where) => {
  if (!(value instanceof Map)) malformed(where, 'must be an object');
  const read = [...value].map(([name, each]) => [name, text(each, `${where}/${name}`)]);
  return read.sort(([a], [b]) => (a < b ? -1 : 1));
}, []);

const sharing = (value, where) => {
  if (value === 'all' || value === 'none') return { tag: value };
  if (value instanceof Map && value.size === 1 && value.has('paths')) {
    return { tag: 'paths', val: list(text)(value.get('paths'), `${where}/paths`) };
  }
  return malformed(where, 'must be "all", "none" or {"paths": […]}');
};

const CREDENTIAL = record({
  id: required(text),
  name: required(text),
  enabled: optional(bool, true),
  readable: optional(bool, true),
  expires_at_ms: option(u64),
  models: option(list(text)),
  sharing: optional(sharing, { tag: 'all' }),
  mandatory: optional(bool, false),
  priority: optional(u32, 0),
  attributes,
});

const SCOPE = record({
  path: required(text),
  inheritance: optional(oneOf('isolated', 'inherit', 'fall-back'), 'isolated'),
  default_model: option(text),
  credentials: optional(list(CREDENTIAL), []),
  attributes,
});

const REQUEST = record({
  provider: required(text),
  model: option(text),
  credential: option(text),
  principal: optional(text, ''),
  now_ms: required(u64),
  attributes,
});

const FACTS = record({ request: required(REQUEST), chain: required(list(SCOPE)) });

// JSON.parse rounds numbers above 2^53 and keeps the last of two equal names. This parser
// returns numbers as bigint, objects as Map, and takes whole numbers from 0 on only.

const TOKEN = /[ \t\n\r]*(?:([[\]{},:])|(")|((?:0|[1-9][0-9]{0,19})(?![0-9.eE]))|(true|false|null)(?![a-z])|$)/y;
const MAX_DEPTH = 32;

function parse(source) {
  let at = 0;
  const next = () => {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(source);
    if (!found) malformed(`character ${at}`, 'is not part of the JSON of facts');
    at = TOKEN.lastIndex;
    const [, mark, quote, digits, word] = found;
    if (quote !== undefined) return { value: string() };
    if (digits !== undefined) return { value: BigInt(digits) };
    if (word !== undefined) return { value: JSON.parse(word) };
    return { mark };
  };
  // The rest of a string whose opening quote was read.
  const string = () => {
    const start = at - 1;
    while (at < source.length && source[at] !== '"') at += source[at] === '\\' ? 2 : 1;
    at += 1;
    let value;
    try {
      value = JSON.parse(source.slice(start, at));
    } catch {
      malformed(`character ${start}`, 'is no string');
    }
    return value.isWellFormed() ? value : malformed(`character ${start}`, 'has half a character');
  };
  const expect = (mark, token) => {
    if (token.mark !== mark) malformed(`character ${at}`, `must be ${mark}`);
  };
  // The elements up to the closing mark, with commas between them.
  const elements = (close, read) => {
    let token = next();
    if (token.mark === close) return;
    for (;;) {
      read(token);
      token = next();
      if (token.mark === close) return;
      expect(',', token);
      token = next();
    }
  };
  const value = (token, depth) => {
    if ('value' in token) return token.value;
    if (depth > MAX_DEPTH) malformed(`character ${at}`, 'is nested too deep');
    if (token.mark === '[') {
      const found = [];
      elements(']', (element) => found.push(value(element, depth + 1)));
      return found;
    }
    expect('{', token);
    const found = new Map();
    elements('}', ({ value: name }) => {
      if (typeof name !== 'string') malformed(`character ${at}`, 'must be a name');
      if (found.has(name)) malformed(`character ${at}`, `the name ${name} occurs twice`);
      expect(':', next());
      found.set(name, value(next(), depth + 1));
    });
    return found;
  };
  const root = value(next(), 0);
  const end = next();
  if ('value' in end || end.mark !== undefined) malformed(`character ${at}`, 'must be the end');
  return root;
}
