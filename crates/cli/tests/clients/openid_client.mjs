// openid-client introspects and revokes tokens, also for a strategy of Passport.

import assert from "node:assert/strict";
import express from "express";
import * as client from "openid-client";
import passport from "passport";
import { Strategy } from "passport-http-bearer";

const { BASE: base, APP: app, CALLER: caller } = process.env;
const [token, second] = process.env.TOKENS.split(",");
const server = {
  issuer: base,
  introspection_endpoint: `${base}/introspect`,
  revocation_endpoint: `${base}/revoke`,
};
const secret = client.ClientSecretBasic(caller);
const configuration = new client.Configuration(server, "my-gateway", undefined, secret);
client.allowInsecureRequests(configuration);

const answer = await client.tokenIntrospection(configuration, token);
assert.equal(answer.active, true);
assert.equal(answer.client_id, app);
assert.deepEqual(await client.tokenIntrospection(configuration, "unknown"), { active: false });
await client.tokenRevocation(configuration, token);
assert.deepEqual(await client.tokenIntrospection(configuration, token), { active: false });

passport.use(
  new Strategy((presented, done) => {
    client.tokenIntrospection(configuration, presented).then(
      (answer) => done(null, answer.active && { app: answer.client_id }, { scope: answer.scope }),
      done,
    );
  }),
);
const site = express();
site.get("/", passport.authenticate("bearer", { session: false }), (request, response) => {
  response.json(request.user);
});
const listener = site.listen(0, "127.0.0.1");
await new Promise((listening) => listener.once("listening", listening));
const url = `http://127.0.0.1:${listener.address().port}/`;
const get = (token) => fetch(url, { headers: { authorization: `Bearer ${token}` } });
assert.deepEqual(await (await get(second)).json(), { app });
assert.equal((await get(token)).status, 401);
assert.equal((await fetch(url)).status, 401);
listener.close();
listener.closeAllConnections();
