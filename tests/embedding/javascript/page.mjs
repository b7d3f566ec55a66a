import { Policy } from './policy.mjs';

const module = await WebAssembly.compileStreaming(fetch('policy.core.wasm'));
const policy = new Policy(module);
globalThis.decide = (line) => policy.decide(line);
