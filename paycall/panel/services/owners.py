"""Whose a call is: found by phone, by a trusted SIP header, or told by a link code; and a change of it.

Rules: a call that goes to another operator takes the payments along that are not over. Who had it is told that it
is gone. Nobody is guessed: two accounts with the same phone are nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.payment import PaymentState
from paycall.panel.services.context import Context
from paycall.panel.services.records import IN_THE_MIDDLE, tell
from paycall.store.tables import CallRow, OperatorRow, PaymentRow

# The next step is an operator's: whoever has the caller on the phone has to be able to take it.
_GOES_ALONG = (*IN_THE_MIDDLE, PaymentState.DECLINED.value, PaymentState.APPROVED.value)


def operator_at(session: Session, agent_uri: str) -> str | None:
    """The one operator whose phone this is, if exactly one says so."""
    wanted = plain_uri(agent_uri)
    return _only(row.id for row in _with_phone(session) if plain_uri(row.agent_uri) == wanted)


def operator_named(session: Session, name: str) -> str | None:
    """The one operator whose account, or else whose extension (the user part of the phone's URI), is called so."""
    wanted = name.strip().lower()
    if not wanted:
        return None
    account = session.scalars(
        select(OperatorRow.id).where(OperatorRow.name == wanted, ~OperatorRow.locked)
    ).first()
    if account is not None:
        return account
    return _only(
        row.id
        for row in _with_phone(session)
        if wanted in (plain_uri(row.agent_uri), plain_uri(row.agent_uri).partition("@")[0])
    )


def hand_over(session: Session, call: CallRow, operator_id: str, now: datetime) -> bool:
    """Make the call this operator's; False if it is already."""
    if call.operator_id == operator_id:
        return False
    former, call.operator_id = call.operator_id, operator_id
    for payment in session.scalars(
        select(PaymentRow)
        .where(PaymentRow.call_id == call.id, PaymentRow.state.in_(_GOES_ALONG))
        .with_for_update()
    ):
        if payment.operator_id == former:
            payment.operator_id = operator_id
            tell(session, payment, "handed_over", now, by=operator_id)
    return True


async def show_change_of_owner(context: Context, call_id: str, name: str, former: str | None) -> None:
    """Publish a call that is another operator's now; to those who could see it, that it is taken."""
    context.capture_owners.clear()
    context.stream.publish("call.claimed", {"call_id": call_id}, former)
    await context.show_call(call_id, name)


def plain_uri(uri: str) -> str:
    """A SIP URI to compare: without scheme, parameters and capitals."""
    return uri.strip().lower().removeprefix("sips:").removeprefix("sip:").partition(";")[0]


def _with_phone(session: Session) -> Iterator[OperatorRow]:
    yield from session.scalars(select(OperatorRow).where(OperatorRow.agent_uri != "", ~OperatorRow.locked))


def _only(found: Iterator[str]) -> str | None:
    ids = set(found)
    return ids.pop() if len(ids) == 1 else None
