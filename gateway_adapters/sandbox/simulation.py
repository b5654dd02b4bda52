"""What happens to an authorization in the simulator, whichever wire it came by: replay, fault, booking, delay.

Rules: a request is booked before its answer is delayed or lost, as at a real acquirer, so a client that gives up
waiting has been charged. A fault happens once for an idempotency key. The security code is looked at by nobody
and kept nowhere; the card number is reduced to its trace in the first step.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from fastapi import Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from gateway_adapters.sandbox.behaviour import (
    INSUFFICIENT_FUNDS_CODE,
    PARTIAL_CODE,
    Behaviour,
    Fault,
    behaviour_for,
)
from gateway_adapters.sandbox.ledger import Authorization, CardTrace, KeyReusedError, Ledger
from gateway_adapters.sandbox.rules import Rules
from paycall.domain.card import brand_of

GARBAGE = "<!doctype html><p>Service temporarily out of ord"
# An answer that is an error is answered again under its key, or the request is carried out anew.
_KEEPS_ERRORS, _FORGETS_ERRORS = frozenset({"stripe"}), frozenset({"checkout_com"})
TRANSPORT = "paycall.transport"  # where the app leaves the connection's transport in the ASGI scope

Render = Callable[[Authorization], tuple[int, dict[str, Any]]]
RenderError = Callable[[int, str], Response]


class KeyInUseError(Exception):
    """A request with this key is being worked on."""


class Refused(Exception):
    """Stop here and give this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__("refused")
        self.response = response


