"""A panel with everything around it: a vault, cells and a clock that work, only smaller than the real ones.

``FakeVault`` keeps cards in memory and answers by the card's number as the sandbox acquirer does. ``FakeCell``
is a cell's view of a capture: it obeys commands and plays the control events that a real cell would send.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine

from paycall.control import messages as m
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    CardRetry,
    CardSummary,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.call import EndReason
from paycall.domain.declines import decline_for
from paycall.domain.errors import (
    NotFoundError,
    NotSentError,
    SecurityCodeGoneError,
    StateError,
    VaultUnavailableError,
)
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.ports import CaptureRules
from paycall.panel.app import create_app
from paycall.panel.dependencies import PanelDependencies
from paycall.panel.roles import Role
from paycall.panel.services.accounts import add_operator
from paycall.settings import PanelSettings, SiteSettings
from paycall.store.database import open_database, writing

APPROVED = "4242424242424242"
DECLINED = "4000000000000002"
WRONG_CODE = "4000000000000127"
NO_ANSWER = "4000000000000341"
PASSWORD = "correct-horse-battery-9"
_CODES = {DECLINED: "05", WRONG_CODE: "N7", "4000000000009995": "51"}
Handler = Callable[[str, m.Event], Awaitable[None]]


class FakeClock:
    """The present, moved by hand."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead.total_seconds()

    def advance(self, **by: float) -> None:
        self._ahead += timedelta(**by)


@dataclass
class _Card:
    token: str
    fields: dict[Field, str] = field(default_factory=dict)
    code_at: datetime | None = None


