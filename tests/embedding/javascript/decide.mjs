import { readFileSync } from 'node:fs';
import { Policy } from './policy.mjs';

const module = new WebAssembly.Module(readFileSync('policy.core.wasm'));
const policy = new Policy(module);
for (const line of readFileSync(0, 'utf8').split('\n')) {
  if (line.trim() !== '') console.log(JSON.stringify(policy.decide(line)));
}
