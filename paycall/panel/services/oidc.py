"""Signing in with the site's own identity provider (OpenID Connect Core 1.0, authorization code with PKCE).

Rules: the ID token's signature is checked against the provider's published keys, with asymmetric algorithms only;
issuer, audience, expiry, nonce and state have to fit; ``state`` is good once, and only in the browser that began.
Which account it is says one claim, by a setting. An account may be made for somebody new, if a setting says so; an
administrator is never made here, and an administrator's role is never changed here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import jwt
from sqlalchemy.orm import Session

from paycall.domain.errors import InputError, NotAllowedError, SettingsError
from paycall.panel.roles import Role
from paycall.panel.services.accounts import LockedError, add_operator, by_name, end_sessions, is_locked
from paycall.settings import OidcSettings
from paycall.store.tables import OperatorRow

# Asymmetric ones only: with "none" or an HMAC, whoever knows the public key could write tokens.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_S = 60
_KEEP_S = 3600.0
_ASK_AGAIN_S = 60.0
_ANSWER_S = 10.0


class OidcError(NotAllowedError):
    """The provider did not vouch for anybody, or not in a way that can be believed."""

    code = "oidc-failed"
    text = "the identity provider's answer was not accepted"


class NoAccountError(NotAllowedError):
    """The provider knows this person, paycall does not."""

    code = "oidc-no-account"
    text = "there is no account for this person here"


@dataclass(frozen=True)
class Begun:
    """A visit to the provider: where the browser goes, and what has to fit when it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


class OidcProvider:
    """The site's identity provider, as its discovery document describes it.

    Raises
    ------
    SettingsError
        If the client secret's file cannot be read.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._secret = ""
        if settings.client_secret_file is not None:
            try:
                self._secret = settings.client_secret_file.read_text("ascii").strip()
            except (OSError, UnicodeDecodeError):
                raise SettingsError(
                    "setting panel.oidc.client_secret_file: the file cannot be read"
                ) from None
        self._tls = (
            ssl.create_default_context()
        )  # what the system trusts, so that a site can add its own authority
        self._document: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._document_at_s = self._keys_at_s = -_KEEP_S

    async def begin(self, redirect_uri: str, now_s: float, *, ask_anew: bool = False) -> Begun:
        """Where to send the browser. ``ask_anew``: the provider asks the person, whoever is signed in there."""
        document = await self._discover(now_s)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": redirect_uri,
                "scope": self.settings.scope,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
                **({"prompt": "login", "max_age": "0"} if ask_anew else {}),
            }
        )
        endpoint = str(document["authorization_endpoint"])
        return Begun(f"{endpoint}{'&' if '?' in endpoint else '?'}{query}", state, nonce, verifier)

    async def finish(
        self, code: str, verifier: str, nonce: str, redirect_uri: str, now_s: float
    ) -> dict[str, Any]:
        """Who it is: the claims of the ID token that the code was good for.

        Raises
        ------
        OidcError
            If there is no token, or anything of it does not fit.
        """
        document = await self._discover(now_s)
        token = await self._exchange(document, code, verifier, redirect_uri)
        claims = await self._verify(document, token, now_s)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise OidcError
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self.settings.client_id:
            raise OidcError
        return claims

    async def _discover(self, now_s: float) -> dict[str, Any]:
        if now_s - self._document_at_s >= _KEEP_S:
            issuer = self.settings.issuer
            document = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            places = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if document.get("issuer") != issuer or not all(
                self._is_safe(document.get(name)) for name in places
            ):
                raise OidcError("the identity provider's description does not fit its settings")
            self._document, self._document_at_s = document, now_s
        return self._document

    def _is_safe(self, url: object) -> bool:
        """As safe as the issuer's own address: TLS, unless that one does without."""
        return isinstance(url, str) and urlsplit(url).scheme in (
            "https",
            urlsplit(self.settings.issuer).scheme,
        )

    async def _exchange(self, document: dict[str, Any], code: str, verifier: str, redirect_uri: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        client_id, headers = self.settings.client_id, {}
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret and "client_secret_basic" in methods:  # RFC 6749, 2.3.1: both encoded as in a form
            pair = f"{quote(client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client_id} | ({"client_secret": self._secret} if self._secret else {})
        answer = await self._ask("POST", str(document["token_endpoint"]), data=form, headers=headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError
        return token

    async def _verify(self, document: dict[str, Any], token: str, now_s: float) -> dict[str, Any]:
        try:
            key = await self._key_of(document, token, now_s)
            return jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self.settings.client_id,
                issuer=self.settings.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError:
            raise OidcError from None

    async def _key_of(self, document: dict[str, Any], token: str, now_s: float) -> jwt.PyJWK:
        """The published key that the token names; asked for anew when it is not known, as keys are changed."""
        header = jwt.get_unverified_header(token)
        for old_enough_s in (_KEEP_S, _ASK_AGAIN_S):
            if now_s - self._keys_at_s >= old_enough_s:
                self._keys, self._keys_at_s = await self._get(str(document["jwks_uri"])), now_s
            keys = [
                key for key in jwt.PyJWKSet.from_dict(self._keys).keys if key.public_key_use in (None, "sig")
            ]
            fitting = [key for key in keys if key.key_id == header.get("kid")] if "kid" in header else keys
            if len(fitting) == 1:
                return fitting[0]
        raise OidcError

    async def _get(self, url: str) -> dict[str, Any]:
        return await self._ask("GET", url)

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=_ANSWER_S, verify=self._tls, trust_env=False) as client:
                answer = await client.request(method, url, **more)
            found = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, json.JSONDecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise OidcError("the identity provider did not answer as it should")
        return found


def was_asked_anew(claims: dict[str, Any], began_at_s: float) -> bool:
    """Whether the provider says that the person signed in there since ``began_at_s`` (Unix time)."""
    at_s = claims.get("auth_time")
    return isinstance(at_s, int | float) and at_s >= began_at_s - _LEEWAY_S


def account_of(
    session: Session, claims: dict[str, Any], settings: OidcSettings, now: datetime
) -> OperatorRow:
    """The account that the claims stand for.

    Raises
    ------
    NoAccountError, LockedError
        If there is none (and none is to be made), its role is not among the settings', or it is locked.
    """
    name = claims.get(settings.name_claim)
    if not isinstance(name, str) or not name:
        raise NoAccountError
    if settings.name_claim == "email" and claims.get("email_verified") is not True:
        raise NoAccountError
    role = _role(claims, settings)
    row = by_name(session, name)
    if row is None:
        if not settings.create_accounts or role is None:
            raise NoAccountError
        row = _make(session, name, role, str(claims.get("name") or name)[:100], now)
    if is_locked(row, now):
        raise LockedError
    if settings.role_claim and row.role != Role.ADMINISTRATOR.value:
        if role is None:
            raise NoAccountError
        if row.role != role.value:
            row.role = role.value
            end_sessions(session, row.id)
    return row


def _make(session: Session, name: str, role: Role, display_name: str, now: datetime) -> OperatorRow:
    try:
        operator_id = add_operator(  # without a password: the provider alone says who it is
            session, name, role, now, display_name=display_name, must_change_password=False
        )
    except InputError:
        raise NoAccountError from None
    return session.get_one(OperatorRow, operator_id)


def _role(claims: dict[str, Any], settings: OidcSettings) -> Role | None:
    """The first of the settings' roles that the claim has; without a claim, everybody is an operator."""
    if not settings.role_claim:
        return Role.OPERATOR
    given = claims.get(settings.role_claim)
    values = given if isinstance(given, list) else [given]
    return next((Role(role) for value, role in settings.roles.items() if value in values), None)
