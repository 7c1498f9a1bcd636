// The demo's second login: Express, express-session and connect-redis as their READMEs say.
// Usage: node app.js SOCKET REDIS_SOCKET SECRET_FILE

import { chmodSync, readFileSync } from "node:fs";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const [socket, redisSocket, secretFile] = process.argv.slice(2);
const users = {
  alice: { id: 1001, name: "Alice Łukasik", roles: ["admin", "editor"] },
  bob: { id: 1002, name: "Bob", roles: ["editor"] },
};
const style = readFileSync(new URL("../style.css", import.meta.url), "utf8");

const client = createClient({ socket: { path: redisSocket } });
client.on("error", (error) => console.error(error.message));
await client.connect();

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use(
  session({
    store: new RedisStore({ client }),
    secret: readFileSync(secretFile, "utf8").trim(),
    cookie: { httpOnly: true, sameSite: "lax" },
    resave: false,
    saveUninitialized: false,
  }),
);

app.get("/express/", (request, response) => {
  const user = request.session.user;
  response.send(
    page(
      user
        ? `<p>Logged in as <b>${user.name}</b>.</p><form method="post" action="/express/logout"><button>Log out</button></form>`
        : `<form method="post" action="/express/login"><label>User <input name="user" value="alice"></label>
<label>Password <input name="password" type="password" value="alice"></label><button>Log in</button></form>`,
    ),
  );
});

app.post("/express/login", (request, response, next) => {
  const { user, password } = request.body ?? {};
  if (!Object.hasOwn(users, user) || password !== user) return response.status(403).send(page("<p>No such user.</p>"));
  request.session.regenerate((error) => {
    if (error) return next(error);
    request.session.user = users[user];
    response.redirect(303, "/express/");
  });
});

app.post("/express/logout", (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.redirect(303, "/express/")));
});

app.listen(socket, () => chmodSync(socket, 0o666));

function page(body) {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Express</title>
<style>${style}</style>
<body><p class="who">Application C · Express · writes the session</p><h1>Express</h1>${body}
<p><a href="/express/app/">/express/app/</a> application B, told by nginx who this is · <a href="/">Back</a></p></body></html>`;
}
