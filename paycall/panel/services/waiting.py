"""What waits for people: payments that somebody has to look at, because nothing goes on by itself or soon.

These are outcomes that nobody knows and whose operator does not wait any more (set aside, or the caller hung up),
late approvals to keep or to void, and whatever only the acquirer's own tool can tell.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from paycall.domain.payment import PaymentState
from paycall.panel.roles import Principal
from paycall.panel.services.views import NEEDS_REVIEW
from paycall.panel.services.visibility import payments_of
from paycall.store.tables import AttemptRow, CallRow, OperationRow, PaymentRow

WAITING = "waiting"
"""The name under which the history lists them, beside the payments' states."""


@cache
def waits() -> ColumnElement[bool]:
    """The condition on payments; every board asks it, and it is always the same."""
    hung_up = select(CallRow.id).where(CallRow.ended_at.is_not(None))
    unknown = and_(
        PaymentRow.state == PaymentState.UNKNOWN.value,
        or_(PaymentRow.set_aside_at.is_not(None), PaymentRow.call_id.in_(hung_up)),
    )
    late = and_(PaymentRow.state == PaymentState.APPROVED.value, PaymentRow.decision_deadline.is_not(None))
    attempts = select(AttemptRow.payment_id).where(
        AttemptRow.error == NEEDS_REVIEW,
        or_(AttemptRow.state == PaymentState.UNKNOWN.value, AttemptRow.reversal_due),
    )
    operations = select(OperationRow.payment_id).where(
        OperationRow.state == "pending", OperationRow.error == NEEDS_REVIEW
    )
    return or_(unknown, late, PaymentRow.id.in_(attempts), PaymentRow.id.in_(operations))


def count_waiting(session: Session, principal: Principal) -> int:
    """How many of them this one may see."""
    query = select(func.count()).select_from(PaymentRow).where(payments_of(principal), waits())
    return session.scalar(query) or 0
