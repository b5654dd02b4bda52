"""Capture: the vault's answers, the operator who asks again, and the end of the mask."""

from __future__ import annotations

import pytest

from paycall.domain.capture import Phase
from paycall.domain.capture_events import (
    CallerHungUp,
    DisableMask,
    EndRequested,
    Event,
    FieldAccepted,
    FieldDropped,
    FieldRefused,
    FieldsRequested,
    ReportCompleted,
    ReportEnded,
    ReportFailed,
    ReportField,
    ReportProgress,
    ReportStored,
    VaultUnreachable,
)
from paycall.domain.errors import InputError, StateError
from paycall.domain.fields import CaptureError
from tests.fakes.capture_run import (
    AMEX,
    CODE,
    EXPIRY,
    MASTERCARD,
    NEW_TOKEN,
    NUMBER,
    POSTAL,
    TOKEN,
    VISA,
    Capture,
)

# ---- the vault ------------------------------------------------------------------------------------------


def test_what_the_vault_refuses_is_an_attempt() -> None:
    capture = Capture(NUMBER, attempts=2)
    capture.key(VISA + "#")
    effects = capture.feed(FieldRefused(NUMBER, CaptureError.INVALID_CARD_TYPE))
    assert effects == (
        ReportFailed(NUMBER, CaptureError.INVALID_CARD_TYPE, 16, 1),
        ReportField(NUMBER, 20.0, 1),
    )


def test_a_vault_that_cannot_be_reached_is_not_the_callers_fault() -> None:
    capture = Capture(NUMBER, attempts=1)
    for _ in range(5):
        capture.key(MASTERCARD)
        effects = capture.feed(VaultUnreachable(NUMBER))
        assert effects == (
            ReportFailed(NUMBER, CaptureError.INTERNAL_ERROR, 16, 1),
            ReportField(NUMBER, 20.0, 1),
        )
        assert capture.state.masked


@pytest.mark.parametrize(
    "late",
    [
        FieldAccepted(NUMBER, NEW_TOKEN),
        FieldRefused(NUMBER, CaptureError.INTERNAL_ERROR),
        VaultUnreachable(NUMBER),
    ],
)
def test_answers_that_come_late_change_nothing(late: Event) -> None:
    collecting = Capture()
    collecting.key(VISA + "#")
    collecting.feed(VaultUnreachable(NUMBER))
    storing_another = Capture()
    storing_another.store(VISA + "#")
    storing_another.key("1230")
    complete = Capture(NUMBER)
    complete.store(VISA + "#")
    stuck = Capture(NUMBER, attempts=1)
    stuck.key("1#")
    ending, ended, gone = Capture(), Capture(), Capture()
    for capture in (ending, ended, gone):
        capture.key(VISA + "#")
    for capture in (ending, ended):
        capture.feed(EndRequested())
    ended.wait(2)
    gone.feed(CallerHungUp())
    captures = (collecting, storing_another, complete, stuck, ending, ended, gone)
    assert {capture.state.phase for capture in captures} == set(Phase)
    for capture in captures:
        before = capture.state
        assert capture.feed(late) == ()
        assert capture.state == before


def test_keys_that_come_while_a_field_is_stored_count_for_the_next() -> None:
    capture = Capture()
    capture.key(MASTERCARD)
    assert capture.key("12") == ()
    assert capture.accept() == (
        ReportStored(NUMBER, TOKEN),
        ReportField(EXPIRY, 20.0, 3),
        ReportProgress(EXPIRY, 1, 5.0),
        ReportProgress(EXPIRY, 2, 5.0),
    )
    capture.key("30")
    assert capture.stored_values() == [(NUMBER, MASTERCARD), (EXPIRY, "1230")]


def test_a_caller_may_be_several_fields_ahead() -> None:
    capture = Capture(NUMBER, EXPIRY, CODE, POSTAL)
    capture.key(MASTERCARD + "#" + "1230#" + "737#" + "10*1051#")
    for _ in range(4):
        capture.accept()
    assert capture.stored_values() == [
        (NUMBER, MASTERCARD),
        (EXPIRY, "1230"),
        (CODE, "737"),
        (POSTAL, "1051"),
    ]
    assert capture.errors() == []
    assert capture.state.phase is Phase.COMPLETE


def test_what_was_keyed_behind_a_mistake_is_not_taken_for_the_field_that_failed() -> None:
    capture = Capture(attempts=2)
    capture.key(MASTERCARD + "1330" + "737#")
    capture.accept()
    assert capture.errors() == [CaptureError.INVALID_DATE]  # and the code's digits are no second one
    assert (capture.state.current, len(capture.state.digits)) == (EXPIRY, 0)


def test_keys_ahead_are_forgotten_when_the_field_on_its_way_is_refused() -> None:
    capture = Capture()
    capture.key(MASTERCARD + "1230")
    capture.feed(FieldRefused(NUMBER, CaptureError.INVALID_CARD_TYPE))
    capture.store(MASTERCARD)
    assert (capture.state.current, len(capture.state.digits)) == (EXPIRY, 0)


# ---- the operator asks again ----------------------------------------------------------------------------


