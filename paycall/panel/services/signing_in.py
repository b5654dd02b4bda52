"""The steps of signing in and out, with their line in the audit."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from paycall.domain.errors import PaycallError
from paycall.panel.roles import Principal
from paycall.panel.services import accounts, second_factor
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.sessions import close_session, open_session, principal_of
from paycall.store.database import reading, writing
from paycall.store.tables import OperatorRow


def sign_in(
    context: Context, name: str, password: str, code: str | None, address: str
) -> tuple[Principal, str]:
    """Check name, password and second factor; gives who it is and the cookie of a new session.

    Raises
    ------
    SignInError, LockedError, CodeNeededError
        Without telling whether name or password was wrong.
    """
    engine = context.deps.database
    with reading(engine) as session:
        account = accounts.known(session, name)
    right = accounts.password_is_right(account, password)
    now = context.now()
    try:
        with writing(engine) as session:
            row = accounts.account_to_try(session, account, now)
            if row is not None and right and second_factor.check(row, code, now, context.sealer):
                accounts.note_success(row)
                context.metrics.signed_in("done")
                return principal_of(row), open_for(session, row, now, "sign-in", address)
            if row is not None:
                accounts.note_failure(session, row, now)
            note(session, now, account.operator_id, "sign-in", result="refused", address=address)
        context.metrics.signed_in("refused")
    except accounts.LockedError as error:
        note_refusal(context, account.operator_id, error, address)
        context.metrics.signed_in("locked")
        raise
    except second_factor.CodeNeededError as error:
        note_refusal(context, account.operator_id, error, address)
        raise
    raise accounts.SignInError


def note_refusal(context: Context, operator_id: str | None, error: PaycallError, address: str) -> None:
    """Write down that somebody was not let in."""
    with writing(context.deps.database) as session:
        note(session, context.now(), operator_id, "sign-in", result=error.code, address=address)


def open_for(
    session: Session, row: OperatorRow, now: datetime, how: str, address: str, method: str = "password"
) -> str:
    """Open a session for somebody whose identity was proven another way; gives the cookie."""
    row.last_sign_in_at = now
    note(session, now, row.id, how, address=address)
    return open_session(session, row.id, now, method)


def sign_out(context: Context, principal: Principal, address: str) -> None:
    """End the session."""
    with writing(context.deps.database) as session:
        if principal.session_hash is not None:
            close_session(session, principal.session_hash)
        note(session, context.now(), principal.operator_id, "sign-out", address=address)
