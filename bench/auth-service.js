// The service behind auth_request: the cookie's session from Redis, the user in a header of an empty answer.
// Usage: node auth-service.js PORT REDIS_PORT
//
// Written to cost little, so that the comparison does not favour the module: nothing but Node's own modules, a Redis client of
// thirty lines that sends what one turn of the loop asked for in one write, and no check of the cookie's signature.

const http = require("node:http");
const net = require("node:net");

const [port, redisPort] = process.argv.slice(2).map(Number);

const redis = net.connect(redisPort, "127.0.0.1").setNoDelay(true);
const waiting = [];
let unsent = "";
let received = Buffer.alloc(0);

function get(key, done) {
  if (unsent === "") setImmediate(flush);
  unsent += `*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`;
  waiting.push(done);
}

function flush() {
  redis.write(unsent, "latin1");
  unsent = "";
}

redis.on("data", (chunk) => {
  received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
  let at = 0;
  for (;;) {
    const end = received.indexOf("\r\n", at);
    if (end < 0) break;
    const length = Number(received.latin1Slice(at + 1, end));
    const next = length < 0 ? end + 2 : end + 4 + length;
    if (next > received.length) break;
    waiting.shift()(length < 0 ? null : received.utf8Slice(end + 2, end + 2 + length));
    at = next;
  }
  received = received.subarray(at);
});

const server = http.createServer((request, response) => {
  const id = /(?:^|; )connect\.sid=s%3A([\w-]+)\./.exec(request.headers.cookie ?? "")?.[1];
  if (id === undefined) return response.writeHead(401, { "Content-Length": 0 }).end();
  get(`sess:${id}`, (value) => {
    if (value === null) return response.writeHead(401, { "Content-Length": 0 }).end();
    response.writeHead(200, { "Content-Length": 0, "X-User-Id": JSON.parse(value).user.id }).end();
  });
});
server.keepAliveTimeout = 0;
server.listen(port, "127.0.0.1");
