"""Who sees which call and payment. What somebody may not see is answered as if it did not exist."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, true
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError
from paycall.panel.roles import Principal
from paycall.store.tables import CallRow, PaymentRow


def calls_of(principal: Principal) -> ColumnElement[bool]:
    """The condition on calls: an operator's own and those that nobody has taken."""
    if principal.sees_all:
        return true()
    return or_(CallRow.operator_id == principal.operator_id, CallRow.operator_id.is_(None))


def payments_of(principal: Principal) -> ColumnElement[bool]:
    """The condition on payments: an operator's own."""
    return true() if principal.sees_all else PaymentRow.operator_id == principal.operator_id


def call_for(session: Session, call_id: str, principal: Principal, *, for_change: bool = False) -> CallRow:
    """The call, if this principal may see it.

    Raises
    ------
    NotFoundError
        If there is none, or it is another operator's.
    """
    row = session.get(CallRow, call_id, with_for_update=for_change or None)
    if row is None or not (principal.sees_all or row.operator_id in (None, principal.operator_id)):
        raise NotFoundError
    return row


def payment_for(
    session: Session, payment_id: str, principal: Principal, *, for_change: bool = False
) -> PaymentRow:
    """The payment, if this principal may see it.

    Raises
    ------
    NotFoundError
        If there is none, or it is another operator's.
    """
    row = session.get(PaymentRow, payment_id, with_for_update=for_change or None)
    if row is None or not (principal.sees_all or row.operator_id == principal.operator_id):
        raise NotFoundError
    return row
