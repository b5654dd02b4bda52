"""What every adapter of the registry promises, over its real wire to the simulator, checked in its ledger.

Written once: a new adapter passes it by having its settings in ``conftest.py``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_adapters.registry import webhook_receiver
from paycall.demo import cards as keyed_cards
from paycall.demo.leaks import Searcher
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OnFile,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Acquirer, Card
from paycall.domain.declines import Retry
from paycall.domain.errors import AcquirerFault, NoAnswerError, NotSentError, RefusedRequestError
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.secret import Pan, SecurityCode

GOOD = "4242424242424242"
SLOW = "4000000000000259"
DROPPED_AFTER_BOOKING = "4000000000000341"
DROPPED_BEFORE_BOOKING = "4000000000000408"
GARBAGE = "4000000000000416"
SERVER_ERROR = "4000000000000424"
TOO_MANY_REQUESTS = "4000000000000432"
HALF_APPROVED = "4000000000000440"
ANSWERED_TWICE = "4000000000000457"
SECURITY_CODE = "739"
AMOUNT = Money(4200, "EUR")
FOUND_NOTHING = OperationOutcome.FAILED  # what a webhook says of a reversal that found nothing


def order(money: Money = AMOUNT) -> AuthorizationRequest:
    return AuthorizationRequest(new_id("att"), new_id("pay"), money, "order 17", "Two tickets")


def card(number: str = GOOD) -> Card:
    return Card(Pan(number), Expiry(2031, 4), SecurityCode(SECURITY_CODE), "1051")


def booked(peer: Any, request: AuthorizationRequest) -> list[Any]:
    return [row for row in peer.ledger.authorizations() if row.reference == request.attempt_id]


def charged(peer: Any) -> int:
    return sum(row.charged_minor for row in peer.ledger.authorizations())


def authorize(
    peer: Any, request: AuthorizationRequest, number: str = GOOD, **changes: Any
) -> AuthorizationResult:
    async def work(acquirer: Acquirer) -> AuthorizationResult:
        return await acquirer.authorize(request, card(number))

    result: AuthorizationResult = peer.run(work, **changes)
    return result


def look_up(peer: Any, request: AuthorizationRequest) -> AuthorizationResult | None:
    async def work(acquirer: Acquirer) -> AuthorizationResult | None:
        return await acquirer.look_up(request.attempt_id, datetime.now(UTC))

    result: AuthorizationResult | None = peer.run(work)
    return result


def operate(peer: Any, what: str, *args: Any) -> OperationOutcome:
    """Carry an operation out and wait for its end: in the answer, or in the webhook that comes later."""

    async def work(acquirer: Acquirer) -> OperationOutcome:
        result: OperationResult = await getattr(acquirer, what)(*args)
        if not peer.wire.answers_later or result.outcome is not OperationOutcome.PENDING:
            return result.outcome
        receiver = webhook_receiver(acquirer)
        assert receiver is not None
        events = [
            event
            for sent in peer.ledger.webhooks(peer.name)
            for event in receiver.verify_webhook(json.loads(sent.headers), sent.body.encode(), time.time())
            if event.acquirer_reference == result.acquirer_reference
        ]
        assert events, "the webhook names the operation that was received"
        assert events[-1].outcome is not None
        return events[-1].outcome

    outcome: OperationOutcome = peer.run(work)
    return outcome


def reverse(peer: Any, request: AuthorizationRequest) -> OperationOutcome:
    return operate(peer, "reverse", new_id("rev"), request.attempt_id, request.money, datetime.now(UTC))


def test_an_approval_is_booked_once(peer: Any) -> None:
    request = order()
    result = authorize(peer, request)
    assert result.outcome is Outcome.APPROVED
    assert result.acquirer == peer.name
    assert result.approved_minor == AMOUNT.amount_minor
    assert result.authorization_code or peer.wire.charges_only
    assert result.acquirer_reference
    (row,) = booked(peer, request)
    assert (row.amount_minor, row.currency, row.last4) == (4200, "EUR", "4242")


@pytest.mark.parametrize(
    ("number", "reason", "retry"),
    [
        ("4000000000000002", "generic_decline", Retry.LATER),
        ("4000000000009995", "insufficient_funds", Retry.LATER),
        ("4000000000000069", "expired_or_wrong_expiry", Retry.AFTER_CORRECTION),
        ("4000000000000127", "wrong_cvc", Retry.AFTER_CORRECTION),
    ],
)
def test_a_decline_is_returned_with_its_reason(peer: Any, number: str, reason: str, retry: Retry) -> None:
    request = order()
    result = authorize(peer, request, number)
    assert result.outcome is Outcome.DECLINED
    assert result.decline is not None
    assert (result.decline.reason, result.decline.retry) == (reason, retry)
    assert result.decline.raw_code
    assert len(booked(peer, request)) == 1
    assert charged(peer) == 0


def test_a_processing_error_is_a_decline(peer: Any) -> None:
    result = authorize(peer, order(), "4000000000000119")
    assert result.decline is not None
    assert result.decline.reason == "processing_error"


@pytest.mark.parametrize("ending", [5, 51, 54, 91])
def test_the_amount_chooses_a_decline_too(peer: Any, ending: int) -> None:
    result = authorize(peer, order(Money(12_000 + ending, "EUR")))
    assert result.outcome is Outcome.DECLINED
    assert charged(peer) == 0


def test_a_kept_card_is_charged_again_without_a_code_and_each_charge_is_one(peer: Any) -> None:
    first = replace(order(), keep_for=new_id("cus"), on_file=OnFile.FIRST)
    kept = authorize(peer, first)
    later = replace(order(), on_file=OnFile.LATER, first_reference=kept.acquirer_reference)

    async def work(acquirer: Acquirer) -> AuthorizationResult:
        return await acquirer.authorize(later, Card(Pan(GOOD), Expiry(2031, 4)))

    again = peer.run(work)
    assert kept.outcome is again.outcome is Outcome.APPROVED
    assert peer.run(work) == again
    assert [len(booked(peer, request)) for request in (first, later)] == [1, 1]
    assert charged(peer) == 2 * AMOUNT.amount_minor


def test_the_same_attempt_again_is_the_same_authorization(peer: Any) -> None:
    request = order()
    first = authorize(peer, request)
    assert authorize(peer, request) == first
    assert len(booked(peer, request)) == 1


@pytest.mark.parametrize("number", [DROPPED_AFTER_BOOKING, GARBAGE, SERVER_ERROR])
def test_a_lost_answer_is_unknown_and_the_same_request_again_does_not_charge_twice(
    peer: Any, number: str
) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, number)
    assert charged(peer) == AMOUNT.amount_minor, "the trap: it was booked"
    if peer.traits.forgets_errors and number == SERVER_ERROR:
        found = look_up(peer, request)  # sent again it would be booked again: the next test
        assert found is not None
        assert found.outcome is Outcome.APPROVED
    elif peer.wire.keeps_errors and number == SERVER_ERROR:
        with pytest.raises(NoAnswerError):
            authorize(peer, request, number)
        found = look_up(peer, request)
        assert found is not None
        assert found.outcome is Outcome.APPROVED
    else:
        assert authorize(peer, request, number).outcome is Outcome.APPROVED
    assert len(booked(peer, request)) == 1
    assert charged(peer) == AMOUNT.amount_minor


def test_traits_say_whether_an_error_after_booking_protects_from_a_second_one(peer: Any) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, SERVER_ERROR)
    with contextlib.suppress(NoAnswerError):
        authorize(peer, request, SERVER_ERROR)
    rows = booked(peer, request)
    assert len(rows) == (2 if peer.traits.forgets_errors else 1)
    if peer.traits.reverses:
        reverse(peer, request)
        assert charged(peer) == 0, "a reversal undoes all that has our reference"


def test_a_lost_answer_is_found_by_our_reference(peer: Any) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, DROPPED_AFTER_BOOKING)
    found = look_up(peer, request)
    assert found is not None, "None would say that there certainly is nothing"
    if not peer.wire.looks_up:
        assert found.outcome is Outcome.UNKNOWN
        return
    assert found.outcome is Outcome.APPROVED
    assert found.approved_minor == AMOUNT.amount_minor
    assert found.acquirer_reference


def test_a_request_lost_on_the_way_was_never_booked(peer: Any) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, DROPPED_BEFORE_BOOKING)
    assert booked(peer, request) == []
    found = look_up(peer, request)
    assert found is None if peer.wire.looks_up else (found and found.outcome is Outcome.UNKNOWN)
    assert authorize(peer, request, DROPPED_BEFORE_BOOKING).outcome is Outcome.APPROVED
    assert len(booked(peer, request)) == 1


def test_a_request_lost_on_the_way_can_be_reversed(peer: Any) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, DROPPED_BEFORE_BOOKING)
    if peer.traits.reverses:
        nothing = FOUND_NOTHING if peer.wire.answers_later else OperationOutcome.DONE
        assert reverse(peer, request) is nothing
    assert charged(peer) == 0


def test_giving_up_waiting_leaves_the_outcome_unknown(peer: Any) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, SLOW, read_s=1.5)
    assert charged(peer) == AMOUNT.amount_minor
    assert authorize(peer, request, SLOW).outcome is Outcome.APPROVED
    assert len(booked(peer, request)) == 1


def test_too_many_requests_means_not_sent(peer: Any) -> None:
    request = order()
    with pytest.raises(NotSentError if peer.wire.turns_away else NoAnswerError):
        authorize(peer, request, TOO_MANY_REQUESTS)
    assert booked(peer, request) == []
    assert authorize(peer, request, TOO_MANY_REQUESTS).outcome is Outcome.APPROVED


def test_a_refused_connection_means_not_sent(peer: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: a connection is refused
        port = nobody.getsockname()[1]

        async def work(acquirer: Acquirer) -> None:
            await acquirer.authorize(order(), card())

        with pytest.raises(NotSentError):
            peer.run(work, **peer.settings(port))


def test_wrong_credentials_are_a_refused_request(peer: Any) -> None:
    request = order()
    with pytest.raises(RefusedRequestError):
        authorize(peer, request, **dict([peer.wire.wrong]))
    assert booked(peer, request) == []


def test_an_answer_that_comes_twice_counts_once(peer: Any) -> None:
    for _ in range(2):
        request = order()
        assert authorize(peer, request, ANSWERED_TWICE).outcome is Outcome.APPROVED
        assert len(booked(peer, request)) == 1


def test_a_partial_approval_says_how_much(peer: Any) -> None:
    result = authorize(peer, order(), HALF_APPROVED)
    if not peer.wire.partial:
        assert result.decline is not None
        assert result.decline.reason == "insufficient_funds"
        return
    assert result.outcome is Outcome.APPROVED
    assert result.approved_minor == AMOUNT.amount_minor // 2


def test_an_unknown_outcome_can_be_reversed(peer: Any) -> None:
    request = order()
    with pytest.raises(NoAnswerError):
        authorize(peer, request, DROPPED_AFTER_BOOKING)
    if peer.wire.charges_only:
        assert reverse(peer, request) is OperationOutcome.FAILED
        return
    assert reverse(peer, request) is OperationOutcome.DONE
    assert charged(peer) == 0
    found = look_up(peer, request)
    assert found is not None
    assert found.outcome is (Outcome.REVERSED if peer.wire.looks_up else Outcome.UNKNOWN)
    again = reverse(peer, request)
    assert again is (FOUND_NOTHING if peer.wire.answers_later else OperationOutcome.DONE)


def test_a_reversal_of_nothing_is_done_and_holds_back_what_arrives_late(peer: Any) -> None:
    request = order()
    if peer.wire.charges_only:
        assert reverse(peer, request) is OperationOutcome.FAILED
        return
    assert reverse(peer, request) is (FOUND_NOTHING if peer.wire.answers_later else OperationOutcome.DONE)
    with contextlib.suppress(NoAnswerError):
        late = authorize(peer, request)
        assert (late.outcome is not Outcome.APPROVED) is peer.traits.holds_back
    assert (charged(peer) == 0) is peer.traits.holds_back


def test_settle_and_refund_in_parts(peer: Any) -> None:
    request = order()
    reference = authorize(peer, request).acquirer_reference
    assert operate(peer, "settle", new_id("op"), reference, AMOUNT) is OperationOutcome.DONE
    if peer.wire.charges_only:
        assert operate(peer, "refund", new_id("op"), reference, AMOUNT) is OperationOutcome.FAILED
        assert charged(peer) == AMOUNT.amount_minor
        return
    part = Money(1200, "EUR")
    key = new_id("op")
    assert operate(peer, "refund", key, reference, part) is OperationOutcome.DONE
    assert charged(peer) == 3000
    operate(peer, "refund", key, reference, part)
    assert charged(peer) == 3000, "the same key again gives nothing more back"
    too_much = operate(peer, "refund", new_id("op"), reference, Money(3001, "EUR"))
    assert too_much is OperationOutcome.FAILED
    assert operate(peer, "refund", new_id("op"), reference, Money(3000, "EUR")) is OperationOutcome.DONE
    assert charged(peer) == 0


def test_void_releases_and_cannot_follow_a_settlement(peer: Any) -> None:
    first, second = order(), order()
    if peer.wire.charges_only:
        reference = authorize(peer, first).acquirer_reference
        assert operate(peer, "void", new_id("op"), reference) is OperationOutcome.FAILED
        assert charged(peer) == AMOUNT.amount_minor
        return
    reference = authorize(peer, first).acquirer_reference
    assert operate(peer, "void", new_id("op"), reference) is OperationOutcome.DONE
    assert charged(peer) == 0
    assert operate(peer, "settle", new_id("op"), reference, AMOUNT) is OperationOutcome.FAILED
    reference = authorize(peer, second).acquirer_reference
    operate(peer, "settle", new_id("op"), reference, AMOUNT)
    assert operate(peer, "void", new_id("op"), reference) is OperationOutcome.FAILED
    assert charged(peer) == AMOUNT.amount_minor


@pytest.mark.parametrize("fault", ["drop_after_booking", "drop_before_booking"])
@pytest.mark.parametrize("what", ["settle", "refund"])
def test_an_operation_whose_answer_is_lost_is_asked_again_with_its_key(
    peer: Any, what: str, fault: str
) -> None:
    if peer.wire.charges_only:
        return
    peer.rule(f'[[rule]]\non = "{what}"\nfault = "{fault}"\n')
    reference = authorize(peer, order()).acquirer_reference
    if what == "refund":
        assert operate(peer, "settle", new_id("op"), reference, AMOUNT) is OperationOutcome.DONE
    key, amount = new_id("op"), AMOUNT if what == "settle" else Money(1200, "EUR")
    with pytest.raises(NoAnswerError):
        operate(peer, what, key, reference, amount)
    assert operate(peer, what, key, reference, amount) is OperationOutcome.DONE
    assert charged(peer) == (4200 if what == "settle" else 3000), "once, not twice"


def test_a_reversal_whose_answer_is_lost_is_asked_again(peer: Any) -> None:
    if peer.wire.charges_only:
        return
    lost = '[[rule]]\non = "{}"\nfault = "drop_after_booking"\n'
    peer.rule(lost.format("reverse") + lost.format("void"))
    request, key = order(), new_id("rev")
    with pytest.raises(NoAnswerError):
        authorize(peer, request, DROPPED_AFTER_BOOKING)
    with pytest.raises(NoAnswerError):
        operate(peer, "reverse", key, request.attempt_id, request.money, datetime.now(UTC))
    assert (
        operate(peer, "reverse", key, request.attempt_id, request.money, datetime.now(UTC))
        is OperationOutcome.DONE
    )
    assert charged(peer) == 0


def test_an_operation_on_something_the_acquirer_never_heard_of_fails(peer: Any) -> None:
    with contextlib.suppress(RefusedRequestError):  # where our own references have a shape
        assert operate(peer, "void", new_id("op"), "sim_nothing") is OperationOutcome.FAILED
    assert charged(peer) == 0


def test_no_card_data_in_faults_logs_or_the_simulators_files(
    peer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    written = ""
    numbers = (GOOD, DROPPED_AFTER_BOOKING, DROPPED_BEFORE_BOOKING, GARBAGE, SERVER_ERROR)
    for number in numbers:
        try:
            written += repr(authorize(peer, order(), number))
        except AcquirerFault as fault:
            chain: BaseException | None = fault
            while chain is not None:
                written += repr(chain) + repr(vars(chain))
                chain = chain.__context__
            written += "".join(traceback.format_exception(fault))
            assert fault.__context__ is None, "httpx's errors hold the request, and with it the card"
    written += caplog.text
    stored = b"".join(path.read_bytes() for path in peer.ledger_file.parent.iterdir())
    for number in numbers:
        assert number not in written
        assert number.encode() not in stored
    # Three digits stand in any object's address: the code counts as a word, as a value, or beside a name of it.
    search = Searcher([keyed_cards.TestCard(number, "0431", SECURITY_CODE, "1051") for number in numbers])
    assert search.in_text(written.encode(), "faults and logs") == []
    assert search.in_bytes(stored, "the simulator's files") == []
