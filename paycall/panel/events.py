"""The hub's handler: every event of cells and nodes comes through here, in order for each sender.

Rules: when ``handle`` returns, what the event says is in the database (a key's progress is not a record and
only goes to the screen). The same event may come twice.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from paycall.control import messages as m
from paycall.domain.fields import Field
from paycall.domain.payment import FINAL_FOR_CAPTURE, PaymentEvent, PaymentState
from paycall.panel.live import LiveCapture
from paycall.panel.services.calls import CallService
from paycall.panel.services.captures import CaptureService, capture_may_start
from paycall.panel.services.cards import CardService, forget_summary
from paycall.panel.services.context import Context
from paycall.panel.services.linking import LinkingService
from paycall.panel.services.records import in_order, missing_fields, move, payment_for_change, tell
from paycall.store.tables import PaymentRow

_CODE = Field.SECURITY_CODE


class CallEvents:
    """Turns what cells say into records and into events for the screens."""

    def __init__(
        self,
        context: Context,
        calls: CallService,
        captures: CaptureService,
        cards: CardService,
        linking: LinkingService,
    ) -> None:
        self._context = context
        self._linking = linking
        self._calls = calls
        self._captures = captures
        self._cards = cards

    async def handle(self, sender_id: str, event: m.Event) -> None:
        """Take one event."""
        match event:
            case m.FieldProgress():
                await self._progress(event)
            case m.FieldStarted():
                await self._field_started(event)
            case m.FieldStored():
                await self._field_stored(event)
            case m.FieldFailed():
                await self._field_failed(event)
            case m.CaptureStarted():
                await self._capture_started(event.call_id, event.payment_id)
            case m.CaptureCompleted():
                await self._capture_completed(event)
            case m.CaptureEnded():
                await self._capture_ended(event)
            case m.CallArrived():
                await self._calls.arrived(sender_id, event)
            case m.CallConnected():
                await self._calls.connected(event)
            case m.CallEnded():
                await self._calls.ended(event.call_id, event.reason, event.agent_leg_keys)
            case m.MaskChanged():
                await self._calls.mask_changed(event)
            case m.RecordingChanged():
                await self._calls.recording_changed(event)
            case m.RecordingHandled():
                await self._calls.recording_handled(event)
            case m.SecurityAlarm():
                await self._calls.alarm(event)
            case m.Hello():
                await self._hello(sender_id, event)
            case m.CellLost():
                await self._calls.cell_lost(event)
            case m.CallTransferred():
                await self._calls.transferred(event)
            case m.OperatorNamed():
                await self._calls.operator_named(event.call_id, event.operator)
            case m.LinkCodeKeyed():
                await self._linking.keyed(event)
            case m.CellStarted() | m.CommandDone() | m.CommandRefused():
                pass  # the hub's and the node's own business

    # ---- live ------------------------------------------------------------------------------------------

    def _publish(self, name: str, live: LiveCapture, field: Field | None, **extra: Any) -> None:
        data: dict[str, Any] = {"call_id": live.call_id, "payment_id": live.payment_id, **extra}
        if field is not None:
            item = live.of(field)
            data.update(field=field.value, digits=item.digits, brand=live.brand)
        self._context.stream.publish(name, data, self._context.capture_owners.get(live.payment_id))

    async def _open(self, call_id: str, payment_id: str) -> LiveCapture | None:
        """The live capture, or None if there is no such payment."""
        live = self._context.live.get(payment_id)
        if live is not None and payment_id in self._context.capture_owners:
            return live
        found = await self._context.read(lambda session: _owner(session, payment_id))
        if found is None:
            return None
        self._context.capture_owners[payment_id] = found[0]
        return self._context.live.open(call_id, payment_id)

    async def _progress(self, event: m.FieldProgress) -> None:
        live = await self._open(event.call_id, event.payment_id)
        if live is None:
            return
        item = live.of(event.field)
        item.digits, item.error = event.digits, None
        item.deadline_s = self._context.deps.clock.monotonic() + event.seconds
        live.collecting = event.field
        if event.field is Field.CARD_NUMBER:
            live.brand = event.brand
        self._publish("capture.progress", live, event.field, seconds=event.seconds)

    async def _field_started(self, event: m.FieldStarted) -> None:
        live = await self._open(event.call_id, event.payment_id)
        if live is None:
            return
        item = live.of(event.field)
        item.state, item.digits, item.attempts_left = "collecting", 0, event.attempts_left
        item.deadline_s = self._context.deps.clock.monotonic() + event.seconds
        live.collecting = event.field
        if event.field is Field.CARD_NUMBER:
            live.brand = None
        self._publish(
            "capture.field", live, event.field, seconds=event.seconds, attempts_left=event.attempts_left
        )

    # ---- records ---------------------------------------------------------------------------------------

    async def _capture_started(self, call_id: str, payment_id: str) -> None:
        live = await self._open(call_id, payment_id)
        if live is None:
            return

        def record(session: Session) -> bool:
            row = payment_for_change(session, payment_id)
            if row.state == PaymentState.CAPTURING.value or not capture_may_start(row):
                return False
            move(session, row, PaymentEvent.CAPTURE_STARTED, self._context.now())
            return True

        if await self._context.write(record):
            await self._context.show_payment(payment_id)
        self._publish("capture.started", live, None)

    async def _field_stored(self, event: m.FieldStored) -> None:
        live = await self._open(event.call_id, event.payment_id)
        if live is None:
            return

        def record(session: Session) -> None:
            row = payment_for_change(session, event.payment_id)
            stored = [*row.stored, event.field.value]
            if event.field is Field.CARD_NUMBER:
                stored = [name for name in stored if name != _CODE.value]  # the vault forgot it with the card
            row.token = event.token
            forget_summary(row, event.field)
            row.stored = in_order(stored)
            tell(session, row, "field_stored", self._context.now(), detail={"field": event.field.value})

        await self._context.write(record)
        item = live.of(event.field)
        item.state, item.error, item.deadline_s = "stored", None, None
        if live.collecting is event.field:
            live.collecting = None
        self._publish("capture.stored", live, event.field)
        self._cards.read_soon(event.payment_id)

    async def _field_failed(self, event: m.FieldFailed) -> None:
        live = await self._open(event.call_id, event.payment_id)
        if live is None:
            return
        detail = {"field": event.field.value, "error": event.error.value}

        def record(session: Session) -> None:
            row = payment_for_change(session, event.payment_id)
            tell(session, row, "field_failed", self._context.now(), detail=detail)

        await self._context.write(record)
        item = live.of(event.field)
        item.state, item.error, item.deadline_s = "failed", event.error.value, None
        item.error_digits, item.digits, item.attempts_left = event.digits, 0, event.attempts_left
        if live.collecting is event.field:
            live.collecting = None
        self._publish(
            "capture.failed",
            live,
            event.field,
            error=event.error.value,
            error_digits=event.digits,
            attempts_left=event.attempts_left,
        )

    async def _capture_completed(self, event: m.CaptureCompleted) -> None:
        live = await self._open(event.call_id, event.payment_id)
        if live is None:
            return
        live.collecting = None
        await self._cards.read_first(event.payment_id)
        if await self._context.write(lambda session: self._complete(session, event.payment_id, event.token)):
            await self._context.show_payment(event.payment_id)
        self._publish("capture.completed", live, None)
        self._cards.read_soon(event.payment_id)

    def _complete(self, session: Session, payment_id: str, token: str) -> bool:
        row = payment_for_change(session, payment_id)
        if row.state != PaymentState.CAPTURING.value or missing_fields(row):
            return False
        row.token = token
        move(session, row, PaymentEvent.CAPTURE_COMPLETED, self._context.now())
        return True

    async def _capture_ended(self, event: m.CaptureEnded) -> None:
        live = await self._open(event.call_id, event.payment_id)
        if live is None:
            return
        error = event.error.value if event.error else None

        def record(session: Session) -> None:
            row = payment_for_change(session, event.payment_id)
            tell(session, row, "capture_ended", self._context.now(), detail={"error": error})

        await self._context.write(record)
        self._context.live.close(event.payment_id)
        self._publish("capture.ended", live, None, error=error)
        self._context.capture_owners.pop(event.payment_id, None)

    # ---- after a reconnect -----------------------------------------------------------------------------

    async def _hello(self, sender_id: str, event: m.Hello) -> None:
        await self._calls.hello(sender_id, event)
        if event.kind == "cell":
            self._linking.cell_connected()
        for snapshot in event.calls:
            if snapshot.payment_id is not None:
                await self._repair_capture(snapshot, snapshot.payment_id)

    async def _repair_capture(self, snapshot: m.CallSnapshot, payment_id: str) -> None:
        """Fill the live view from the cell's snapshot and move the payment to where the cell is."""
        live = await self._open(snapshot.call_id, payment_id)
        if live is None:
            return
        live.collecting = snapshot.collecting
        for field, digits in snapshot.digits.items():
            live.of(field).digits = digits
        for field in snapshot.stored:
            live.of(field).state = "stored"

        def record(session: Session) -> tuple[str, bool]:
            row = payment_for_change(session, payment_id)
            if row.state == PaymentState.CREATED.value:
                move(session, row, PaymentEvent.CAPTURE_STARTED, self._context.now())
            if row.state == PaymentState.CAPTURING.value:
                row.token = snapshot.token or row.token
                waiting = {snapshot.collecting} if snapshot.collecting else set()
                row.stored = in_order([*row.stored, *(f.value for f in snapshot.stored if f not in waiting)])
                if not waiting and not missing_fields(row) and row.token:
                    move(session, row, PaymentEvent.CAPTURE_COMPLETED, self._context.now())
            return row.state, row.set_aside_at is not None

        await self._cards.read_first(payment_id)
        name, set_aside = await self._context.write(record)
        state = PaymentState(name)
        await self._context.show_payment(payment_id)
        self._cards.read_soon(payment_id)
        if state in FINAL_FOR_CAPTURE or state is PaymentState.CANCELLED or set_aside:
            self._captures.end_soon(payment_id)


def _owner(session: Session, payment_id: str) -> tuple[str | None] | None:
    row = session.get(PaymentRow, payment_id)
    return None if row is None else (row.operator_id,)
