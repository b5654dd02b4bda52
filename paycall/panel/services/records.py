"""Loading and moving payments: the one place where a payment's state changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError
from paycall.domain.fields import Field
from paycall.domain.payment import PaymentEvent, PaymentState, next_state
from paycall.panel.services.audit import PANEL, note
from paycall.panel.services.webhook_events import note_payment
from paycall.store.tables import AttemptRow, CallRow, PaymentRow, StoryRow

_NUMBER = re.compile(r"\+?[0-9]{5,20}")
# What comes of the caller's keys is in the vault's audit.
_OF_THE_CALLER = ("field_stored", "field_failed", "capture_completed", "code_expired")
# On these, the caller can't be asked for keys any more when the call is over.
ENDS_WITH_ITS_CALL = (PaymentState.CREATED.value, PaymentState.CAPTURING.value)
# So long after the caller hung up a card may still be charged, as long as a security code would live.
AFTER_CALL = timedelta(minutes=5)
# An operator who has one of these open is in the middle of a payment.
IN_THE_MIDDLE = tuple(
    state.value
    for state in (
        PaymentState.CREATED,
        PaymentState.CAPTURING,
        PaymentState.READY,
        PaymentState.AUTHORIZING,
        PaymentState.UNKNOWN,
    )
)


def payment_for_change(session: Session, payment_id: str) -> PaymentRow:
    """The payment, locked until the transaction ends.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    row = session.get(PaymentRow, payment_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    return row


def call_of(session: Session, row: PaymentRow) -> CallRow:
    """The payment's call."""
    call = session.get(CallRow, row.call_id)
    if call is None:
        raise NotFoundError
    return call


def has_number(call: CallRow) -> bool:
    """Whether the caller can be told from others: by a telephone number, not by a word for a withheld one."""
    return _NUMBER.fullmatch(call.caller) is not None


def caller_is_gone(call: CallRow, now: datetime) -> bool:
    """Whether the call has been over for so long that nothing new may be charged."""
    return call.ended_at is not None and call.ended_at <= now - AFTER_CALL


def move(
    session: Session,
    row: PaymentRow,
    event: PaymentEvent,
    now: datetime,
    *,
    by: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Take the payment through a transition of ``domain.payment`` and write it into its story.

    Raises
    ------
    StateError
        If the event is not allowed; nothing is changed.
    """
    row.state = next_state(PaymentState(row.state), event).value
    row.updated_at = now
    note_payment(session, row.id)
    tell(session, row, event.value, now, by=by, detail=detail)


def tell(
    session: Session,
    row: PaymentRow,
    what: str,
    now: datetime,
    *,
    by: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Write a line into the payment's story."""
    session.add(StoryRow(payment_id=row.id, at=now, what=what, operator_id=by, detail=detail or {}))
    if what not in _OF_THE_CALLER:
        note(session, now, by or PANEL, f"payment-{what}", target=row.id)


def latest_attempt(session: Session, payment_id: str) -> AttemptRow | None:
    """The payment's newest attempt."""
    return session.scalars(
        select(AttemptRow)
        .where(AttemptRow.payment_id == payment_id)
        .order_by(AttemptRow.number.desc())
        .limit(1)
    ).first()


def in_order(fields: Sequence[str]) -> list[str]:
    """The fields in the order in which a caller is asked for them, each once."""
    return [field.value for field in Field if field.value in fields]


def missing_fields(row: PaymentRow) -> list[str]:
    """The fields that the payment needs and the vault does not have."""
    return [name for name in row.fields if name not in row.stored]
