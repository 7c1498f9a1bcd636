// Koa with koa-generic-session and koa-redis (VARIANT=generic), or koa-session with a store of its own (VARIANT=session).
// Environment: PORT, REDIS_PORT, SECRETS (JSON, newest first).
"use strict";

const Koa = require("koa");

const { PORT, REDIS_PORT, SECRETS, VARIANT } = process.env;
const app = new Koa();
app.keys = JSON.parse(SECRETS);

const variants = {
  generic: async () => {
    const session = require("koa-generic-session");
    const redisStore = require("koa-redis");
    return session({ store: redisStore({ host: "127.0.0.1", port: Number(REDIS_PORT) }) });
  },
  session: async () => {
    const { createSession } = require("koa-session");
    const client = require("redis").createClient({ socket: { host: "127.0.0.1", port: Number(REDIS_PORT) } });
    await client.connect();
    const store = {
      get: async (key) => JSON.parse(await client.get(key)),
      set: async (key, value, age) => client.set(key, JSON.stringify(value), { PX: age }),
      destroy: async (key) => client.del(key),
    };
    return createSession({ key: "koa.sess", prefix: "koa:sess:", store, maxAge: 3600_000 }, app);
  },
};

const pages = {
  "/login": (context) => {
    Object.assign(context.session, {
      user_id: 1001,
      user: { name: "王小明 🚀", roles: ["admin", "editor"], nickname: null },
      cart: { items: [{ sku: "A-1", quantity: 2 }], total: 19.99 },
      since: new Date("2024-02-29T13:14:15.000Z"),
    });
    context.body = "1001";
  },
  "/who": (context) => {
    context.body = String(context.session?.user_id ?? "nobody");
  },
  "/logout": (context) => {
    context.session = null;
    context.body = "gone";
  },
};

variants[VARIANT]().then((session) => {
  app.use(session);
  app.use((context) => pages[context.path]?.(context));
  app.listen(Number(PORT), "127.0.0.1");
});
