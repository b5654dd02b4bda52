"""What cells and nodes tell about calls.

Rules: every handler may see the same event twice and must end in the same state. An event is in the database
when the handler returns. Nothing here waits for a command to a cell: the answer comes over the same connection
as the events do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.control import messages as m
from paycall.domain.call import CallEvent, CallState, Direction, EndReason, next_state
from paycall.domain.errors import PaycallError
from paycall.domain.payment import PaymentEvent
from paycall.panel.services.audit import PANEL, note
from paycall.panel.services.captures import CaptureService
from paycall.panel.services.context import Context
from paycall.panel.services.owners import (
    hand_over,
    operator_at,
    operator_named,
    show_change_of_owner,
)
from paycall.panel.services.records import ENDS_WITH_ITS_CALL, move
from paycall.panel.services.test_calls import TestCallService
from paycall.panel.services.webhook_events import note_call
from paycall.store.tables import CallRow, CellRow, PaymentRow

_log = structlog.get_logger(__name__)
# A cell whose link broke dials again within seconds; one that is away for longer died, and its node with it.
AWAY_S = 30.0


class CallService:
    """Keeps the record of calls."""

    def __init__(self, context: Context, captures: CaptureService, test_calls: TestCallService) -> None:
        self._context = context
        self._captures = captures
        self._test_calls = test_calls
        self._away_since_s: dict[str, float] = {}

    async def end_orphans(self) -> None:
        """End the calls of cells that have been away for ``AWAY_S``: nobody is left to tell of their end."""
        now_s = self._context.deps.clock.monotonic()
        here = self._context.deps.calls.connected()
        orphans = await self._context.read(lambda session: _open_calls_but_of(session, here))
        self._away_since_s = {sender: self._away_since_s.get(sender, now_s) for sender in orphans.values()}
        for call_id, sender_id in orphans.items():
            if now_s - self._away_since_s[sender_id] >= AWAY_S:
                await self.ended(call_id, EndReason.CELL_LOST)

    async def arrived(self, sender_id: str, event: m.CallArrived) -> None:
        """A caller leg exists."""
        owner_id = self._test_calls.arrived(event.test_call_id)

        def record(session: Session) -> bool:
            known = session.get(CallRow, event.call_id)
            if known is not None:
                known.sender_id = known.sender_id or sender_id  # one that the panel asked for
                return False
            session.add(_new_call(session, sender_id, event, owner_id))
            note_call(session, event.call_id, "call.arrived")
            return True

        if await self._context.write(record):
            await self._context.show_call(event.call_id, "call.arrived")
        if event.direction is Direction.INBOUND:
            self._context.tasks.start(self._route(event), f"route:{event.call_id}", once=True)

    async def _route(self, event: m.CallArrived) -> None:
        agent_uri = await self._test_calls.agent_uri(event.test_call_id)
        try:
            await self._context.deps.calls.route_call(event.call_id, agent_uri)
        except PaycallError as error:  # the cell has gone its own way by now
            _log.info("call_not_routed", call_id=event.call_id, code=error.code)

    async def connected(self, event: m.CallConnected) -> None:
        """Both legs are joined."""

        def record(session: Session) -> bool:
            row = session.get(CallRow, event.call_id, with_for_update=True)
            if row is None or row.state != CallState.RINGING.value:
                return False
            row.state = next_state(CallState.RINGING, CallEvent.CONNECTED).value
            row.connected_at = row.connected_at or self._context.now()
            note_call(session, row.id, "call.connected")
            row.agent_uri = event.agent_uri
            row.operator_id = row.operator_id or operator_at(session, event.agent_uri)
            return True

        if await self._context.write(record):
            await self._context.show_call(event.call_id, "call.connected")

    async def operator_named(self, call_id: str, name: str) -> None:
        """The agent's phone or PBX has said who has the call."""
        await self._follow(call_id, "call.updated", lambda session, _: operator_named(session, name))

    async def transferred(self, event: m.CallTransferred) -> None:
        """The agent has handed the call on: it is the operator's whose phone that is, if anybody's."""

        def whose(session: Session, row: CallRow) -> str | None:
            row.agent_uri = event.agent_uri
            return operator_at(session, event.agent_uri)

        await self._follow(event.call_id, "call.transferred", whose)

    async def _follow(self, call_id: str, name: str, whose: Callable[[Session, CallRow], str | None]) -> None:
        """Give the call to whom ``whose`` finds, and publish it; None leaves it with whoever has it."""

        def record(session: Session) -> tuple[bool, bool, str | None]:
            row = session.get(CallRow, call_id, with_for_update=True)
            if row is None or row.state == CallState.ENDED.value:
                return False, False, None
            former, operator_id = row.operator_id, whose(session, row)
            moved = operator_id is not None and hand_over(session, row, operator_id, self._context.now())
            return True, moved, former

        found, moved, former = await self._context.write(record)
        if moved:
            await show_change_of_owner(self._context, call_id, name, former)
        elif found:
            await self._context.show_call(call_id, name)

    async def ended(self, call_id: str, reason: EndReason, agent_leg_keys: int = 0) -> None:
        """Both legs are gone."""

        def record(session: Session) -> tuple[str | None, list[str]] | None:
            row = session.get(CallRow, call_id, with_for_update=True)
            if row is None or row.state == CallState.ENDED.value:
                return None
            now = self._context.now()
            row.state = next_state(CallState(row.state), CallEvent.ENDED).value
            row.ended_at = now
            row.end_reason = reason.value
            note_call(session, call_id, "call.ended")
            row.agent_leg_keys = agent_leg_keys
            row.masked, row.recording = False, "off"
            cancelled = []
            for payment in session.scalars(
                select(PaymentRow)
                .where(PaymentRow.call_id == call_id, PaymentRow.state.in_(ENDS_WITH_ITS_CALL))
                .with_for_update()
            ):
                move(session, payment, PaymentEvent.CANCELLED, now, detail={"error": reason.value})
                cancelled.append(payment.id)
            return row.test_call_id, cancelled

        done = await self._context.write(record)
        if done is None:
            return
        test_call_id, cancelled = done
        self._context.live.close_call(call_id)
        await self._context.show_call(call_id, "call.ended")
        for payment_id in cancelled:
            await self._context.show_payment(payment_id)
            self._captures.release(payment_id)
        self._test_calls.over(test_call_id)

    async def mask_changed(self, event: m.MaskChanged) -> None:
        """The agent leg is masked, or open."""
        await self._changed(event.call_id, "masked", event.masked, "call.mask")

    async def recording_changed(self, event: m.RecordingChanged) -> None:
        """The call is recorded from now on, or paused; or cannot be recorded any more."""
        failed = "recording-failed" if event.recording == "failed" else ""
        await self._changed(event.call_id, "recording", event.recording, "call.recording", audited=failed)

    async def _changed(
        self, call_id: str, column: str, value: object, name: str, *, audited: str = ""
    ) -> None:
        """Put down what is so from now on, and tell of it, if it is news of a call that goes on."""

        def record(session: Session) -> bool:
            row = session.get(CallRow, call_id, with_for_update=True)
            if row is None or row.state == CallState.ENDED.value or getattr(row, column) == value:
                return False
            setattr(row, column, value)
            if audited:
                note(session, self._context.now(), PANEL, audited, target=call_id)
            return True

        if await self._context.write(record):
            await self._context.show_call(call_id, name)

    async def alarm(self, event: m.SecurityAlarm) -> None:
        """The mask failed its check; the cell has muted the leg."""

        def record(session: Session) -> bool:
            row = session.get(CallRow, event.call_id, with_for_update=True)
            if row is None or row.alarm == event.kind:
                return False
            row.alarm = event.kind
            note_call(session, row.id, "call.alarm")
            note(session, self._context.now(), PANEL, "security-alarm", target=row.id, result=event.kind)
            return True

        if await self._context.write(record):
            _log.error("security_alarm", call_id=event.call_id, reason=event.kind)
            await self._context.show_call(event.call_id, "call.alarm")

    async def recording_handled(self, event: m.RecordingHandled) -> None:
        """Somebody at a media machine opens or deletes a recording: it is in the audit before it happens."""

        def record(session: Session) -> None:
            what, where = f"recording-{event.action}", event.host
            note(
                session,
                self._context.now(),
                event.by,
                what,
                target=event.recording_id,
                result=event.result,
                address=where,
            )

        await self._context.write(record)

    async def hello(self, sender_id: str, event: m.Hello) -> None:
        """A cell has (re)connected and tells what it has: whatever it does not have is over."""
        present = {snapshot.call_id for snapshot in event.calls}

        def record(session: Session) -> tuple[list[str], bool]:
            cell = session.get(CellRow, sender_id)
            rebooted = cell is not None and cell.boot_id != event.boot_id
            session.merge(
                CellRow(
                    id=sender_id,
                    boot_id=event.boot_id,
                    kind=event.kind,
                    node_id=event.node_id,
                    last_seen_at=self._context.now(),
                )
            )
            return _open_calls(session, sender_id, present), rebooted

        gone, rebooted = await self._context.write(record)
        for call_id in gone:
            await self.ended(call_id, EndReason.CELL_LOST if rebooted else EndReason.FAILED)
        for snapshot in event.calls:
            await self._repair(sender_id, snapshot)

    async def _repair(self, sender_id: str, snapshot: m.CallSnapshot) -> None:
        """Make the record of one call agree with its cell."""
        await self._found(snapshot.call_id)
        await self.arrived(
            sender_id,
            m.CallArrived(**snapshot.model_dump(include=set(m.CallArrived.model_fields) - {"type"})),
        )
        if snapshot.connected:
            await self.connected(m.CallConnected(call_id=snapshot.call_id, agent_uri=snapshot.agent_uri))
        await self.mask_changed(m.MaskChanged(call_id=snapshot.call_id, masked=snapshot.masked))
        await self.recording_changed(
            m.RecordingChanged(call_id=snapshot.call_id, recording=snapshot.recording)
        )

    async def _found(self, call_id: str) -> None:
        """A call that was given up because its cell was away: people have talked on all the time."""

        def record(session: Session) -> bool:
            row = session.get(CallRow, call_id, with_for_update=True)
            if row is None or row.end_reason != EndReason.CELL_LOST.value:
                return False
            row.state = next_state(CallState(row.state), CallEvent.FOUND).value
            row.ended_at = row.end_reason = None
            return True

        if await self._context.write(record):
            await self._context.show_call(call_id, "call.arrived")

    async def cell_lost(self, event: m.CellLost) -> None:
        """A cell died, and its calls with it."""
        gone = await self._context.read(lambda session: _open_calls(session, event.cell_id, set()))
        for call_id in {*gone, *event.call_ids}:
            await self.ended(call_id, EndReason.CELL_LOST)


def _open_calls(session: Session, sender_id: str, but: set[str]) -> list[str]:
    found = session.scalars(
        select(CallRow.id).where(CallRow.sender_id == sender_id, CallRow.state != CallState.ENDED.value)
    )
    return [call_id for call_id in found if call_id not in but]


def _open_calls_but_of(session: Session, senders: set[str]) -> dict[str, str]:
    """Whose cell is none of these: call -> cell."""
    found = session.execute(
        select(CallRow.id, CallRow.sender_id).where(CallRow.state != CallState.ENDED.value)
    )
    return {row.id: row.sender_id for row in found if row.sender_id not in senders}


def _new_call(session: Session, sender_id: str, event: m.CallArrived, owner_id: str | None) -> CallRow:
    return CallRow(
        id=event.call_id,
        sender_id=sender_id,
        direction=event.direction.value,
        state=CallState.RINGING.value,
        caller=event.caller,
        called=event.called,
        agent_uri=event.agent_uri,
        masked=False,
        recording="off",
        test_call_id=event.test_call_id,
        operator_id=owner_id
        or operator_named(session, event.operator)
        or operator_at(session, event.agent_uri),
        agent_leg_keys=0,
        started_at=datetime.fromtimestamp(event.started_at, UTC),
    )
