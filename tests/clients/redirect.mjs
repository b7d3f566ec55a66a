// Preloaded into Node.js clients (NODE_OPTIONS=--import): the built-in fetch and the AWS
// client ignore proxies, so their connections to other machines are redirected to the
// recorder, with the original host name.

import net from 'node:net';
import tls from 'node:tls';
import { syncBuiltinESMExports } from 'node:module';

const ports = JSON.parse(process.env.RECORDER_PORTS);
const isLoopback = (host) => host == null || host === 'localhost' || host === '127.0.0.1' || host === '::1';

function redirect(original, port) {
  return function connect(...given) {
    // connect(options), connect(port, host, options), either with a listener.
    const options = Object.assign({}, ...given.filter((argument) => argument !== null && typeof argument === 'object'));
    if (typeof given[0] !== 'object') {
      options.port = given[0];
      if (typeof given[1] === 'string') options.host = given[1];
    }
    const host = options.host ?? options.hostname;
    if (options.socket || options.path || isLoopback(host)) return original.apply(this, given);
    const listener = given.findLast((argument) => typeof argument === 'function');
    const servername = options.servername || host;
    const replaced = { ...options, host: '127.0.0.1', port, servername, lookup: undefined };
    return original.call(this, replaced, ...(listener ? [listener] : []));
  };
}

tls.connect = redirect(tls.connect, ports.tls);
net.connect = redirect(net.connect, ports.proxy);
net.createConnection = redirect(net.createConnection, ports.proxy);
syncBuiltinESMExports();
