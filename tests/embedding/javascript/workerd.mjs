import { readFileSync } from 'node:fs';
import { Miniflare } from 'miniflare';

const worker = new Miniflare({
  modules: [
    { type: 'ESModule', path: 'worker.mjs' },
    { type: 'ESModule', path: 'policy.mjs' },
    { type: 'ESModule', path: 'facts.mjs' },
    { type: 'ESModule', path: 'policy.js' },
    { type: 'CompiledWasm', path: 'policy.core.wasm' },
  ],
  compatibilityDate: '2026-01-01',
});
const response = await worker.dispatchFetch('http://localhost/', {
  method: 'POST',
  body: readFileSync(0),
});
process.stdout.write(await response.text());
await worker.dispose();
