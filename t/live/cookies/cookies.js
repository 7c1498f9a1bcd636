// Node's cookie parsers. Usage: node cookies.js PARSER NAME [KEY]
// A Cookie header in hexadecimal a line; the value under the name likewise, or "-".
'use strict';

const { createRequire } = require('node:module');
const { join } = require('node:path');
const readline = require('node:readline');

const [, , which, name, key] = process.argv;
// The copy that a package itself uses, which need not be the newest.
const from = (...path) => createRequire(join(__dirname, '../node/node_modules', ...path, 'package.json'));
const plain = (cookie) => {
  const parse = cookie.parse || cookie.parseCookie;
  return (header) => parse(header)[name];
};
const parsers = {
  'cookie': () => plain(from('..')('cookie')),
  'express-session': () => plain(from('express-session')('cookie')),
  'fastify': async () => {
    const app = from('..')('fastify')();
    await app.register(from('..')('@fastify/cookie'));
    await app.ready();
    return (header) => app.parseCookie(header)[name];
  },
  'koa': () => {
    const Cookies = from('..')('cookies');
    const response = { getHeader() {}, setHeader() {} };
    return (header) => new Cookies({ headers: { cookie: header } }, response, { keys: [key], secure: false }).get(name, { signed: true });
  },
};

async function main() {
  const parse = await parsers[which]();
  const answers = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const value = parse(Buffer.from(line, 'hex').toString('latin1'));
    answers.push(typeof value === 'string' ? Buffer.from(value).toString('hex') : '-');
  }
  process.stdout.write(answers.join('\n') + '\n');
}

main();
