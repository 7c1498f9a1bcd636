// Fastify with @fastify/session and connect-redis.
// Environment: PORT, REDIS_PORT, SECRETS (JSON, newest first).
"use strict";

const fastify = require("fastify")();
const { RedisStore } = require("connect-redis");
const { createClient } = require("redis");

const { PORT, REDIS_PORT, SECRETS } = process.env;
const client = createClient({ socket: { host: "127.0.0.1", port: Number(REDIS_PORT) } });

fastify.register(require("@fastify/cookie"));
fastify.register(require("@fastify/session"), {
  store: new RedisStore({ client }),
  secret: JSON.parse(SECRETS),
  saveUninitialized: false,
  cookie: { secure: false, maxAge: 1800_000 },
});

fastify.get("/login", async ({ session }) => {
  session.user_id = 1001;
  session.user = { name: "王小明 🚀", roles: ["admin", "editor"], nickname: null };
  session.cart = { items: [{ sku: "A-1", quantity: 2 }], total: 19.99 };
  session.since = new Date("2024-02-29T13:14:15.000Z");
  return "1001";
});
fastify.get("/who", async ({ session }) => String(session.user_id ?? "nobody"));
fastify.get("/logout", async ({ session }) => {
  await session.destroy();
  return "gone";
});

client.connect().then(() => fastify.listen({ port: Number(PORT), host: "127.0.0.1" }));
