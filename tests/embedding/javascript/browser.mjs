// Serves the files to Chromium, calls `decide` of the page, and prints what it returns.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { chromium } from 'playwright-core';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };
const FILES = ['page.html', 'page.mjs', 'policy.mjs', 'facts.mjs', 'policy.js', 'policy.core.wasm'];

const server = createServer((request, response) => {
  const name = request.url.slice(1);
  if (!FILES.includes(name)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[extname(name)] }).end(readFileSync(name));
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: process.getuid() === 0 ? ['--no-sandbox'] : [],
});
try {
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(error));
  page.on('console', (message) => console.error(message.text()));
  await page.goto(`http://127.0.0.1:${server.address().port}/page.html`);
  await page.waitForFunction(() => globalThis.decide);
  const lines = readFileSync(0, 'utf8').split('\n').filter((line) => line.trim() !== '');
  const decided = await page.evaluate((all) => all.map((line) => globalThis.decide(line)), lines);
  for (const decision of decided) console.log(JSON.stringify(decision));
} finally {
  await browser.close();
  server.close();
}
