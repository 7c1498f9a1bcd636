// Express with express-session and connect-memcached.
// Environment: PORT, MEMCACHED_PORT, SECRETS (JSON, newest first).
"use strict";

const express = require("express");
const session = require("express-session");
const MemcachedStore = require("connect-memcached")(session);

const { PORT, MEMCACHED_PORT, SECRETS } = process.env;
const app = express();

app.use(
  session({
    store: new MemcachedStore({ hosts: [`127.0.0.1:${MEMCACHED_PORT}`] }),
    secret: JSON.parse(SECRETS),
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 1800_000 },
  }),
);

app.get("/login", (request, response) => {
  Object.assign(request.session, {
    user_id: 1001,
    user: { name: "王小明 🚀", roles: ["admin", "editor"], nickname: null },
    cart: { items: [{ sku: "A-1", quantity: 2 }], total: 19.99 },
    since: new Date("2024-02-29T13:14:15.000Z"),
  });
  response.send("1001");
});
app.get("/who", (request, response) => response.send(String(request.session.user_id ?? "nobody")));
app.get("/logout", (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.send("gone")));
});

app.listen(Number(PORT), "127.0.0.1");
