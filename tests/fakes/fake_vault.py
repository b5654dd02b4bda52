"""A vault in memory that answers by the card's number as the sandbox acquirer does, and a clock moved by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    CardRetry,
    CardSummary,
    KeptCard,
    OperationOutcome,
    OperationResult,
    Outcome,
    Search,
)
from paycall.domain.declines import decline_for
from paycall.domain.errors import (
    CardExpiredError,
    NotFoundError,
    NotSentError,
    SecurityCodeGoneError,
    StateError,
    VaultUnavailableError,
)
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.domain.money import Money

APPROVED = "4242424242424242"
DECLINED = "4000000000000002"
WRONG_CODE = "4000000000000127"
NO_ANSWER = "4000000000000341"
PARTIAL = "4000000000000440"
_CODES = {DECLINED: "05", WRONG_CODE: "N7", "4000000000009995": "51"}


class FakeClock:
    """The present, moved by hand."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._stopped_at_s: float | None = None

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        real_s = time.monotonic() if self._stopped_at_s is None else self._stopped_at_s
        return real_s + self._ahead.total_seconds()

    def stop(self) -> None:
        """From here on only ``advance`` moves what is measured: for limits that a slow machine would outwait."""
        self._stopped_at_s = time.monotonic()

    def advance(self, **by: float) -> None:
        self._ahead += timedelta(**by)


@dataclass
class _Card:
    token: str
    fields: dict[Field, str] = field(default_factory=dict)
    code_at: datetime | None = None


class FakeVault:
    """Implements ``PaymentVault``. ``down`` makes it unreachable."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.cards: dict[str, _Card] = {}
        self.attempts: dict[str, AuthorizationResult] = {}
        self.authorizations: list[AuthorizationRequest] = []
        self.operations: dict[str, tuple[str, int]] = {}
        self.dropped: list[str] = []
        self.kept: dict[str, tuple[str, KeptCard, dict[Field, str]]] = {}
        self.webhooks: list[tuple[dict[str, str], bytes]] = []
        self.failed_by_webhook: list[str] = []
        self.down = False
        self.summaries_down = False
        self.lose_answers = False
        self.gate: asyncio.Event | None = None
        self.retry: CardRetry | None = None
        self.operation_outcome = OperationOutcome.DONE
        self.needs_review = False
        self.search: Search | None = None
        self.enquiries: list[str] = []
        self.enquiry_gate: asyncio.Event | None = None
        self.settles_part = True
        self.operation_error: type[Exception] | None = None
        self.closed: list[tuple[str, str, str | None]] = []

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
        if self.summaries_down:
            raise VaultUnavailableError
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
        if request.keep_for and result.outcome is Outcome.APPROVED:
            self._keep(request.keep_for, card.fields)
        if self.gate is not None:
            await self.gate.wait()
        if result.outcome is not Outcome.UNKNOWN:  # as long as nobody knows, it may be needed again
            card.fields.pop(Field.SECURITY_CODE, None)
        if self.lose_answers:
            raise VaultUnavailableError
        return self.attempts[request.attempt_id]

    def _decide(self, number: str, request: AuthorizationRequest) -> AuthorizationResult | None:
        if number == "4000000000000408":
            return None
        if number == NO_ANSWER:
            return AuthorizationResult(Outcome.UNKNOWN, "sandbox")
        if number == PARTIAL:
            decline = decline_for("iso8583_de39", "51")
            return AuthorizationResult(
                Outcome.DECLINED, "sandbox", "sbx_part", decline=decline, reversal_due=True
            )
        if number in _CODES:
            decline = decline_for("iso8583_de39", _CODES[number])
            return AuthorizationResult(Outcome.DECLINED, "sandbox", "sbx_declined", decline=decline)
        return AuthorizationResult(
            Outcome.APPROVED, "sandbox", "sbx_approved", "A1B2C3", "Y", "M", None, request.money.amount_minor,
            settles_part=self.settles_part,
        )  # fmt: skip

    def resolve(self, attempt_id: str, outcome: Outcome) -> None:
        """What the vault's background worker found out about an unknown attempt."""
        code = "A1B2C3" if outcome is Outcome.APPROVED else None
        self.attempts[attempt_id] = AuthorizationResult(outcome, "sandbox", "sbx_late", code)

    async def attempt(self, attempt_id: str) -> AuthorizationResult | None:
        self._check()
        known = self.attempts.get(attempt_id)
        if known is None or not (known.outcome is Outcome.UNKNOWN or known.reversal_due):
            return known
        search = self.search if known.outcome is Outcome.UNKNOWN else None
        return replace(known, needs_review=self.needs_review, search=search)

    async def abandon(self, attempt_id: str) -> AuthorizationResult | None:
        return await self.attempt(attempt_id)

    async def enquire(self, attempt_id: str) -> AuthorizationResult | None:
        self._check()
        self.enquiries.append(attempt_id)
        if self.enquiry_gate is not None:
            await self.enquiry_gate.wait()
        return await self.attempt(attempt_id)

    async def kept_cards(self, customer: str) -> list[KeptCard]:
        self._check()
        return [card for owner, card, _ in self.kept.values() if owner == customer]

    async def use_kept_card(self, payment_id: str, token: str, customer: str) -> None:
        self._check()
        owner, card, fields = self.kept.get(token, ("", None, {}))
        if card is None or owner != customer:
            raise NotFoundError
        if card.expired:
            raise CardExpiredError
        self.cards[payment_id] = _Card(new_id("tok"), dict(fields))

    async def delete_kept_card(self, customer: str, token: str) -> None:
        self._check()
        if self.kept.get(token, ("",))[0] != customer:
            raise NotFoundError
        del self.kept[token]

    def _keep(self, customer: str, fields: dict[Field, str]) -> None:
        kept: dict[Field, str] = {**fields}
        kept.pop(Field.SECURITY_CODE, None)
        number, expiry = kept[Field.CARD_NUMBER], kept.get(Field.EXPIRY)
        token, now = new_id("tok"), self._clock.now().isoformat()
        self.kept[token] = (
            customer,
            KeptCard(
                token,
                "visa" if number.startswith("4") else "mastercard",
                number[-4:],
                f"{expiry[:2]}/{expiry[2:]}" if expiry else None,
                False,
                now,
                now,
            ),
            kept,
        )

    async def settle(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        return self._operate(operation_id, "settle", money.amount_minor)

    async def void(self, operation_id: str, attempt_id: str) -> OperationResult:
        return self._operate(operation_id, "void", 0)

    async def refund(self, operation_id: str, attempt_id: str, money: Money) -> OperationResult:
        return self._operate(operation_id, "refund", money.amount_minor)

    def _operate(self, operation_id: str, kind: str, amount_minor: int) -> OperationResult:
        self._check()
        if self.operation_error is not None:
            raise self.operation_error
        if self.operation_outcome is OperationOutcome.DONE:
            self.operations[operation_id] = (kind, amount_minor)
        waits = self.needs_review and self.operation_outcome is OperationOutcome.PENDING
        return OperationResult(self.operation_outcome, "sbx_op", "ok", needs_review=waits)

    async def close_by_hand(self, subject: str, verdict: str, acquirer_reference: str | None) -> None:
        self._check()
        if not self.needs_review:
            raise StateError
        self.closed.append((subject, verdict, acquirer_reference))
        if subject in self.attempts and self.attempts[subject].reversal_due:
            self.attempts[subject] = replace(self.attempts[subject], reversal_due=False)
        elif subject in self.attempts:
            self.resolve(subject, Outcome(verdict))
        else:
            self.operation_outcome = OperationOutcome(verdict)

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
