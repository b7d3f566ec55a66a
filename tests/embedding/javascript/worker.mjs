// A Worker compiles nothing while it runs: the module is imported, already compiled.
import module from './policy.core.wasm';
import { Policy } from './policy.mjs';

const policy = new Policy(module);

export default {
  async fetch(request) {
    const lines = (await request.text()).split('\n').filter((line) => line.trim() !== '');
    return new Response(lines.map((line) => JSON.stringify(policy.decide(line)) + '\n').join(''));
  },
};
