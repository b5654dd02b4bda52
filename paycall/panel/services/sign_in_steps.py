"""Sign-ins in two steps: what was begun is in the database, good once and for a few minutes.

The browser brings back a token (a passkey's challenge, the identity provider's ``state``); only its hash is kept.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from paycall.domain.errors import InputError
from paycall.store.tables import SignInStepRow

_GOOD_FOR = timedelta(minutes=5)


class StepOverError(InputError):
    """What was begun was finished already, or too long ago, or never."""

    code = "sign-in-step-over"
    text = "this took too long, or was used before; begin again"


def begin(
    session: Session,
    purpose: str,
    token: bytes,
    now: datetime,
    *,
    operator_id: str | None = None,
    sealed: str | None = None,
) -> None:
    """Remember that this was begun; what is too old is forgotten."""
    session.execute(delete(SignInStepRow).where(SignInStepRow.expires_at < now))
    session.add(
        SignInStepRow(
            id=step_id(token),
            purpose=purpose,
            operator_id=operator_id,
            sealed=sealed,
            expires_at=now + _GOOD_FOR,
        )
    )


def finish(session: Session, purpose: str, token: bytes, now: datetime) -> SignInStepRow:
    """What was begun with this token; it cannot be finished again.

    Raises
    ------
    StepOverError
        If there is nothing of this purpose.
    """
    row = session.get(SignInStepRow, step_id(token), with_for_update=True)
    if row is None or row.purpose != purpose or row.expires_at <= now:
        raise StepOverError
    session.delete(row)
    return row


def step_id(token: bytes) -> str:
    """What the database knows of a token."""
    return hashlib.sha256(token).hexdigest()