class FakeVault:
    """Implements ``PaymentVault``. ``down`` makes it unreachable; ``answers`` overrides an attempt's outcome."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.cards: dict[str, _Card] = {}
        self.attempts: dict[str, AuthorizationResult] = {}
        self.authorizations: list[AuthorizationRequest] = []
        self.operations: dict[str, tuple[str, int]] = {}
        self.dropped: list[str] = []
        self.webhooks: list[tuple[dict[str, str], bytes]] = []
        self.failed_by_webhook: list[str] = []
        self.down = False
        self.lose_answers = False
        self.gate: asyncio.Event | None = None
        self.retry: CardRetry | None = None
        self.operation_outcome = OperationOutcome.DONE

    def store(self, payment_id: str, name: Field, value: str) -> str:
        card = self.cards.get(payment_id)
        if card is None or name is Field.CARD_NUMBER:
            kept = card.fields if card else {}
            kept.pop(Field.SECURITY_CODE, None)
            card = self.cards[payment_id] = _Card(new_id("tok"), kept)
        card.fields[name] = value
        if name is Field.SECURITY_CODE:
            card.code_at = self._clock.now()
        return card.token

    def _check(self) -> None:
        if self.down:
            raise VaultUnavailableError

    def _code_left(self, card: _Card) -> float | None:
        if Field.SECURITY_CODE not in card.fields or card.code_at is None:
            return None
        left = 300 - (self._clock.now() - card.code_at).total_seconds()
        return left if left > 0 else None

    async def card(self, payment_id: str) -> CardSummary | None:
        self._check()
        card = self.cards.get(payment_id)
        if card is None:
            return None
        number, expiry = card.fields.get(Field.CARD_NUMBER, ""), card.fields.get(Field.EXPIRY)
        left = self._code_left(card)
        return CardSummary(
            token=card.token,
            brand="visa" if number.startswith("4") else "mastercard" if number else None,
            last4=number[-4:] or None,
            expiry=f"{expiry[:2]}/{expiry[2:]}" if expiry else None,
            has_security_code=left is not None,
            security_code_seconds_left=left,
            retry=self.retry,
        )

    async def authorize(self, request: AuthorizationRequest, token: str) -> AuthorizationResult:
        self._check()
        known = self.attempts.get(request.attempt_id)
        if known is not None:
            return known
        card = self.cards.get(request.payment_id)
        if card is None or card.token != token:
            raise NotFoundError
        if Field.SECURITY_CODE in card.fields and self._code_left(card) is None:
            raise SecurityCodeGoneError
        self.authorizations.append(request)
        number = card.fields[Field.CARD_NUMBER]
        result = self._decide(number, request)
        if result is None:
            raise NotSentError
        self.attempts[request.attempt_id] = result
        if self.gate is not None:
            await self.gate.wait()
        card.fields.pop(Field.SECURITY_CODE, None)
        if self.lose_answers:
            raise VaultUnavailableError
        return self.attempts[request.attempt_id]

    def _decide(self, number: str, request: AuthorizationRequest) -> AuthorizationResult | None:
        if number == "4000000000000408":
            return None
        if number == NO_ANSWER:
            return AuthorizationResult(Outcome.UNKNOWN, "sandbox")
        if number in _CODES:
            decline = decline_for("iso8583_de39", _CODES[number])
            return AuthorizationResult(Outcome.DECLINED, "sandbox", "sbx_declined", decline=decline)
        return AuthorizationResult(
            Outcome.APPROVED, "sandbox", "sbx_approved", "A1B2C3", "Y", "M", None, request.money.amount_minor
        )

    def resolve(self, attempt_id: str, outcome: Outcome) -> None:
        """What the vault's background worker found out about an unknown attempt."""
        code = "A1B2C3" if outcome is Outcome.APPROVED else None
        self.attempts[attempt_id] = AuthorizationResult(outcome, "sandbox", "sbx_late", code)

    async def attempt(self, attempt_id: str) -> AuthorizationResult | None:
        self._check()
        return self.attempts.get(attempt_id)

    async def settle(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        return self._operate(operation_id, "settle", money.amount_minor)

    async def void(self, operation_id: str, attempt_id: str) -> OperationResult:
        return self._operate(operation_id, "void", 0)

    async def refund(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        return self._operate(operation_id, "refund", money.amount_minor)

    def _operate(self, operation_id: str, kind: str, amount_minor: int) -> OperationResult:
        self._check()
        if self.operation_outcome is OperationOutcome.DONE:
            self.operations[operation_id] = (kind, amount_minor)
        return OperationResult(self.operation_outcome, "sbx_op", "ok")

    async def drop(self, payment_id: str) -> None:
        self._check()
        self.dropped.append(payment_id)
        self.cards.pop(payment_id, None)

    async def webhook(self, acquirer: str, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
        self._check()
        if acquirer != "adyen":
            raise NotFoundError
        self.webhooks.append((dict(headers), body))
        return tuple(self.failed_by_webhook)


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
        self.calls: dict[str, _Call] = {}
        self.routes: dict[str, str] = {}
        self.refuse: Exception | None = None

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
        capture = self.calls[call_id].capture
        assert capture is not None and capture.collecting is not None
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

    async def key(self, call_id: str, *values: str) -> None:
        """The caller keys the fields that are asked for, one after the other."""
        for value in values:
            call = self.calls[call_id]
            capture = call.capture
            assert capture is not None and capture.collecting is not None
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
        capture = self.calls[call_id].capture
        assert capture is not None and capture.collecting is not None
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


class FakeTestCalls:
    """Implements ``TestCalls`` by remembering what it was asked."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.asked_for: list[tuple[str, tuple[Field, ...]]] = []
        self.stopped: list[str] = []

    async def start(self, test_call_id: str) -> str:
        self.started.append(test_call_id)
        return "sip:scripted@127.0.0.1:5999"

    async def asked(self, test_call_id: str, fields: Sequence[Field]) -> None:
        self.asked_for.append((test_call_id, tuple(fields)))

    async def stop(self, test_call_id: str) -> None:
        self.stopped.append(test_call_id)


class PanelWorld:
    """A panel, its database and its surroundings. ``restart`` makes another panel over the same ones."""

    def __init__(
        self, directory: Path, settings: PanelSettings | None = None, url: str | None = None
    ) -> None:
        self.clock = FakeClock()
        self.vault = FakeVault(self.clock)
        self.cell = FakeCell(self.vault)
        self.test_calls = FakeTestCalls()
        self.settings = (settings or PanelSettings()).model_copy(update={"secret_file": directory / "secret"})
        self.url = url or f"sqlite:///{directory / 'panel.sqlite3'}"
        self.database: Engine = open_database(self.url)
        self.app: FastAPI = self._make()
        self._running: Any = None

    def _make(self) -> FastAPI:
        app = create_app(
            PanelDependencies(
                settings=self.settings,
                site=SiteSettings(),
                database=self.database,
                calls=self.cell,
                vault=self.vault,
                test_calls=self.test_calls,
                clock=self.clock,
            )
        )
        self.cell.handler = app.state.handle_event
        return app

    @classmethod
    def again(cls, former: PanelWorld) -> PanelWorld:
        """Another panel over the same database, with the same vault, cell and clock."""
        world = cls.__new__(cls)
        world.__dict__.update(former.__dict__)
        world.app = world._make()
        return world

    def add(self, name: str, role: Role = Role.OPERATOR, **more: Any) -> str:
        """An account with the known password; gives its id."""
        with writing(self.database) as session:
            operator_id, _ = add_operator(
                session, name, role, self.clock.now(), password=PASSWORD, must_change_password=False, **more
            )
        return operator_id

    async def start(self) -> None:
        self._running = self.app.router.lifespan_context(self.app)
        await self._running.__aenter__()

    async def stop(self) -> None:
        await self._running.__aexit__(None, None, None)

    async def restart(self) -> None:
        """The panel dies and another one comes up; cells and vault never noticed."""
        await self.stop()
        self.app = self._make()
        await self.start()

    async def __aenter__(self) -> PanelWorld:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self.database.dispose()

    def client(self) -> httpx.AsyncClient:
        """A program that nobody has signed in yet."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://panel.test")

    async def signed_in(self, name: str) -> httpx.AsyncClient:
        client = self.client()
        answer = await client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return client


async def until(
    client: httpx.AsyncClient, payment_id: str, *states: str, seconds: float = 5
) -> dict[str, Any]:
    """The payment as the API shows it, once it is in one of these states."""
    deadline = time.monotonic() + seconds
    while True:
        payment = (await client.get(f"/api/v1/payments/{payment_id}")).json()
        if payment.get("state") in states:
            return dict(payment)
        assert time.monotonic() < deadline, (states, payment)
        await asyncio.sleep(0.02)


async def new_payment(
    client: httpx.AsyncClient, call_id: str, key: str | None = None, **body: Any
) -> dict[str, Any]:
    """A payment of EUR 19.99 on the call."""
    answer = await client.post(
        f"/api/v1/calls/{call_id}/payments",
        json={"amount_minor": 1999, "currency": "EUR", **body},
        headers={"idempotency-key": key or new_id("key")},
    )
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


__all__ = [
    "APPROVED",
    "DECLINED",
    "NO_ANSWER",
    "PASSWORD",
    "WRONG_CODE",
    "FakeCell",
    "FakeClock",
    "FakeVault",
    "PanelWorld",
    "new_payment",
    "until",
]