@dataclass(frozen=True)
class Order:
    """A wish to authorize, as any wire brings it.

    ``partial``: the client can live with a part of the amount; ``settle``: take it at once; ``booking_id``: the
    ledger's name for it, where the wire gives one.
    """

    key: str
    reference: str
    payment: str
    wire: str
    amount_minor: int
    currency: str
    card_number: str = field(repr=False)
    expiry: str = field(repr=False, default="")
    partial: bool = False
    settle: bool = False
    booking_id: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What to answer, and what goes wrong with the answer."""

    status: int
    body: dict[str, Any]
    fault: Fault | None = None


class Simulator:
    """The ledger with the behaviours in front of it."""

    def __init__(self, ledger: Ledger, api_key: str, rules: Rules, webhook_urls: dict[str, str]) -> None:
        self.ledger = ledger
        self.api_key = api_key
        self._rules = rules
        self._webhook_urls = webhook_urls
        self._deliveries: set[asyncio.Task[None]] = set()
        self._in_use: set[str] = set()
        self._hash_key = hashlib.sha256(b"paycall simulator card hash:" + api_key.encode()).digest()

    def trace(self, card_number: str) -> CardTrace:
        """What the ledger may keep of a card number."""
        brand = brand_of(card_number)
        return CardTrace(
            brand=brand.value if brand else "unknown",
            last4=card_number[-4:],
            card_hash=self._hash(card_number),
        )

    async def authorize(
        self, request: Request, order: Order, render: Render, render_error: RenderError
    ) -> Response:
        """Answer an order on an HTTP wire, or drop the connection."""
        try:
            verdict = await self.decide(order, render)
        except KeyReusedError:
            return render_error(409, "idempotency-key-reused")
        except KeyInUseError:
            return render_error(409, "idempotency-key-in-use")
        if verdict.fault is Fault.TOO_MANY_REQUESTS:
            return render_error(429, "too-many-requests")
        if verdict.fault in (Fault.DROP_BEFORE_BOOKING, Fault.DROP_AFTER_BOOKING):
            return await drop_connection(request)
        if verdict.fault is Fault.GARBAGE:
            return PlainTextResponse(GARBAGE)
        if verdict.fault is Fault.SERVER_ERROR:
            error = render_error(500, "internal-error")
            self._after_error(order.wire, order.key, self._fingerprint(order), error)
            return error
        return JSONResponse(verdict.body, verdict.status)

    async def decide(self, order: Order, render: Render) -> Verdict:
        """Book an order, or find out what was answered before; wait as long as its behaviour says.

        Raises
        ------
        KeyReusedError
            If the key came with another order.
        KeyInUseError
            If it is being worked on.
        """
        if order.key in self._in_use:
            raise KeyInUseError
        self._in_use.add(order.key)
        try:
            return await self._decide(order, render)
        finally:
            self._in_use.discard(order.key)

    async def _decide(self, order: Order, render: Render) -> Verdict:
        fingerprint = self._fingerprint(order)
        replay = self.ledger.replay(order.key, fingerprint)
        if replay is not None:
            return Verdict(replay.status, replay.body)
        behaviour = self._behaviour(order)
        fault = behaviour.fault
        if fault is not None and not self.ledger.first_fault(order.key, fingerprint):
            fault = None
        if fault in (Fault.TOO_MANY_REQUESTS, Fault.DROP_BEFORE_BOOKING):
            return Verdict(0, {}, fault)
        await asyncio.sleep(behaviour.booking_delay_s)
        status, body = self._book(order, behaviour, render, fingerprint)
        self._in_use.discard(order.key)  # from here on the same request is answered what is booked
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        return Verdict(status, body, fault)

    def _behaviour(self, order: Order) -> Behaviour:
        brand = brand_of(order.card_number)
        chosen = self._rules.match(
            wire=order.wire,
            brand=brand.value if brand else "unknown",
            last4=order.card_number[-4:],
            currency=order.currency,
            amount_minor=order.amount_minor,
        )
        behaviour = chosen or behaviour_for(order.card_number, order.amount_minor)
        if behaviour.code == PARTIAL_CODE and not order.partial:
            return replace(behaviour, code=INSUFFICIENT_FUNDS_CODE)
        return behaviour

    def _book(
        self, order: Order, behaviour: Behaviour, render: Render, fingerprint: str
    ) -> tuple[int, dict[str, Any]]:
        row = self.ledger.authorize(
            reference=order.reference,
            payment=order.payment,
            wire=order.wire,
            amount_minor=order.amount_minor,
            currency=order.currency,
            card=self.trace(order.card_number),
            behaviour=behaviour,
            booking_id=order.booking_id,
        )
        if order.settle and row.approved_minor:
            self.ledger.settle(row.id, row.approved_minor)
        status, body = render(row)
        self.ledger.answer(order.key, fingerprint, status, body)
        return status, body

    async def operate(
        self,
        request: Request,
        on: str,
        key: str,
        what: tuple[str | int, ...],
        act: Callable[[float], tuple[int, dict[str, Any]] | None],
    ) -> tuple[int, dict[str, Any]] | None:
        """Carry an operation out once for its key; None if there is nothing to do it to.

        ``on`` is the operation's name in the rules, whose faults happen here as they do to authorizations; ``act``
        is told for how many seconds the operation is only accepted.

        Raises
        ------
        KeyReusedError
            If the key came with another operation.
        KeyInUseError
            If a request with it is being worked on.
        Refused
            With the answer that a fault gives instead.
        """
        if key in self._in_use:
            raise KeyInUseError
        fingerprint = self._hash(json.dumps(what))
        replay = self.ledger.replay(key, fingerprint)
        if replay is not None:
            return replay.status, replay.body
        wire = str(what[0])
        fault, pending_s = self._operation_weather(on, wire, key, fingerprint)
        if fault is Fault.TOO_MANY_REQUESTS:
            raise Refused(JSONResponse({"code": "too-many-requests"}, 429))
        if fault is Fault.DROP_BEFORE_BOOKING:
            raise Refused(await drop_connection(request))
        done = act(pending_s)
        if done is not None:
            self.ledger.answer(key, fingerprint, *done)
        if fault is Fault.DROP_AFTER_BOOKING:
            raise Refused(await drop_connection(request))
        if fault is Fault.GARBAGE:
            raise Refused(PlainTextResponse(GARBAGE))
        if fault is Fault.SERVER_ERROR:
            error = JSONResponse({"code": "internal-error"}, 500)
            self._after_error(wire, key, fingerprint, error)
            raise Refused(error)
        return done

    def _after_error(self, wire: str, key: str, fingerprint: str, error: Response) -> None:
        """What the acquirer of this wire keeps of a server error under the request's key."""
        if wire in _KEEPS_ERRORS:
            self.ledger.answer(key, fingerprint, 500, json.loads(bytes(error.body)))
        elif wire in _FORGETS_ERRORS:
            self.ledger.forget_answer(key)

    def operation_fault(self, on: str, wire: str, key: str, fingerprint: str) -> Fault | None:
        """What goes wrong with an operation, once for its key; only a rules file can say so."""
        return self._operation_weather(on, wire, key, fingerprint)[0]

    def _operation_weather(
        self, on: str, wire: str, key: str, fingerprint: str
    ) -> tuple[Fault | None, float]:
        chosen = self._rules.match(on=on, wire=wire)
        if chosen is None:
            return None, 0.0
        first = chosen.fault is not None and self.ledger.first_fault(key, fingerprint)
        return chosen.fault if first else None, chosen.pending_s

    def send_webhook(self, wire: str, headers: dict[str, str], body: str) -> None:
        """Put a webhook into the outbox, and deliver it if somebody wants it."""
        self.ledger.send_webhook(wire, headers, body)
        if wire in self._webhook_urls:
            task = asyncio.create_task(self._deliver(wire))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, wire: str) -> None:
        """Try each undelivered webhook up to five times, a second apart; the outbox keeps what nobody took."""
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            for webhook in self.ledger.webhooks(wire, undelivered_only=True):
                for _ in range(5):
                    try:
                        answer = await client.post(
                            self._webhook_urls[wire],
                            content=webhook.body,
                            headers=json.loads(webhook.headers),
                        )
                    except httpx.HTTPError:
                        answer = None
                    if answer is not None and answer.is_success:
                        self.ledger.webhook_delivered(webhook.id)
                        break
                    await asyncio.sleep(1.0)

    def _fingerprint(self, order: Order) -> str:
        parts = (
            order.wire,
            order.reference,
            order.amount_minor,
            order.currency,
            order.card_number,
            order.expiry,
        )
        return self._hash(json.dumps(parts))

    def _hash(self, text: str) -> str:
        """A keyed hash: without the key nobody can try all card numbers against it (PCI DSS 3.5.1.1)."""
        return hmac.new(self._hash_key, text.encode(), hashlib.sha256).hexdigest()


def simulator_of(request: Request) -> Simulator:
    """The simulator behind a request."""
    simulator: Simulator = request.app.state.simulator
    return simulator


async def drop_connection(request: Request) -> Response:
    """Close the TCP connection without an answer, as a crashed host or a cut line does.

    Raises
    ------
    RuntimeError
        If the server is not uvicorn: only there is the connection within reach.
    """
    transport = request.scope.get(TRANSPORT)
    if transport is None:
        raise RuntimeError("the simulator drops connections only under uvicorn")
    transport.abort()
    while not await request.is_disconnected():
        await asyncio.sleep(0.001)
    return Response()  # nobody is there any more to get it
