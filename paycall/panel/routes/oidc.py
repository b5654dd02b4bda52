"""Signing in with the site's identity provider: there, and back again."""

from __future__ import annotations

import hmac
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError, PaycallError
from paycall.panel.access import InContext
from paycall.panel.pages import safe_next
from paycall.panel.problems import status_of
from paycall.panel.rate_limit import RateLimit, TooManyError
from paycall.panel.routes.session import address_of, place_of, set_cookie
from paycall.panel.routes.sign_in import page_with
from paycall.panel.services.context import Context
from paycall.panel.services.oidc import OidcError, OidcProvider, account_of, was_asked_anew
from paycall.panel.services.sessions import ASKED_ANEW
from paycall.panel.services.sign_in_steps import begin, finish, step_id
from paycall.panel.services.signing_in import note_refusal, open_for

router = APIRouter(include_in_schema=False)
_PATH = "/sign-in/oidc"
_COOKIE = "paycall_oidc"
_PURPOSE = "oidc"
Part = Annotated[str, Query(max_length=4000)]


@router.get(_PATH, name="oidc_begin")
async def oidc_begin(
    request: Request,
    context: InContext,
    next: str = "/",  # noqa: A002 - in the URL
    again: bool = False,
) -> Response:
    """Go to the provider. ``again``: whoever is signed in there is asked anew."""
    provider = _provider(request)
    limit: RateLimit = request.app.state.sign_in_limit
    if not limit.allows(address_of(request), context.deps.clock.monotonic()):
        raise TooManyError
    try:
        begun = await provider.begin(_redirect_uri(request), context.deps.clock.monotonic(), ask_anew=again)
    except PaycallError as error:
        return page_with(request, safe_next(next), error=error.code, status=502)
    kept = json.dumps(
        {
            "nonce": begun.nonce,
            "verifier": begun.verifier,
            "next": safe_next(next)[:500],
            "asked_at": context.now().timestamp() if again else None,
        }
    )
    token = begun.state.encode()
    sealed = context.sealer.seal(kept, step_id(token))
    await context.write(lambda session: begin(session, _PURPOSE, token, context.now(), sealed=sealed))
    response = RedirectResponse(begun.url, status_code=303)
    response.set_cookie(
        _COOKIE,
        begun.state,
        max_age=300,
        path=_PATH,
        httponly=True,
        samesite="lax",
        secure=place_of(request).origin.startswith("https:"),
    )
    return response


@router.get(f"{_PATH}/callback", name="oidc_return")
async def oidc_return(
    request: Request, context: InContext, code: Part = "", state: Part = "", iss: Part = ""
) -> Response:
    """Come back from the provider: sign in, or say what did not fit."""
    provider = _provider(request)
    target = "/"
    try:
        # Only the browser that began may end it: else somebody could sign others in to an account of theirs.
        if not hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), state.encode()) or not code:
            raise OidcError
        if iss and iss != provider.settings.issuer:  # RFC 9207
            raise OidcError
        kept = await context.write(lambda session: _kept(session, context, state.encode()))
        target = kept["next"]
        claims = await provider.finish(
            code, kept["verifier"], kept["nonce"], _redirect_uri(request), context.deps.clock.monotonic()
        )

        asked_at_s = kept.get("asked_at")
        if asked_at_s is not None and not was_asked_anew(claims, asked_at_s):
            raise OidcError
        method = "oidc" if asked_at_s is None else ASKED_ANEW

        def sign_in(session: Session) -> str:
            now = context.now()
            row = account_of(session, claims, provider.settings, now)
            return open_for(session, row, now, "oidc-sign-in", address_of(request), method=method)

        cookie = await context.write(sign_in)
    except PaycallError as error:
        note_refusal(context, None, error, address_of(request))
        response: Response = page_with(request, target, error=error.code, status=status_of(error))
    else:
        response = RedirectResponse(target, status_code=303)
        set_cookie(request, response, cookie)
    response.delete_cookie(_COOKIE, path=_PATH)
    return response


def _kept(session: Session, context: Context, token: bytes) -> dict[str, Any]:
    row = finish(session, _PURPOSE, token, context.now())
    return dict(json.loads(context.sealer.open(row.sealed or "", row.id)))


def _provider(request: Request) -> OidcProvider:
    provider = request.app.state.oidc
    if provider is None:
        raise NotFoundError
    assert isinstance(provider, OidcProvider)  # noqa: S101 - set by create_app
    return provider


def _redirect_uri(request: Request) -> str:
    return f"{place_of(request).origin}{_PATH}/callback"
