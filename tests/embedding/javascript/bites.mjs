// What goes wrong without the checks of facts.mjs and policy.mjs, and does not with them.
// If one of these fails, jco has become better: change the page.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { instantiate } from './policy.js';
import { Policy } from './policy.mjs';

const module = new WebAssembly.Module(readFileSync('policy.core.wasm'));
const fresh = () => instantiate(() => module, {}).resolver;
const policy = new Policy(module);

const NOW = 1767225600000n;
const request = { provider: 'openai', principal: '', nowMs: NOW, settings: '{}', attributes: [] };
const credential = {
  id: 'a', name: 'a', enabled: true, readable: true, sharing: { tag: 'all' },
  mandatory: false, priority: 0, attributes: [],
};
const chain = (changes) =>
  [{ path: 'acme', inheritance: 'isolated', credentials: [{ ...credential, ...changes }], attributes: [] }];
const naive = (changes) => fresh().decide(request, chain(changes)).outcome;
const strict = (changes) => policy.decide(JSON.stringify({
  request: { provider: 'openai', now_ms: Number(NOW) },
  chain: [{ path: 'acme', credentials: [{ id: 'a', name: 'a', ...changes }] }],
}));

// A field that jco does not know is dropped.
assert.equal(naive({ expiresAtMs: 1n }).val.code, 'expired');
assert.equal(naive({ expires_at_ms: 1n }).tag, 'granted');
assert.equal(naive({ 'expires-at-ms': 1n }).tag, 'granted');
assert.equal(strict({ expires_at_ms: 1 }).refused.code, 'expired');
assert.match(strict({ expiresAtMs: 1 }).malformed, /expiresAtMs/);

// A text is true; a field that is missing is false.
assert.equal(naive({ readable: 'false' }).tag, 'granted');
assert.match(strict({ readable: 'false' }).malformed, /readable/);
assert.equal(naive({ enabled: undefined }).val.code, 'disabled');

// JSON.parse rounds: this credential is usable for one more millisecond.
const edge = '{"request":{"provider":"openai","now_ms":9007199254740992},"chain":[{"path":"acme",'
  + '"credentials":[{"id":"a","name":"a","expires_at_ms":9007199254740993}]}]}';
const rounded = JSON.parse(edge);
assert.equal(
  fresh().decide(
    { ...request, nowMs: BigInt(rounded.request.now_ms) },
    chain({ expiresAtMs: BigInt(rounded.chain[0].credentials[0].expires_at_ms) }),
  ).outcome.val.code,
  'expired',
);
assert.equal(policy.decide(edge).granted.credential, 'a');

// A value that cannot be converted leaves what was converted before in the instance's memory,
// for good: a few calls of one caller end the instance for all callers.
const spoiled = fresh();
const long = 'x'.repeat(100_000);
let calls = 0;
for (; calls < 1000; calls += 1) {
  try {
    spoiled.decide({ ...request, provider: long }, chain({ id: 7 }));
  } catch (error) {
    if (!(error instanceof TypeError)) break;
  }
}
assert.ok(calls < 100, `${calls} calls with a bad id`);
assert.throws(() => spoiled.decide({ ...request, provider: long }, chain({})));
for (let call = 0; call < 1000; call += 1) {
  policy.decide(JSON.stringify({ request: { provider: long, now_ms: 1 }, chain: [{ path: 'acme', credentials: [{ id: 7, name: 'a' }] }] }));
}
assert.equal(strict({}).granted.credential, 'a');

// Facts that are too large end the instance; the next decision has a new one.
const large = 'x'.repeat(5_000_000);
assert.ok(policy.decide(JSON.stringify({ request: { provider: large, now_ms: 1 }, chain: [] })).failure);
assert.equal(strict({}).granted.credential, 'a');

console.log('every bite was shown, and refused');
