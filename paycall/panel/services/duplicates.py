"""What could charge a caller twice, found before it does: it is asked about first, and done only if it is meant.

Rules: the same card and amount within ten minutes; and, however long ago, a charge of the same amount whose outcome
nobody knows yet - of this card, or of this caller, whose new payment is warned of before a key is pressed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from paycall.domain.errors import StateError
from paycall.domain.money import Money
from paycall.domain.payment import PaymentState
from paycall.panel.services.records import has_number
from paycall.store.tables import CallRow, PaymentRow

_WINDOW = timedelta(minutes=10)
_S = PaymentState
_OPEN = (_S.AUTHORIZING.value, _S.UNKNOWN.value)
_CHARGED = tuple(
    state.value
    for state in (
        _S.APPROVED,
        _S.SETTLING,
        _S.SETTLED,
        _S.SETTLE_FAILED,
        _S.VOID_FAILED,
        _S.REFUNDING,
        _S.PARTLY_REFUNDED,
        _S.REFUND_FAILED,
    )
)


class PossibleDuplicateError(StateError):
    """The same card was charged the same amount a moment ago."""

    code = "possible-duplicate"
    text = "the same card was charged the same amount within the last ten minutes"


class OutcomeUnknownError(StateError):
    """A charge of the same amount may have gone through already."""

    code = "outcome-unknown"
    text = "what became of a charge of the same amount is not known yet"


def check_start(session: Session, call: CallRow, money: Money) -> None:
    """Whether a new payment of this caller's could be one too many.

    Raises
    ------
    OutcomeUnknownError
        If a charge of the same amount has no outcome yet, on this call or another of the same number.
    """
    query = _of_caller(call, money).where(PaymentRow.state.in_(_OPEN))
    if session.scalars(query.limit(1)).first() is not None:
        raise OutcomeUnknownError


def check_card(session: Session, row: PaymentRow, now: datetime) -> None:
    """Whether charging this payment's card could be one charge too many.

    Raises
    ------
    OutcomeUnknownError, PossibleDuplicateError
        If it could.
    """
    if row.last4 is None:
        return
    same_card = and_(
        PaymentRow.id != row.id,
        PaymentRow.last4 == row.last4,
        PaymentRow.brand == row.brand,
        PaymentRow.expiry == row.expiry,
        _same_amount(Money(row.amount_minor, row.currency)),
    )
    lately = and_(PaymentRow.state.in_(_CHARGED), PaymentRow.updated_at > now - _WINDOW)
    found = session.scalars(
        select(PaymentRow.state).where(same_card, or_(lately, PaymentRow.state.in_(_OPEN)))
    ).all()
    if any(state in _OPEN for state in found):
        raise OutcomeUnknownError
    if found:
        raise PossibleDuplicateError


def paid_again(session: Session, row: PaymentRow, call: CallRow | None) -> bool:
    """Whether the caller has paid the same amount with a later payment, which this one would double."""
    if call is None:
        return False
    query = _of_caller(call, Money(row.amount_minor, row.currency)).where(
        PaymentRow.created_at > row.created_at,
        PaymentRow.state.in_((_S.APPROVED.value, _S.SETTLING.value, _S.SETTLED.value)),
    )
    return session.scalars(query.limit(1)).first() is not None


def _of_caller(call: CallRow, money: Money) -> Select[str]:
    """Payments of this amount on this call, or on another of the same number."""
    same_caller = PaymentRow.call_id == call.id
    if has_number(call):
        same_caller = or_(same_caller, CallRow.caller == call.caller)
    query = select(PaymentRow.id).join(CallRow, CallRow.id == PaymentRow.call_id)
    return query.where(same_caller, _same_amount(money))


def _same_amount(money: Money) -> ColumnElement[bool]:
    return and_(PaymentRow.amount_minor == money.amount_minor, PaymentRow.currency == money.currency)
