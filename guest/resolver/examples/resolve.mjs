// Resolves a request on a bundle, in Node.js: the resolver core, and age-encryption for the secret.
//
//     node resolve.mjs CORE BUNDLE REQUEST [IDENTITY]
//
// prints the answer, or with an identity the opened secret, as JSON.

import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

// Answers a request in a fresh instance. All texts are bytes.
export function answer(module, bundle, request) {
  const exports = new WebAssembly.Instance(module, {}).exports;
  const give = (text) => {
    const address = exports.entail_allocate(text.length) >>> 0;
    if (address === 0) throw new RangeError("the bundle does not fit into the memory of the core");
    new Uint8Array(exports.memory.buffer, address, text.length).set(text);
    return [address, text.length];
  };
  const found = BigInt.asUintN(64, exports.entail_resolve(...give(bundle), ...give(request)));
  if (found === 0n) throw new RangeError("the answer does not fit into the memory of the core");
  const [address, length] = [Number(found >> 32n), Number(found & 0xffffffffn)];
  return new TextDecoder().decode(new Uint8Array(exports.memory.buffer, address, length));
}

// Opens the secret of a lease, and checks that it was sealed for what the bundle says.
export async function openSecret(lease, identities) {
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  identities.forEach((identity) => decrypter.addIdentity(identity));
  const sealed = Uint8Array.from(atob(lease.sealed), (byte) => byte.charCodeAt(0));
  const plain = await decrypter.decrypt(sealed);
  const decode = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  const first = plain.indexOf(10);
  const second = plain.indexOf(10, first + 1);
  if (decode(plain.subarray(0, first)) !== "entail-secret/1") {
    throw new Error("the secret has another format");
  }
  const header = JSON.parse(decode(plain.subarray(first + 1, second)));
  const names = header.fields.map(([name]) => name).sort();
  for (const member of new Set([...Object.keys(header), ...Object.keys(lease.frame)])) {
    const found = member === "fields" ? names : header[member];
    if (JSON.stringify(found) !== JSON.stringify(lease.frame[member])) {
      throw new Error(`the secret belongs elsewhere: its ${member} differs`);
    }
  }
  const fields = {};
  let start = second + 1;
  for (const [name, length] of header.fields) {
    fields[name] = decode(plain.subarray(start, start + length));
    start += length;
  }
  if (start > plain.length || plain.subarray(start).some((byte) => byte !== 0)) {
    throw new Error("the secret is damaged");
  }
  return fields;
}

async function main(files) {
  if (files.length < 3 || files.length > 4) {
    throw new Error("usage: resolve.mjs CORE BUNDLE REQUEST [IDENTITY]");
  }
  const [core, bundle, request, identity] = await Promise.all(files.map((file) => readFile(file)));
  const text = answer(new WebAssembly.Module(core), bundle, request);
  const { resolved } = JSON.parse(text);
  if (resolved === undefined || (identity !== undefined && resolved.lease === undefined)) {
    throw new Error(text);
  }
  if (identity === undefined) return text;
  const lines = identity.toString().split("\n").map((line) => line.trim());
  const identities = lines.filter((line) => line.startsWith("AGE-SECRET-KEY-"));
  return JSON.stringify(await openSecret(resolved.lease, identities));
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log(await main(process.argv.slice(2)));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
