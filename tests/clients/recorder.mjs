// A recording server on loopback. It replaces every vendor and writes one line of JSON for
// each request.
//
//   plain   requests to a custom base URL: HTTP/1 and HTTP/2 without TLS
//   stray   the same, for requests that follow a stray variable or file of the caller
//   proxy   a proxy for HTTPS_PROXY and HTTP_PROXY: it does not connect, but answers as the
//           requested host, with a certificate of a temporary authority
//   tls     the same without CONNECT, for clients that ignore proxies (redirect.mjs)
//
// Usage: node recorder.mjs DIRECTORY
// The directory must contain ca.pem and ca.key of the authority, and leaf.key. The server
// writes the ports to ports.json and the requests to requests.jsonl there.

import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';

import { answer } from './answers.mjs';

const directory = process.argv[2];
const inDirectory = (name) => path.join(directory, name);
const record = (entry) => appendFileSync(inDirectory('requests.jsonl'), `${JSON.stringify(entry)}\n`);

const contexts = new Map();

/** A certificate for the host, signed by the throwaway authority. */
function contextFor(host) {
  if (!contexts.has(host)) {
    const base = inDirectory(`leaf-${contexts.size}`);
    const kind = net.isIP(host) ? 'IP' : 'DNS';
    writeFileSync(`${base}.ext`, `subjectAltName=${kind}:${host}\nextendedKeyUsage=serverAuth\n`);
    const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe' });
    openssl('req', '-new', '-key', inDirectory('leaf.key'), '-subj', '/CN=recorder', '-out', `${base}.csr`);
    openssl(
      'x509', '-req', '-in', `${base}.csr`, '-CA', inDirectory('ca.pem'), '-CAkey', inDirectory('ca.key'),
      '-CAcreateserial', '-days', '2', '-extfile', `${base}.ext`, '-out', `${base}.pem`,
    );
    contexts.set(host, tls.createSecureContext({
      cert: readFileSync(`${base}.pem`),
      key: readFileSync(inDirectory('leaf.key')),
    }));
  }
  return contexts.get(host);
}

/** Records a request of HTTP/1 or HTTP/2 and answers it. */
function handler(via) {
  return (request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !name.startsWith(':')));
      const body = Buffer.concat(chunks);
      const socket = request.socket ?? request.stream?.session?.socket;
      // A proxy gets the whole URL.
      const absolute = /^https?:\/\/([^/]+)(\/.*)?$/.exec(request.url);
      const entry = {
        via,
        host: absolute?.[1] ?? request.headers[':authority'] ?? request.headers.host,
        // The host of the connection, regardless of the request.
        server: via === 'proxy' && socket?.servername ? socket.servername : undefined,
        method: request.method,
        path: absolute ? (absolute[2] ?? '/') : request.url,
        headers,
        body: body.toString('latin1').slice(0, 4000),
      };
      record(entry);
      answer(entry, response);
    });
  };
}

/** A listener that takes HTTP/1 and HTTP/2 without TLS on one port. */
function plainServer(via) {
  const one = http.createServer(handler(via));
  const two = http2.createServer(handler(via));
  return net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (first) => {
      socket.pause();
      socket.unshift(first);
      (first.toString('latin1', 0, 3) === 'PRI' ? two : one).emit('connection', socket);
      process.nextTick(() => socket.resume());
    });
  });
}

const secure = http2.createSecureServer(
  {
    allowHTTP1: true,
    SNICallback: (host, done) => {
      try {
        done(null, contextFor(host));
      } catch (error) {
        done(error);
      }
    },
    cert: undefined,
  },
  handler('proxy'),
);
secure.on('sessionError', () => {});
secure.on('tlsClientError', (error, socket) => {
  record({ via: 'proxy', host: socket?.servername, failed: error.code ?? String(error) });
});

const proxy = http.createServer(handler('proxy'));
proxy.on('connect', (request, socket, head) => {
  record({ via: 'proxy', connect: request.url });
  socket.on('error', () => {});
  socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
  if (head.length > 0) socket.unshift(head);
  secure.emit('connection', socket);
});

const ports = {};
const servers = { plain: plainServer('plain'), stray: plainServer('stray'), proxy, tls: secure };
for (const [name, server] of Object.entries(servers)) {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  ports[name] = server.address().port;
}
writeFileSync(inDirectory('ports.json.new'), JSON.stringify(ports));
execFileSync('mv', [inDirectory('ports.json.new'), inDirectory('ports.json')]);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
