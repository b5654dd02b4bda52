"""An OpenID Connect provider, written from OpenID Connect Core 1.0, Discovery 1.0 and RFC 7636, on 127.0.0.1.

Its person is signed in there already, so ``/authorize`` sends the browser straight back. ``lie`` makes it answer
wrongly in one respect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from typing import Any
from urllib.parse import parse_qsl

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

CLIENT_ID, CLIENT_SECRET = "paycall", "s3cret/with+signs"
LIES = (
    "nonce", "state", "audience", "second-audience", "issuer", "expired", "alg-none", "alg-hmac", "other-key",
    "no-subject", "no-token", "response-issuer",
)  # fmt: skip


class OidcProvider:
    """Runs in a thread of its own. ``claims`` are the signed-in person's."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {"sub": "person-1", "preferred_username": "anna"}
        self.lie = ""
        self.seen_s_ago = 0
        self.rotate_keys()
        self._codes: dict[str, dict[str, str]] = {}
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.issuer = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(self._app(), log_level="error", lifespan="off"))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> OidcProvider:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(40)
        self._socket.close()

    def rotate_keys(self) -> None:
        """Sign with another key from now on."""
        self.kid = secrets.token_hex(4)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        app.get("/.well-known/openid-configuration")(self._discovery)
        app.get("/jwks")(self._jwks)
        app.get("/authorize")(self._authorize)
        app.post("/token")(self._token)
        return app

    async def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    async def _jwks(self) -> dict[str, Any]:
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**jwk, "kid": self.kid, "use": "sig", "alg": "RS256"}]}

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code" and "openid" in asked["scope"].split()
        assert asked["client_id"] == CLIENT_ID and asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        state = "another" if self.lie == "state" else asked["state"]
        more = "&iss=https://evil.example" if self.lie == "response-issuer" else ""
        return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={state}{more}", status_code=302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        pair = base64.b64encode(f"{CLIENT_ID}:s3cret%2Fwith%2Bsigns".encode()).decode()
        fits = (
            asked is not None
            and asked["code_challenge"] == challenge.rstrip(b"=").decode()
            and asked["redirect_uri"] == form.get("redirect_uri")
            and request.headers.get("authorization") == f"Basic {pair}"
        )
        if not fits or asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if self.lie == "no-token":
            return JSONResponse({"access_token": "x", "token_type": "Bearer"})
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self._id_token(asked)})

    def _id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
            # Core 1.0, 3.1.2.1: a provider that was given max_age says when it saw the person last.
            **({"auth_time": now - self.seen_s_ago} if "max_age" in asked else {}),
        }
        key: Any = self._key
        algorithm = "RS256"
        match self.lie:
            case "nonce":
                claims["nonce"] = "another"
            case "audience":
                claims["aud"] = "somebody-else"
            case "second-audience":
                claims["aud"] = [CLIENT_ID, "somebody-else"]
            case "issuer":
                claims["iss"] = "https://evil.example"
            case "expired":
                claims |= {"iat": now - 900, "exp": now - 600}
            case "no-subject":
                claims.pop("sub")
            case "other-key":
                key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            case "alg-none":
                key, algorithm = None, "none"
            case "alg-hmac":  # signed with what everybody may know
                key, algorithm = (
                    hashlib.sha256(str(self._key.public_key().public_numbers().n).encode()).digest(),
                    "HS256",
                )
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": self.kid})
