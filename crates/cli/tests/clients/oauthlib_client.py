"""requests-oauthlib introspects tokens with a bearer token, and oauthlib prepares revocations."""

import os

import requests
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

BASE, APP = os.environ["BASE"], os.environ["APP"]
TOKEN, OTHER = os.environ["TOKENS"].split(",")

session = OAuth2Session(token={"access_token": os.environ["CALLER"], "token_type": "Bearer"})


def introspect(**form):
    return session.post(f"{BASE}/introspect", data=form)


def revoke(token):
    client = BackendApplicationClient("my-gateway")
    url, headers, body = client.prepare_token_revocation_request(f"{BASE}/revoke", token)
    return requests.post(url, headers=headers, data=body, timeout=10)


answer = introspect(token=TOKEN).json()
assert (answer["active"], answer["client_id"], answer["sub"]) == (True, APP, APP), answer
assert revoke(TOKEN).status_code == 200
assert introspect(token=TOKEN).json() == {"active": False}
assert revoke(TOKEN).status_code == 200, "revoking a token again is no error"

# What an application may send by mistake. Proxies pass the status and the body on.
assert introspect(token=["a", "b"]).json()["error"] == "invalid_request"
assert introspect(other="a").status_code == 400
assert session.post(f"{BASE}/introspect", json={"token": OTHER}).status_code == 415
assert introspect(token="a" * 10_000).json() == {"active": False}
# Envoy may report that the server closed the connection instead.
assert introspect(token="a" * 10_000_000).status_code in (413, 503)
for method in ["GET", "PUT"]:
    response = session.request(method, f"{BASE}/introspect")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
assert introspect(token=OTHER).json()["active"] is True
