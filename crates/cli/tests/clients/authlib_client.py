"""Authlib introspects and revokes tokens, with requests and with httpx."""

import asyncio
import os

from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session

BASE, APP = os.environ["BASE"], os.environ["APP"]
CALLER, OTHER = os.environ["CALLER"], os.environ["OTHER"]
FIRST, SECOND = os.environ["TOKENS"].split(",")
INTROSPECT, REVOKE = f"{BASE}/introspect", f"{BASE}/revoke"


def check_active(answer):
    assert answer["active"] is True, answer
    assert answer["client_id"] == APP, answer
    assert answer["scope"] == "orders:read", answer
    assert answer["exp"] > answer["iat"], answer


with OAuth2Session("my-gateway", CALLER) as session:
    response = session.introspect_token(INTROSPECT, token=FIRST, token_type_hint="access_token")
    check_active(response.json())
    assert response.headers["Cache-Control"] == "no-store"
    assert session.introspect_token(INTROSPECT, token="unknown").content == b'{"active":false}'
    assert session.revoke_token(REVOKE, token=FIRST, token_type_hint="access_token").status_code == 200
    assert session.introspect_token(INTROSPECT, token=FIRST).json() == {"active": False}

with OAuth2Session("my-gateway", OTHER) as session:
    response = session.introspect_token(INTROSPECT, token=SECOND)
    assert response.status_code == 401
    assert response.json()["error"] == "insufficient_scope"
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


async def with_httpx():
    async with AsyncOAuth2Client("my-gateway", CALLER) as session:
        response = await session.introspect_token(INTROSPECT, token=SECOND)
        check_active(response.json())
        response = await session.revoke_token(REVOKE, token=SECOND)
        assert response.status_code == 200
        response = await session.introspect_token(INTROSPECT, token=SECOND)
        assert response.json() == {"active": False}


asyncio.run(with_httpx())
