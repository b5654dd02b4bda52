"""Signed-in browsers.

Rules: the cookie is random and the database has only its hash. A sign-in always makes a new session (no
fixation). Idle for 15 minutes ends it, but not in the middle of a payment. Following the event stream is not
activity: a forgotten page does not keep anybody signed in, nor does a payment whose caller has gone.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from paycall.panel.roles import PERMISSIONS, Principal, Role
from paycall.panel.services.records import AFTER_CALL, IN_THE_MIDDLE
from paycall.store.tables import CallRow, OperatorRow, PaymentRow, SessionRow

COOKIE = "paycall_session"
# A session's method where the identity provider had to ask the person anew, whoever was signed in there.
ASKED_ANEW = "oidc-asked"
_LONGEST = timedelta(hours=12)
# The time of the last request is written at most this often.
_TOUCH_EVERY = timedelta(seconds=20)


def session_hash(cookie: str) -> str:
    """What the database knows of a cookie."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def open_session(session: Session, operator_id: str, now: datetime, method: str = "password") -> str:
    """Make a session; gives the cookie."""
    cookie = secrets.token_urlsafe(32)
    session.add(
        SessionRow(
            token_hash=session_hash(cookie),
            operator_id=operator_id,
            created_at=now,
            last_seen_at=now,
            method=method,
        )
    )
    session.execute(delete(SessionRow).where(SessionRow.created_at < now - _LONGEST))
    return cookie


def close_session(session: Session, token_hash: str) -> None:
    """Sign out."""
    session.execute(delete(SessionRow).where(SessionRow.token_hash == token_hash))


def find_principal(
    session: Session, token_hash: str, now: datetime, idle: timedelta, second_factor: bool = False
) -> tuple[Principal, bool] | None:
    """Who this session belongs to, and whether its last request should be written down; None if it is over."""
    found = session.execute(
        select(SessionRow, OperatorRow)
        .join(OperatorRow, OperatorRow.id == SessionRow.operator_id)
        .where(SessionRow.token_hash == token_hash)
    ).first()
    if found is None:
        return None
    row, operator = found
    if operator.locked or row.created_at < now - _LONGEST:
        return None
    if row.last_seen_at < now - idle and not _in_the_middle(session, operator.id, now):
        return None
    return principal_of(
        operator, token_hash, second_factor, row.method
    ), row.last_seen_at < now - _TOUCH_EVERY


def principal_of(
    operator: OperatorRow,
    token_hash: str | None = None,
    second_factor: bool = False,
    method: str = "password",
) -> Principal:
    """The person with the permissions of the role.

    One-time codes are the second factor of a password. A passkey is two factors by itself, and an identity provider
    asks for what its own site wants.
    """
    code_due = second_factor and method == "password" and operator.totp_sealed is None
    role = Role(operator.role)
    return Principal(
        id=operator.id,
        name=operator.display_name,
        operator_id=operator.id,
        permissions=PERMISSIONS[role],
        language=operator.language,
        theme=operator.theme,
        role=role,
        session_hash=token_hash,
        unfinished=operator.must_change_password or code_due,
    )


def touch(session: Session, token_hash: str, now: datetime) -> None:
    """The person has just done something."""
    session.execute(update(SessionRow).where(SessionRow.token_hash == token_hash).values(last_seen_at=now))


def _in_the_middle(session: Session, operator_id: str, now: datetime) -> bool:
    return (
        session.scalars(
            select(PaymentRow.id)
            .join(CallRow, CallRow.id == PaymentRow.call_id)
            .where(
                PaymentRow.operator_id == operator_id,
                PaymentRow.state.in_(IN_THE_MIDDLE),
                PaymentRow.set_aside_at.is_(None),
                or_(CallRow.ended_at.is_(None), CallRow.ended_at > now - AFTER_CALL),
            )
            .limit(1)
        ).first()
        is not None
    )