def test_any_field_can_be_asked_for_again_and_the_others_are_kept() -> None:
    capture = Capture()
    for keys in (MASTERCARD, "1230", "737"):
        capture.store(keys)
    assert capture.feed(FieldsRequested((EXPIRY,))) == (ReportField(EXPIRY, 20.0, 3),)
    assert capture.store("0131")[-1] == ReportCompleted(TOKEN)
    assert set(capture.state.stored) == {NUMBER, EXPIRY, CODE}


def test_a_field_that_is_being_taken_is_done_without_and_the_next_one_asked_for() -> None:
    capture = Capture(NUMBER, CODE, POSTAL)
    capture.store(MASTERCARD)
    capture.key("73")
    assert capture.feed(FieldDropped(CODE)) == (ReportField(POSTAL, 20.0, 3),)
    assert not len(capture.state.digits), "what was keyed of it is forgotten"
    assert capture.feed(FieldDropped(POSTAL)) == (ReportCompleted(TOKEN),)
    assert capture.state.masked


def test_what_is_done_without_is_not_asked_for_when_its_turn_comes() -> None:
    capture = Capture(NUMBER, EXPIRY, CODE)
    assert capture.feed(FieldDropped(CODE)) == ()
    capture.key(MASTERCARD)
    with pytest.raises(StateError):
        capture.feed(FieldDropped(NUMBER))  # it is on its way to the vault
    capture.accept()
    assert capture.store("1230")[-1] == ReportCompleted(TOKEN)


def test_a_field_with_no_tries_left_is_done_without() -> None:
    capture = Capture(CODE, POSTAL, attempts=1)
    capture.key("7#")
    assert capture.state.phase is Phase.STUCK
    assert capture.feed(FieldDropped(CODE)) == (ReportField(POSTAL, 20.0, 1),)
    assert capture.feed(FieldDropped(POSTAL)) == (), "nothing was stored: there is nothing to report"
    assert capture.state.phase is Phase.COMPLETE


def test_a_new_number_makes_the_code_worthless() -> None:
    capture = Capture()
    for keys in (MASTERCARD, "1230", "737"):
        capture.store(keys)
    capture.feed(FieldsRequested((NUMBER,)))
    assert capture.store(AMEX, NEW_TOKEN) == (ReportStored(NUMBER, NEW_TOKEN), ReportField(CODE, 20.0, 3))
    assert capture.state.stored == (EXPIRY, NUMBER)
    capture.store("7373", NEW_TOKEN)  # four digits now
    assert capture.effects[-1] == ReportCompleted(NEW_TOKEN)


def test_a_code_that_waits_already_is_asked_for_once() -> None:
    capture = Capture(NUMBER, CODE)
    capture.store(MASTERCARD)
    capture.store("737")
    capture.feed(FieldsRequested((NUMBER, CODE)))
    capture.store(VISA + "#")
    capture.store("737")
    assert capture.state.phase is Phase.COMPLETE


def test_a_number_that_the_vault_refuses_does_not_change_the_codes_length() -> None:
    capture = Capture()
    for keys in (MASTERCARD, "1230", "737"):
        capture.store(keys)
    capture.feed(FieldsRequested((NUMBER,)))
    capture.key(AMEX)
    capture.feed(FieldRefused(NUMBER, CaptureError.INVALID_CARD_TYPE))
    capture.feed(FieldsRequested((CODE,)))  # then the first card after all
    capture.key("123")
    assert capture.stored_values()[-1] == (CODE, "123")


def test_asking_for_the_field_that_is_being_keyed_starts_it_afresh() -> None:
    capture = Capture()
    capture.key("4999")
    assert capture.feed(FieldsRequested((NUMBER,))) == (ReportField(NUMBER, 20.0, 3),)
    assert len(capture.state.digits) == 0
    capture.store(MASTERCARD)
    assert capture.state.current is EXPIRY


def test_a_request_while_collecting_comes_first_and_the_rest_follows() -> None:
    capture = Capture()
    capture.store(MASTERCARD)
    capture.key("12")
    capture.feed(FieldsRequested((POSTAL,)))
    capture.store("1051#")
    assert capture.state.current is EXPIRY


def test_a_request_while_storing_waits_for_the_field_on_its_way() -> None:
    capture = Capture()
    capture.key(MASTERCARD)
    assert capture.feed(FieldsRequested((CODE,))) == ()
    assert capture.accept() == (ReportStored(NUMBER, TOKEN), ReportField(CODE, 20.0, 3))
    capture.store("737")
    assert capture.state.current is EXPIRY


def test_keys_ahead_of_a_request_were_not_meant_for_what_is_requested() -> None:
    capture = Capture()
    capture.key(MASTERCARD + "12")
    capture.feed(FieldsRequested((CODE,)))
    capture.accept()
    assert len(capture.state.digits) == 0
    capture = Capture()
    capture.key(MASTERCARD + "12")
    capture.feed(FieldsRequested((EXPIRY,)))  # the field that was to follow anyhow
    capture.accept()
    assert len(capture.state.digits) == 2


