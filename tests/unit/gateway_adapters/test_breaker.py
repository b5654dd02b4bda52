"""The circuit breaker: faults open it, declines never do, what makes things right is never held back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_adapters.breaker import FAILURES_TO_OPEN, OPEN_S, GuardedAcquirer
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card, OperationKind, Traits
from paycall.domain.decline_codes import ISO8583
from paycall.domain.declines import decline_for
from paycall.domain.errors import AcquirerFault, NoAnswerError, NotSentError, RefusedRequestError
from paycall.domain.money import Money
from paycall.domain.secret import Pan

REQUEST = AuthorizationRequest("att_x", "pay_x", Money(100, "EUR"))
CARD = Card(Pan("4242424242424242"))
APPROVED = AuthorizationResult(Outcome.APPROVED, "there", "ref", approved_minor=100)
DECLINED = AuthorizationResult(Outcome.DECLINED, "there", "ref", decline=decline_for(ISO8583, "05"))
DONE = OperationResult(OperationOutcome.DONE)


class There:
    """An acquirer that does what it is told and counts how often it was asked."""

    name = "there"
    traits = Traits(key_life_s=60)

    def __init__(self) -> None:
        self.does: AuthorizationResult | BaseException = APPROVED
        self.asked: list[str] = []

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        self.asked.append("authorize")
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        self.asked.append("look_up")
        return None

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        self.asked.append("settle")
        return DONE

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        self.asked.append("void")
        return DONE

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        self.asked.append("refund")
        return DONE

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        self.asked.append("reverse")
        return DONE

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        self.asked.append("look_up_operation")
        return None

    async def aclose(self) -> None:
        self.asked.append("aclose")


class Site:
    """The guarded acquirer with a clock to turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.there = There()
        self.noted: list[tuple[str, str | None]] = []
        self.seen: list[tuple[str, str, str, float]] = []
        self.guarded = GuardedAcquirer(
            self.there, note=self.note, clock=lambda: self.now, observe=lambda *what: self.seen.append(what)
        )

    def note(self, event: str, **fields: str | None) -> None:
        self.noted.append((event, fields.get("code") or fields.get("name")))

    def authorize(self) -> Any:
        return asyncio.run(self.guarded.authorize(REQUEST, CARD))

    def fail(self, fault: BaseException, times: int) -> None:
        self.there.does = fault
        for _ in range(times):
            with pytest.raises(type(fault)):
                self.authorize()


@pytest.mark.parametrize("fault", [NoAnswerError(), NotSentError(), asyncio.CancelledError()])
def test_it_opens_after_some_failures_and_nothing_is_sent_while_it_is_open(fault: BaseException) -> None:
    site = Site()
    site.fail(fault, FAILURES_TO_OPEN)
    site.there.does = APPROVED
    with pytest.raises(NotSentError):
        site.authorize()
    assert len(site.there.asked) == FAILURES_TO_OPEN


def test_one_probe_after_the_pause_decides() -> None:
    site = Site()
    site.fail(NoAnswerError(), FAILURES_TO_OPEN)
    site.now = OPEN_S
    site.fail(NoAnswerError(), 1)
    with pytest.raises(NotSentError):
        site.authorize()
    site.now = 2 * OPEN_S
    site.there.does = APPROVED
    assert site.authorize() is APPROVED
    assert site.authorize() is APPROVED


def test_a_probe_that_ends_in_an_adapters_own_mistake_is_not_the_last() -> None:
    site = Site()
    site.fail(NoAnswerError(), FAILURES_TO_OPEN)
    site.now = OPEN_S
    site.there.does = TypeError("a mistake of the adapter's")
    with pytest.raises(TypeError):
        site.authorize()
    site.now = 2 * OPEN_S
    site.there.does = APPROVED
    assert site.authorize() is APPROVED


def test_only_one_probe_at_a_time() -> None:
    site = Site()
    site.fail(NoAnswerError(), FAILURES_TO_OPEN)
    site.now = OPEN_S
    site.there.does = APPROVED

    async def two() -> list[Any]:
        return await asyncio.gather(
            site.guarded.authorize(REQUEST, CARD),
            site.guarded.authorize(REQUEST, CARD),
            return_exceptions=True,
        )

    first, second = asyncio.run(two())
    assert first is APPROVED or isinstance(second, NotSentError)


@pytest.mark.parametrize("answer", [DECLINED, RefusedRequestError()])
def test_declines_and_refusals_never_count(answer: Any) -> None:
    site = Site()
    for _ in range(3 * FAILURES_TO_OPEN):
        site.there.does = answer
        try:
            site.authorize()
        except AcquirerFault as fault:
            assert isinstance(fault, RefusedRequestError)
    assert len(site.there.asked) == 3 * FAILURES_TO_OPEN


def test_failures_must_follow_each_other() -> None:
    site = Site()
    for _ in range(3):
        site.fail(NoAnswerError(), FAILURES_TO_OPEN - 1)
        site.there.does = DECLINED
        assert site.authorize() is DECLINED


def test_void_look_up_and_reversal_go_through_an_open_breaker_and_operations_have_their_own() -> None:
    site = Site()
    site.fail(NoAnswerError(), FAILURES_TO_OPEN)
    site.there.asked.clear()

    async def rest() -> None:
        await site.guarded.void("k", "ref")
        await site.guarded.look_up("att_x", datetime.now(UTC))
        await site.guarded.reverse("k", "att_x", REQUEST.money, datetime.now(UTC))
        await site.guarded.settle("k", "ref", REQUEST.money)
        await site.guarded.refund("k", "ref", REQUEST.money)
        await site.guarded.aclose()

    asyncio.run(rest())
    assert site.there.asked == ["void", "look_up", "reverse", "settle", "refund", "aclose"]


def test_a_decline_code_that_nobody_knows_is_noted() -> None:
    site = Site()
    unknown = decline_for(ISO8583, "Q7")
    site.there.does = AuthorizationResult(Outcome.DECLINED, "there", "ref", decline=unknown)
    site.authorize()
    site.there.does = DECLINED
    site.authorize()
    assert site.noted == [("decline_code_unknown", "Q7")]


def test_an_opened_breaker_is_noted_once() -> None:
    site = Site()
    site.fail(NoAnswerError(), FAILURES_TO_OPEN)
    with pytest.raises(NotSentError):
        site.authorize()
    assert site.noted == [("acquirer_left_alone", "authorize")]


def test_every_request_is_told_with_what_became_of_it() -> None:
    site = Site()
    site.there.does = APPROVED
    site.authorize()
    for fault in (
        NoAnswerError(),
        NotSentError(),
        RefusedRequestError(),
        asyncio.CancelledError(),
        KeyError(),
    ):
        site.fail(fault, 1)
    name = site.there.name
    outcomes = ["approved", "no-answer", "not-sent", "refused-request", "time-limit", "no-answer"]
    assert [what[:3] for what in site.seen] == [(name, "authorize", outcome) for outcome in outcomes]
    site.fail(NoAnswerError(), FAILURES_TO_OPEN - 2)  # since the refusal there were two failures
    assert site.guarded.held_back() == {"authorize": True, "settle": False, "refund": False}
    with pytest.raises(NotSentError):
        site.authorize()
    assert site.seen[-1] == (name, "authorize", "held-back", 0.0)
