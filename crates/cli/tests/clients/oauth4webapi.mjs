// oauth4webapi introspects and revokes tokens. It percent-encodes the client's credentials, underscores too.

import assert from "node:assert/strict";
import * as oauth from "oauth4webapi";

const { BASE: base, APP: app, CALLER: caller, OTHER: other } = process.env;
const [token, second] = process.env.TOKENS.split(",");
const server = {
  issuer: base,
  introspection_endpoint: `${base}/introspect`,
  revocation_endpoint: `${base}/revoke`,
};
const client = { client_id: "my gateway" };
const options = { [oauth.allowInsecureRequests]: true };

async function introspect(token, secret = caller) {
  const authentication = oauth.ClientSecretBasic(secret);
  const response = await oauth.introspectionRequest(server, client, authentication, token, options);
  return oauth.processIntrospectionResponse(server, client, response);
}

async function revoke(token, authentication) {
  const response = await oauth.revocationRequest(server, client, authentication, token, options);
  await oauth.processRevocationResponse(response);
}

const answer = await introspect(token);
assert.equal(answer.active, true);
assert.equal(answer.client_id, app);
assert.equal(answer.scope, "orders:read");
assert.deepEqual(await introspect("unknown"), { active: false });
await assert.rejects(introspect(token, other), (error) => {
  assert.equal(error.status ?? error.response?.status, 401);
  return true;
});
await revoke(token, oauth.None());
assert.deepEqual(await introspect(token), { active: false });
await revoke(second, oauth.ClientSecretBasic(caller));
assert.deepEqual(await introspect(second), { active: false });
