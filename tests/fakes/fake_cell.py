"""A cell's view of a capture: it obeys commands and plays the control events that a real cell would send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from paycall.control import messages as m
from paycall.domain.call import Direction, EndReason
from paycall.domain.errors import (
    NotFoundError,
    StateError,
)
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.domain.ports import CaptureRules
from tests.fakes.fake_vault import FakeVault

Handler = Callable[[str, m.Event], Awaitable[None]]


@dataclass
class _Capture:
    payment_id: str
    queue: list[Field]
    collecting: Field | None = None
    digits: dict[Field, int] = field(default_factory=dict)
    stored: list[Field] = field(default_factory=list)
    token: str | None = None
    rules: CaptureRules = field(default_factory=CaptureRules)


@dataclass
class _Call:
    call_id: str
    caller: str
    agent_uri: str
    started_at: float
    connected: bool = False
    masked: bool = False
    recording: m.Recording = "off"
    test_call_id: str | None = None
    capture: _Capture | None = None


class FakeCell:
    """Implements ``CallControl`` for its own calls and plays their events to ``handler``."""

    def __init__(self, vault: FakeVault) -> None:
        self.sender_id = new_id("cell")
        self.boot_id = new_id("boot")
        self.node_id = new_id("node")
        self.vault = vault
        self.handler: Handler | None = None
        self.away = False
        self.calls: dict[str, _Call] = {}
        self.routes: dict[str, str] = {}
        self.refuse: Exception | None = None
        self.dialled: list[tuple[str, str]] = []
        self.link_codes: dict[str, str] = {}

    def connected(self) -> set[str]:
        return set() if self.away else {self.sender_id}

    async def say(self, event: m.Event) -> None:
        if self.handler is not None:
            await self.handler(self.sender_id, event)

    # ---- calls -----------------------------------------------------------------------------------------

    async def hello(self) -> None:
        await self.say(
            m.Hello(
                sender_id=self.sender_id,
                boot_id=self.boot_id,
                kind="cell",
                node_id=self.node_id,
                version="test",
                calls=tuple(self._snapshot(call) for call in self.calls.values()),
            )
        )

    def _snapshot(self, call: _Call) -> m.CallSnapshot:
        capture = call.capture
        return m.CallSnapshot(
            call_id=call.call_id,
            direction="inbound",
            caller=call.caller,
            called="100",
            agent_uri=call.agent_uri,
            connected=call.connected,
            masked=call.masked,
            recording=call.recording,
            started_at=call.started_at,
            test_call_id=call.test_call_id,
            payment_id=capture.payment_id if capture else None,
            collecting=capture.collecting if capture else None,
            digits=capture.digits if capture else {},
            stored=tuple(capture.stored) if capture else (),
            token=capture.token if capture else None,
        )

    async def ring(
        self,
        caller: str = "+3612345678",
        agent_uri: str = "sip:desk@127.0.0.1",
        test_call_id: str | None = None,
    ) -> str:
        call = _Call(new_id("call"), caller, agent_uri, time.time(), test_call_id=test_call_id)
        self.calls[call.call_id] = call
        await self.say(
            m.CallArrived(
                call_id=call.call_id,
                caller=caller,
                called="100",
                agent_uri=agent_uri,
                started_at=call.started_at,
                test_call_id=test_call_id,
            )
        )
        return call.call_id

    async def answer(self, call_id: str) -> None:
        self.calls[call_id].connected = True
        await self.say(m.CallConnected(call_id=call_id, agent_uri=self.calls[call_id].agent_uri))

    async def call_in(self, **what: Any) -> str:
        call_id = await self.ring(**what)
        await self.answer(call_id)
        return call_id

    async def end(self, call_id: str, reason: EndReason = EndReason.CALLER_HUNG_UP) -> None:
        call = self.calls.pop(call_id)
        if call.capture is not None:
            await self.say(
                m.CaptureEnded(call_id=call_id, payment_id=call.capture.payment_id, error="caller-hung-up")
            )
        await self.say(m.CallEnded(call_id=call_id, reason=reason))

    # ---- commands --------------------------------------------------------------------------------------

    def _call(self, call_id: str) -> _Call:
        if self.refuse is not None:
            raise self.refuse
        try:
            return self.calls[call_id]
        except KeyError:
            raise NotFoundError from None

    async def start_capture(
        self, call_id: str, payment_id: str, fields: Sequence[Field], rules: CaptureRules
    ) -> None:
        call = self._call(call_id)
        if call.capture is not None and call.capture.payment_id != payment_id:
            raise StateError("another payment is being taken")
        call.capture = _Capture(payment_id, [*fields], rules=rules)
        call.masked = True
        await self.say(m.CaptureStarted(call_id=call_id, payment_id=payment_id))
        await self.say(m.MaskChanged(call_id=call_id, masked=True))
        await self._next(call)

    async def capture_fields(self, call_id: str, payment_id: str, fields: Sequence[Field]) -> None:
        call = self._call(call_id)
        if call.capture is None or call.capture.payment_id != payment_id:
            raise StateError
        call.capture.queue = [*fields]
        call.capture.stored = [name for name in call.capture.stored if name not in fields]
        await self._next(call)

    async def drop_field(self, call_id: str, payment_id: str, field: Field) -> None:
        call = self._call(call_id)
        if call.capture is None or call.capture.payment_id != payment_id:
            raise StateError
        call.capture.queue = [name for name in call.capture.queue if name is not field]
        if call.capture.collecting is field:
            await self._next(call)

    async def end_capture(self, call_id: str, payment_id: str) -> None:
        call = self._call(call_id)
        if call.capture is None or call.capture.payment_id != payment_id:
            raise StateError
        call.capture = None
        call.masked = False
        await self.say(m.CaptureEnded(call_id=call_id, payment_id=payment_id))
        await self.say(m.MaskChanged(call_id=call_id, masked=False))

    async def route_call(self, call_id: str, agent_uri: str) -> None:
        self._call(call_id)
        self.routes[call_id] = agent_uri

    def can_dial_out(self) -> bool:
        return True

    async def dial_out(self, call_id: str, agent_uri: str, number: str) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.dialled.append((agent_uri, number))
        call = _Call(call_id, number, agent_uri, time.time())
        self.calls[call_id] = call
        await self.say(
            m.CallArrived(
                call_id=call_id, direction=Direction.OUTBOUND, caller=number, called="", agent_uri=agent_uri,
                started_at=call.started_at,
            )
        )  # fmt: skip

    async def expect_link_code(self, link_id: str, code: str, seconds: float) -> None:
        self.link_codes[link_id] = code

    async def forget_link_code(self, link_id: str) -> None:
        self.link_codes.pop(link_id, None)

    async def pause_recording(self, call_id: str, paused: bool) -> None:
        call = self._call(call_id)
        if call.recording == "off":
            raise StateError("the call is not recorded")
        await self.record(call_id, "paused" if paused else "on")

    async def record(self, call_id: str, recording: m.Recording) -> None:
        """The call is recorded from now on, or paused."""
        self.calls[call_id].recording = recording
        await self.say(m.RecordingChanged(call_id=call_id, recording=recording))

    async def hang_up(self, call_id: str) -> None:
        self._call(call_id)
        await self.end(call_id, EndReason.HUNG_UP_BY_OPERATOR)

    # ---- the caller ------------------------------------------------------------------------------------

    async def _next(self, call: _Call) -> None:
        capture = call.capture
        assert capture is not None
        if not capture.queue:
            capture.collecting = None
            await self.say(
                m.CaptureCompleted(call_id=call.call_id, payment_id=capture.payment_id, token=capture.token)
            )
            return
        capture.collecting = capture.queue.pop(0)
        capture.digits[capture.collecting] = 0
        await self.say(
            m.FieldStarted(
                call_id=call.call_id,
                payment_id=capture.payment_id,
                field=capture.collecting,
                seconds=20,
                attempts_left=3,
            )
        )

    async def press(self, call_id: str, digits: int, brand: str | None = None) -> None:
        """The caller has pressed so many keys of the present field."""
        capture = await self._asked(self.calls[call_id])
        assert capture.collecting is not None
        capture.digits[capture.collecting] = digits
        await self.say(
            m.FieldProgress(
                call_id=call_id,
                payment_id=capture.payment_id,
                field=capture.collecting,
                digits=digits,
                seconds=5,
                brand=brand,
            )
        )

    async def _asked(self, call: _Call) -> _Capture:
        """The call's capture, once a field is asked for: the command may just be under way."""
        async with asyncio.timeout(40):
            while call.capture is None or call.capture.collecting is None:
                await asyncio.sleep(0.01)
        return call.capture

    async def key(self, call_id: str, *values: str) -> None:
        """The caller keys the fields that are asked for, one after the other."""
        for value in values:
            call = self.calls[call_id]
            capture = await self._asked(call)
            assert capture.collecting is not None
            name = capture.collecting
            for count in range(1, len(value) + 1):
                brand = "visa" if name is Field.CARD_NUMBER and value.startswith("4") else None
                await self.press(call_id, count, brand)
            capture.token = self.vault.store(capture.payment_id, name, value)
            capture.stored.append(name)
            await self.say(
                m.FieldStored(call_id=call_id, payment_id=capture.payment_id, field=name, token=capture.token)
            )
            await self._next(call)

    async def fail(self, call_id: str, error: str, digits: int = 0) -> None:
        """The caller's keys were not accepted; the field is asked for again."""
        capture = await self._asked(self.calls[call_id])
        assert capture.collecting is not None
        name = capture.collecting
        await self.say(
            m.FieldFailed(
                call_id=call_id,
                payment_id=capture.payment_id,
                field=name,
                error=error,
                digits=digits,
                attempts_left=2,
            )
        )
        capture.queue.insert(0, name)
        await self._next(self.calls[call_id])
