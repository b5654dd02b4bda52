"""Who may call which route: one table, and nothing that is not in it.

A route is known by its name. ``gate`` runs before every route of the app; a route that is missing here is
refused to everybody.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request

from paycall.domain.errors import NotAllowedError
from paycall.panel.rate_limit import RateLimit, TooManyError
from paycall.panel.roles import Permission, Principal
from paycall.panel.services.api_keys import find_program, touch_key
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.sessions import COOKIE, find_principal, session_hash, touch
from paycall.store.database import reading, writing

PUBLIC = None
_P = Permission

ACCESS: dict[str, Permission | None] = {
    # anybody
    "health": PUBLIC,
    "openapi": PUBLIC,
    "docs": PUBLIC,
    "sign_in_page": PUBLIC,
    "sign_in_form": PUBLIC,
    "open_session": PUBLIC,
    "invitation_page": PUBLIC,
    "invitation_form": PUBLIC,
    "oidc_begin": PUBLIC,
    "oidc_return": PUBLIC,
    "begin_passkey_session": PUBLIC,
    "open_passkey_session": PUBLIC,
    "take_webhook": PUBLIC,  # the vault checks its signature
    # signed in
    "account_page": _P.OWN_ACCOUNT,
    "change_account": _P.OWN_ACCOUNT,
    "change_password": _P.OWN_ACCOUNT,
    "set_second_factor": _P.OWN_ACCOUNT,
    "remove_second_factor": _P.OWN_ACCOUNT,
    "begin_proof": _P.OWN_ACCOUNT,
    "begin_passkey": _P.OWN_ACCOUNT,
    "add_passkey": _P.OWN_ACCOUNT,
    "remove_passkey": _P.OWN_ACCOUNT,
    "people_page": _P.MANAGE_PEOPLE,
    "list_operators": _P.MANAGE_PEOPLE,
    "add_operator": _P.MANAGE_PEOPLE,
    "change_operator": _P.MANAGE_PEOPLE,
    "invite_operator": _P.MANAGE_PEOPLE,
    "get_session": _P.OWN_ACCOUNT,
    "close_session": _P.OWN_ACCOUNT,
    "sign_out_form": _P.OWN_ACCOUNT,
    "list_calls": _P.SEE_CALLS,
    "get_call": _P.SEE_CALLS,
    "hang_up": _P.TAKE_PAYMENTS,
    "pause_recording": _P.TAKE_PAYMENTS,
    "start_test_call": _P.TAKE_PAYMENTS,
    "create_link_code": _P.TAKE_PAYMENTS,
    "dial_out": _P.TAKE_PAYMENTS,
    "create_payment": _P.TAKE_PAYMENTS,
    "list_kept_cards": _P.SEE_PAYMENTS,
    "delete_kept_card": _P.DELETE_CARDS,
    "list_payments": _P.SEE_PAYMENTS,
    "get_payment": _P.SEE_PAYMENTS,
    "capture_fields": _P.TAKE_PAYMENTS,
    "drop_field": _P.TAKE_PAYMENTS,
    "end_capture": _P.TAKE_PAYMENTS,
    "authorize_payment": _P.TAKE_PAYMENTS,
    "cancel_payment": _P.TAKE_PAYMENTS,
    "enquire_payment": _P.TAKE_PAYMENTS,
    "set_payment_aside": _P.TAKE_PAYMENTS,
    "settle_payment": _P.SETTLE,
    "void_payment": _P.VOID,
    "refund_payment": _P.REFUND,
    "review_payment": _P.REVIEW,
    "follow_events": _P.SEE_CALLS,
    "board_page": _P.SEE_CALLS,
    "board_fragment": _P.SEE_CALLS,
    "embed_page": _P.SEE_CALLS,
    "history_page": _P.SEE_PAYMENTS,
    "payment_page": _P.SEE_PAYMENTS,
    "export_payments": _P.EXPORT,
    "reports_page": _P.SEE_REPORTS,
    "audit_page": _P.SEE_AUDIT,
    "set_customer": _P.TAKE_PAYMENTS,
    "get_report": _P.SEE_REPORTS,
    "programs_page": _P.MANAGE_PROGRAMS,
    "list_api_keys": _P.MANAGE_PROGRAMS,
    "add_api_key": _P.MANAGE_PROGRAMS,
    "revoke_api_key": _P.MANAGE_PROGRAMS,
    "list_webhooks": _P.MANAGE_PROGRAMS,
    "add_webhook": _P.MANAGE_PROGRAMS,
    "change_webhook": _P.MANAGE_PROGRAMS,
    "remove_webhook": _P.MANAGE_PROGRAMS,
    "test_webhook": _P.MANAGE_PROGRAMS,
    "roll_webhook_secret": _P.MANAGE_PROGRAMS,
    "list_deliveries": _P.MANAGE_PROGRAMS,
    "resend_delivery": _P.MANAGE_PROGRAMS,
    "deliveries_page": _P.MANAGE_PROGRAMS,
}


# What one may do before a new password or a second factor that the site asks for is there.
UNFINISHED = frozenset(
    {
        "account_page",
        "change_account",
        "change_password",
        "set_second_factor",
        "begin_proof",
        "get_session",
        "close_session",
        "sign_out_form",
    }
)


class UnfinishedError(NotAllowedError):
    """First the account has to be put in order."""

    code = "account-unfinished"
    text = "set a new password or the second factor first"


class NotSignedInError(NotAllowedError):
    """Nobody is signed in, or not any more."""

    code = "not-signed-in"
    text = "sign in first"
    http_status = 401


def context_of(request: Request) -> Context:
    """The app's services' context."""
    context = request.app.state.context
    assert isinstance(context, Context)  # noqa: S101 - set by create_app
    return context


async def gate(request: Request) -> None:
    """Refuse whoever may not call this route; note who may in ``request.state.principal``.

    Raises
    ------
    NotSignedInError, NotAllowedError
        By the table.
    """
    name = getattr(request.scope.get("route"), "name", "")
    if name not in ACCESS:
        raise NotAllowedError
    needed = ACCESS[name]
    principal = await asyncio.to_thread(_find, request, context_of(request), name != "follow_events")
    request.state.principal = principal
    if needed is PUBLIC:
        return
    if principal is None:
        raise NotSignedInError
    if principal.unfinished and name not in UNFINISHED:
        raise UnfinishedError
    if not principal.may(needed):
        await asyncio.to_thread(_note_refused, request, context_of(request), principal, name)
        raise NotAllowedError


def _note_refused(request: Request, context: Context, principal: Principal, route: str) -> None:
    """Somebody we know asked for what is not theirs (PCI DSS 10.2.1.4)."""
    address = request.client.host if request.client else ""
    with writing(context.deps.database) as session:
        note(session, context.now(), principal.id, "access", target=route, result="refused", address=address)


def _find(request: Request, context: Context, is_activity: bool) -> Principal | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and request.url.path.startswith("/api/"):
        return _find_program(request, context, key.strip())
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    token_hash, now = session_hash(cookie), context.now()
    idle = timedelta(minutes=context.deps.settings.idle_minutes)
    with reading(context.deps.database) as session:
        found = find_principal(session, token_hash, now, idle, context.deps.settings.require_second_factor)
    if found is None:
        return None
    principal, should_touch = found
    if should_touch and is_activity:
        with writing(context.deps.database) as session:
            touch(session, token_hash, now)
    return principal


def _find_program(request: Request, context: Context, key: str) -> Principal | None:
    """The program that holds the key. A key never falls back to a cookie, and each has a limit of its own.

    Raises
    ------
    TooManyError
        If the key, or whoever tries wrong ones, asks too often.
    """
    now = context.now()
    with reading(context.deps.database) as session:
        found = find_program(session, key, now, context.deps.site.language)
    address = request.client.host if request.client else ""
    limit: RateLimit = request.app.state.key_limit
    if not limit.allows(found[0].id if found else address, context.deps.clock.monotonic()):
        raise TooManyError
    if found is None:
        return None
    principal, should_touch = found
    if should_touch:
        with writing(context.deps.database) as session:
            touch_key(session, principal.id, now)
    return principal


def _principal(request: Request) -> Principal:
    principal = request.state.principal
    if principal is None:
        raise NotSignedInError
    assert isinstance(principal, Principal)  # noqa: S101 - set by gate
    return principal


SignedIn = Annotated[Principal, Depends(_principal)]
InContext = Annotated[Context, Depends(context_of)]
