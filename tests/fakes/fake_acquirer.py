"""An acquirer in memory that works: a ledger, idempotency by key, and a script of what goes wrong on the way.

``script`` is used up one entry a call of ``authorize``; when it is empty, cards are approved. Entries:
``approve``, ``decline``, ``partial``, ``unclear`` (an answer that is not understood), ``lost-answer`` (booked,
no answer), ``lost-request`` (not booked, no answer), ``not-sent``, ``refused``, ``hang``, ``bug``. ``down`` makes
every call fail before it is sent; ``trouble`` names operations that give no answer although they are done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.declines import decline_for
from paycall.domain.errors import NoAnswerError, NotSentError, RefusedRequestError
from paycall.domain.money import Money


@dataclass
class Booking:
    """One authorization in the ledger."""

    reference: str
    amount_minor: int
    approved: bool
    brand: str | None
    had_code: bool
    on_file: str | None = None
    first_reference: str | None = None
    settled_minor: int = 0
    refunded_minor: int = 0
    reversed: bool = False
    voided: bool = False

    @property
    def reserved_minor(self) -> int:
        """What the card holder's money is bound for."""
        return self.amount_minor if self.approved and not (self.reversed or self.voided) else 0


@dataclass
class FakeAcquirer:
    """Implements ``domain.card_ports.Acquirer``."""

    name: str = "sandbox"
    script: list[str] = field(default_factory=list)
    down: bool = False
    decline_code: str = "05"
    trouble: set[str] = field(default_factory=set)
    ledger: dict[str, Booking] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    traits: Traits = field(default=Traits(key_life_s=86_400))
    _answers: dict[str, OperationResult] = field(default_factory=dict)

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """As the script says; the same attempt again gives the same answer."""
        self._reached("authorize")
        if request.attempt_id in self.ledger and not self.script:
            return self._result(request.attempt_id)
        step = self.script.pop(0) if self.script else "approve"
        if step == "not-sent":
            raise NotSentError
        if step == "refused":
            raise RefusedRequestError
        if step == "bug":
            raise KeyError(card.pan.expose())
        if step == "hang":
            await self.release.wait()
        if step == "lost-request":
            raise NoAnswerError
        if request.attempt_id not in self.ledger:
            amount = request.money.amount_minor // 2 if step == "partial" else request.money.amount_minor
            brand = card.pan.brand.value if card.pan.brand else None
            self.ledger[request.attempt_id] = Booking(
                reference=f"ref-{len(self.ledger) + 1}",
                amount_minor=amount,
                approved=step != "decline",
                brand=brand,
                had_code=card.security_code is not None,
                on_file=request.on_file,
                first_reference=request.first_reference,
            )
        if step == "lost-answer":
            raise NoAnswerError
        if step == "unclear":
            return AuthorizationResult(Outcome.UNKNOWN, self.name)
        return self._result(request.attempt_id)

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """From the ledger."""
        self._reached("look_up")
        self._troubled("look_up")
        return self._result(attempt_id) if attempt_id in self.ledger else None

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Take it."""
        return self._once("settle", key, acquirer_reference, money.amount_minor)

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Release it."""
        return self._once("void", key, acquirer_reference, 0)

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Give it back."""
        return self._once("refund", key, acquirer_reference, money.amount_minor)

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """From the answers, if the traits say that it can be read."""
        self._reached("look_up_operation")
        if not self.traits.reads_operations:
            return OperationResult(OperationOutcome.UNKNOWN)
        return self._answers.get(key)

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Undo by our reference; nothing to undo is done too."""
        self._reached("reverse")
        if attempt_id in self.ledger:
            self.ledger[attempt_id].reversed = True
        self._troubled("reverse")
        return OperationResult(OperationOutcome.DONE)

    async def aclose(self) -> None:
        """Nothing is held."""

    def _once(self, kind: str, key: str, reference: str, amount_minor: int) -> OperationResult:
        self._reached(kind)
        booking = next(b for b in self.ledger.values() if b.reference == reference)
        if key not in self._answers:
            if kind == "settle":
                booking.settled_minor += amount_minor
            elif kind == "refund":
                booking.refunded_minor += amount_minor
            else:
                booking.voided = True
            self._answers[key] = OperationResult(OperationOutcome.DONE, f"{reference}-{kind}", "00")
        self._troubled(kind)
        return self._answers[key]

    def _reached(self, call: str) -> None:
        if self.down:
            raise NotSentError
        self.calls.append(call)

    def _troubled(self, call: str) -> None:
        if call in self.trouble:
            raise NoAnswerError

    def _result(self, attempt_id: str) -> AuthorizationResult:
        booking = self.ledger[attempt_id]
        if booking.reversed:
            return AuthorizationResult(Outcome.REVERSED, self.name, booking.reference)
        if not booking.approved:
            decline = decline_for("iso8583_de39", self.decline_code)
            return AuthorizationResult(Outcome.DECLINED, self.name, booking.reference, decline=decline)
        return AuthorizationResult(
            Outcome.APPROVED,
            self.name,
            acquirer_reference=booking.reference,
            authorization_code="OK1234",
            avs_result="Y",
            code_result="M" if booking.had_code else None,
            approved_minor=booking.amount_minor,
        )
