"""Calls that an operator dials from the panel: the own phone rings first, then the customer's.

Rules: a call is in the database before a cell hears of it. If no cell takes it, nothing has happened and nothing
stays. What can be dialled is limited for each operator in number, and by the trunk's settings in kind.
"""

from __future__ import annotations

import asyncio

from sqlalchemy.orm import Session

from paycall.domain.call import CallState, Direction, EndReason
from paycall.domain.errors import PaycallError, StateError
from paycall.domain.ids import new_id
from paycall.panel.rate_limit import RateLimit, TooManyError
from paycall.panel.roles import Principal
from paycall.panel.services.audit import note
from paycall.panel.services.calls import CallService
from paycall.panel.services.context import Context
from paycall.store.tables import CallRow, OperatorRow

# A cell says at once that it has the call; one that has died in between never will.
_HEARD_OF_S = 10.0


class NoPhoneError(StateError):
    """The operator's account names no phone."""

    code = "no-phone"
    text = "your account has no phone; an administrator can enter one"


class DiallingService:
    """Dials out for operators."""

    def __init__(self, context: Context, calls: CallService) -> None:
        self._context = context
        self._calls = calls
        self._dialled = RateLimit(burst=6, per_second=1 / 10)

    async def dial(self, number: str, principal: Principal, address: str) -> str:
        """Ring the operator's phone, then the number; gives the call's id.

        Raises
        ------
        StateError
            No phone, no trunk, or no free line.
        TooManyError
            Dialled too often.
        InputError
            The trunk's settings do not allow the number.
        """
        if principal.operator_id is None:
            raise NoPhoneError
        if not self._dialled.allows(principal.operator_id, self._context.deps.clock.monotonic()):
            raise TooManyError
        call_id, operator_id = new_id("call"), principal.operator_id

        def record(session: Session) -> str:
            operator = session.get(OperatorRow, operator_id)
            if operator is None or not operator.agent_uri:
                raise NoPhoneError
            session.add(
                CallRow(
                    id=call_id,
                    sender_id="",  # the cell that takes it
                    direction=Direction.OUTBOUND.value,
                    state=CallState.RINGING.value,
                    caller=number,
                    called="",
                    agent_uri=operator.agent_uri,
                    masked=False,
                    operator_id=operator_id,
                    agent_leg_keys=0,
                    started_at=self._context.now(),
                )
            )
            return operator.agent_uri

        agent_uri = await self._context.write(record)
        try:
            await self._context.deps.calls.dial_out(call_id, _sip(agent_uri), number)
        except PaycallError:
            await self._context.write(lambda session: session.delete(session.get_one(CallRow, call_id)))
            raise
        await self._context.write(
            lambda session: note(
                session, self._context.now(), operator_id, "call-dialled", target=call_id, address=address
            )
        )
        await self._context.show_call(call_id, "call.arrived")
        self._context.tasks.start(self._expect(call_id), f"dialled:{call_id}")
        return call_id

    async def _expect(self, call_id: str) -> None:
        """A cell that took the call and died at once is heard of no more."""
        await asyncio.sleep(_HEARD_OF_S)
        if await self._context.read(lambda session: _is_nobodys(session, call_id)):
            await self._calls.ended(call_id, EndReason.CELL_LOST)


def _is_nobodys(session: Session, call_id: str) -> bool:
    row = session.get(CallRow, call_id)
    return row is not None and not row.sender_id


def _sip(uri: str) -> str:
    return uri if uri.lower().startswith(("sip:", "sips:")) else f"sip:{uri}"
