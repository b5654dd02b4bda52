"""Payments and calls: every path of the design, none else; the drawn diagrams are those of the tables."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import pytest

from paycall.domain import call
from paycall.domain.call import CallEvent, CallState
from paycall.domain.errors import StateError
from paycall.domain.payment import (
    FINAL_FOR_CAPTURE,
    TRANSITIONS,
    PaymentEvent,
    PaymentState,
    allows,
    next_state,
)

ROOT = Path(__file__).parents[3]

# Section 6 of the design, word by word.
DESIGN = """
created capture_started capturing
capturing capture_completed ready
ready authorize_requested authorizing
authorizing approved approved
authorizing declined declined
authorizing no_answer unknown
declined capture_started capturing
ready capture_started capturing
ready code_expired capturing
created cancelled cancelled
capturing cancelled cancelled
ready cancelled cancelled
declined cancelled cancelled
unknown approved approved
unknown declined declined
unknown reversed reversed
approved settle_requested settling
settling settled settled
settling settle_failed settle_failed
approved void_requested voiding
voiding voided voided
settled refund_requested refunding
refunding refunded refunded
refunding partly_refunded partly_refunded
refunding refund_failed refund_failed
"""
# What the design leaves open, decided so: a field is asked for again while capturing; the same card is charged again
# where nothing has to be keyed; nothing was sent: the card is as ready as before; what failed can be tried again, and
# a reservation that can't be settled be released (or the other way round); what is left can be refunded; a reversed
# attempt was none, so the payment goes on; what was on its way when the panel lost sight of it may never have
# been sent. What an acquirer takes back after it was confirmed has failed.
BEYOND = """
capturing capture_started capturing
declined authorize_requested authorizing
authorizing not_sent ready
settle_failed settle_requested settling
settle_failed void_requested voiding
void_failed void_requested voiding
void_failed settle_requested settling
voiding void_failed void_failed
partly_refunded refund_requested refunding
refund_failed refund_requested refunding
reversed capture_started capturing
reversed cancelled cancelled
unknown not_sent ready
settled settle_failed settle_failed
voided void_failed void_failed
refunded refund_failed refund_failed
partly_refunded refund_failed refund_failed
"""
LEGAL = {
    (PaymentState(start), PaymentEvent(event)): PaymentState(end)
    for start, event, end in (line.split() for line in (DESIGN + BEYOND).split("\n") if line)
}


@pytest.mark.parametrize(("state", "event"), [*itertools.product(PaymentState, PaymentEvent)])
def test_a_payment_goes_where_the_design_says_and_nowhere_else(
    state: PaymentState, event: PaymentEvent
) -> None:
    expected = LEGAL.get((state, event))
    assert allows(state, event) is (expected is not None)
    if expected is not None:
        assert next_state(state, event) is expected
    else:
        with pytest.raises(StateError):
            next_state(state, event)


def test_every_state_can_be_reached_and_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(PaymentState)
    reached = {PaymentState.CREATED}
    for _ in PaymentState:
        reached |= {end for start in reached for end in TRANSITIONS[start].values()}
    assert reached == set(PaymentState)


def test_an_unknown_outcome_is_left_by_what_is_known_for_certain_only() -> None:
    assert set(TRANSITIONS[PaymentState.UNKNOWN]) == {
        PaymentEvent.APPROVED,
        PaymentEvent.DECLINED,
        PaymentEvent.REVERSED,
        PaymentEvent.NOT_SENT,
    }


def test_money_that_may_be_taken_is_never_cancelled_away() -> None:
    """Only a payment that certainly reserved nothing can be cancelled."""
    may_hold_money = set(PaymentState) - {
        PaymentState(name) for name in ("created", "capturing", "ready", "declined", "reversed")
    }
    assert not any(allows(state, PaymentEvent.CANCELLED) for state in may_hold_money)


def test_the_mask_comes_off_when_the_payment_needs_no_card_any_more() -> None:
    assert {state.value for state in FINAL_FOR_CAPTURE} == {
        "approved",
        "cancelled",
        "settling",
        "settled",
        "settle_failed",
        "voiding",
        "voided",
        "void_failed",
        "refunding",
        "refunded",
        "partly_refunded",
        "refund_failed",
    }
    for state in FINAL_FOR_CAPTURE:  # no way back to the keys
        assert not allows(state, PaymentEvent.CAPTURE_STARTED)
        assert set(TRANSITIONS[state].values()) <= FINAL_FOR_CAPTURE


@pytest.mark.parametrize(("state", "event"), [*itertools.product(CallState, CallEvent)])
def test_a_call_rings_is_connected_and_ends_once_unless_it_was_given_up_too_soon(
    state: CallState, event: CallEvent
) -> None:
    expected = {
        (CallState.RINGING, CallEvent.CONNECTED): CallState.CONNECTED,
        (CallState.RINGING, CallEvent.ENDED): CallState.ENDED,
        (CallState.CONNECTED, CallEvent.ENDED): CallState.ENDED,
        (CallState.ENDED, CallEvent.FOUND): CallState.RINGING,
    }.get((state, event))
    if expected is not None:
        assert call.next_state(state, event) is expected
    else:
        with pytest.raises(StateError):
            call.next_state(state, event)


def diagrams() -> ModuleType:
    spec = importlib.util.spec_from_file_location("state_diagrams", ROOT / "scripts" / "state_diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawn_diagrams_are_up_to_date() -> None:
    """If not: scripts/state_diagrams.py."""
    assert (ROOT / "docs" / "states.md").read_text("utf-8") == diagrams().render()


def test_the_drawing_tries_every_event_that_a_capture_knows() -> None:
    from paycall.domain.capture import TRANSITIONS as CAPTURE_TRANSITIONS

    tried = set(diagrams().capture_outcomes())
    assert tried == {(phase, event) for phase, row in CAPTURE_TRANSITIONS.items() for event in row}
