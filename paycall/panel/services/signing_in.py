"""The steps of signing in and out, with their line in the audit."""

from __future__ import annotations

from paycall.panel.roles import Principal
from paycall.panel.services.accounts import LockedError, SignInError, by_name, check_sign_in
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.sessions import close_session, open_session, principal_of
from paycall.store.database import reading, writing


def sign_in(context: Context, name: str, password: str, address: str) -> tuple[Principal, str]:
    """Check name and password; gives who it is and the cookie of a new session.

    Raises
    ------
    SignInError, LockedError
        Without telling which part was wrong.
    """
    now = context.now()
    engine = context.deps.database
    try:
        with writing(engine) as session:
            row = check_sign_in(session, name, password, now)
            if row is not None:
                cookie = open_session(session, row.id, now)
                note(session, now, row.id, "sign-in", result="done", address=address)
                return principal_of(row), cookie
            tried = by_name(session, name)
            note(session, now, tried.id if tried else None, "sign-in", result="refused", address=address)
    except LockedError:
        with reading(engine) as session:
            tried = by_name(session, name)
        with writing(engine) as session:
            note(session, now, tried.id if tried else None, "sign-in", result="locked", address=address)
        raise
    raise SignInError


def sign_out(context: Context, principal: Principal, address: str) -> None:
    """End the session."""
    with writing(context.deps.database) as session:
        if principal.session_hash is not None:
            close_session(session, principal.session_hash)
        note(session, context.now(), principal.operator_id, "sign-out", result="done", address=address)