def test_a_field_asked_for_while_it_is_stored_is_keyed_once_more_and_not_twice() -> None:
    capture = Capture(NUMBER)
    capture.key(MASTERCARD)
    capture.feed(FieldsRequested((NUMBER,)))
    capture.accept()
    assert capture.state.current is NUMBER
    assert capture.store(VISA + "#")[-1] == ReportCompleted(TOKEN)
    refused = Capture(NUMBER)
    refused.key(MASTERCARD)
    refused.feed(FieldsRequested((NUMBER,)))
    refused.feed(FieldRefused(NUMBER, CaptureError.INVALID_CARD_TYPE))
    assert refused.store(VISA + "#")[-1] == ReportCompleted(TOKEN)


def test_the_code_cannot_be_asked_for_before_a_number_that_still_waits() -> None:
    capture = Capture()
    before = capture.state
    with pytest.raises(InputError):
        capture.feed(FieldsRequested((CODE,)))
    assert capture.state is before
    capture.feed(FieldsRequested((NUMBER, CODE)))
    capture.store(MASTERCARD)
    assert capture.state.current is CODE


def test_after_a_capture_was_ended_the_code_can_be_taken_alone() -> None:
    capture = Capture(CODE)
    assert capture.store("737#") == (ReportStored(CODE, TOKEN), ReportCompleted(TOKEN))


def test_a_code_without_a_number_in_the_vault_brings_the_number_first() -> None:
    capture = Capture(CODE, POSTAL)
    capture.key("737#")
    assert capture.feed(FieldRefused(CODE, CaptureError.CODE_BEFORE_NUMBER)) == (
        ReportFailed(CODE, CaptureError.CODE_BEFORE_NUMBER, 3, 3),
        ReportField(NUMBER, 20.0, 3),
    )
    for field, keys in ((NUMBER, AMEX), (CODE, "7373"), (POSTAL, "1051#")):
        assert capture.state.current is field
        capture.store(keys)
    assert capture.state.phase is Phase.COMPLETE


# ---- the end --------------------------------------------------------------------------------------------


def test_the_mask_comes_off_two_seconds_after_the_last_key() -> None:
    capture = Capture(NUMBER)
    capture.store(MASTERCARD)
    capture.now += 0.5
    assert capture.feed(EndRequested()) == ()
    assert (capture.state.phase, capture.state.masked) == (Phase.ENDING, True)
    assert capture.wait(1.49) == ()
    assert capture.wait(0.02) == (DisableMask(), ReportEnded())
    assert (capture.state.phase, capture.state.masked) == (Phase.ENDED, False)


def test_a_key_while_ending_moves_the_end() -> None:
    capture = Capture(NUMBER)
    capture.key("4")
    capture.feed(EndRequested())
    capture.key("2", every_s=1.9)
    assert capture.wait(1.9) == ()
    assert capture.wait(0.2) == (DisableMask(), ReportEnded())


@pytest.mark.parametrize("keys", ["", "4", MASTERCARD])
def test_without_a_recent_key_the_end_is_at_once_in_every_phase(keys: str) -> None:
    capture = Capture(NUMBER)
    capture.key(keys)
    capture.now += 2
    assert capture.feed(EndRequested()) == (DisableMask(), ReportEnded())
    assert capture.state.digits.expose() == ""


def test_keys_that_no_field_wants_count_for_the_two_seconds_too() -> None:
    complete = Capture(NUMBER)
    complete.store(MASTERCARD)
    stuck = Capture(NUMBER, attempts=1)
    stuck.key("1#")
    for capture in (complete, stuck):
        capture.now += 60
        capture.key("7")
        capture.now += 1
        assert capture.feed(EndRequested()) == ()
        assert capture.wait(1) == (DisableMask(), ReportEnded())


def test_a_second_end_neither_hastens_nor_repeats_the_first() -> None:
    capture = Capture(NUMBER)
    capture.key("4")
    capture.feed(EndRequested())
    deadline = capture.state.deadline
    capture.now += 1
    assert capture.feed(EndRequested()) == ()
    assert capture.state.deadline == deadline
    capture.wait(1)
    assert capture.feed(EndRequested()) == ()
    assert capture.effects.count(DisableMask()) == 1


def test_when_the_caller_hangs_up_nothing_is_unmasked_any_more() -> None:
    for keys, ending in (("", False), ("42", False), (MASTERCARD, False), ("42", True)):
        capture = Capture(NUMBER)
        capture.key(keys)
        if ending:
            capture.feed(EndRequested())
        assert capture.feed(CallerHungUp()) == (ReportEnded(CaptureError.CALLER_HUNG_UP),)
        assert capture.state.masked
        assert capture.feed(EndRequested()) == ()
        assert capture.wait(10) == ()
        assert DisableMask() not in capture.effects


def test_nothing_can_be_asked_for_once_the_end_is_requested() -> None:
    capture = Capture(NUMBER)
    capture.key("4")
    capture.feed(EndRequested())
    for seconds in (0.5, 2.0):
        before = capture.state
        with pytest.raises(StateError):
            capture.feed(FieldsRequested((NUMBER,)))
        assert capture.state is before
        capture.wait(seconds)
    assert capture.state.phase is Phase.ENDED
