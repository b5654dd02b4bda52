"""Capture: what the caller keys, sentence by sentence of the design."""

from __future__ import annotations

import pytest

from paycall.domain.capture import CaptureState, Phase, begin, step, wipe_replaced
from paycall.domain.capture_events import (
    CallerHungUp,
    DisableMask,
    Effect,
    EnableMask,
    EndRequested,
    Event,
    FieldAccepted,
    FieldRefused,
    FieldsRequested,
    KeyPressed,
    ReportCompleted,
    ReportEnded,
    ReportFailed,
    ReportField,
    ReportProgress,
    ReportStarted,
    ReportStored,
    StoreField,
    TimePassed,
    VaultUnreachable,
)
from paycall.domain.card import Brand
from paycall.domain.errors import InputError, StateError
from paycall.domain.fields import DEFAULT_FIELDS, CaptureError, Field
from paycall.domain.ports import CaptureRules

NUMBER, EXPIRY, CODE, POSTAL = Field.CARD_NUMBER, Field.EXPIRY, Field.SECURITY_CODE, Field.POSTAL_CODE
VISA, MASTERCARD, AMEX = "4242424242424242", "5555555555554444", "378282246310005"
TODAY = (2026, 11)
TOKEN, NEW_TOKEN = "tok_" + "a" * 22, "tok_" + "b" * 22


class Capture:
    """A capture with a clock of its own; it keeps every effect."""

    def __init__(self, *fields: Field, **rules: object) -> None:
        self.now = 1000.0
        self.state, effects = begin(fields or DEFAULT_FIELDS, CaptureRules(**rules), TODAY, self.now)  # type: ignore[arg-type]
        self.effects: list[Effect] = list(effects)

    def feed(self, event: Event) -> tuple[Effect, ...]:
        state, effects = step(self.state, event, self.now)
        self.state = state
        self.effects += effects
        return effects

    def key(self, keys: str, every_s: float = 0.2) -> tuple[Effect, ...]:
        """Press these keys; gives the effects of the last."""
        effects: tuple[Effect, ...] = ()
        for key in keys:
            self.now += every_s
            effects = self.feed(KeyPressed(key))
        return effects

    def wait(self, seconds: float) -> tuple[Effect, ...]:
        self.now += seconds
        return self.feed(TimePassed())

    def accept(self, token: str = TOKEN) -> tuple[Effect, ...]:
        """The vault takes the field that is on its way."""
        assert self.state.current is not None
        return self.feed(FieldAccepted(self.state.current, token))

    def store(self, keys: str, token: str = TOKEN) -> tuple[Effect, ...]:
        self.key(keys)
        assert self.state.phase is Phase.STORING
        return self.accept(token)

    def stored_values(self) -> list[tuple[Field, str]]:
        return [(e.field, e.value.expose()) for e in self.effects if isinstance(e, StoreField)]

    def errors(self) -> list[CaptureError]:
        return [e.error for e in self.effects if isinstance(e, ReportFailed)]


def test_the_mask_is_the_first_thing_and_the_first_field_is_asked_for() -> None:
    capture = Capture()
    assert capture.effects == [EnableMask(), ReportStarted(), ReportField(NUMBER, 20.0, 3)]
    assert capture.state.masked
    assert capture.state.deadline == capture.now + 20


def test_a_whole_card() -> None:
    capture = Capture()
    assert capture.key(MASTERCARD)[-1] == StoreField(NUMBER, capture.state.digits)
    assert capture.state.current is NUMBER
    assert capture.accept() == (ReportStored(NUMBER, TOKEN), ReportField(EXPIRY, 20.0, 3))
    capture.key("1230")
    assert capture.accept() == (ReportStored(EXPIRY, TOKEN), ReportField(CODE, 20.0, 3))
    capture.key("737")
    assert capture.accept() == (ReportStored(CODE, TOKEN), ReportCompleted(TOKEN))
    assert capture.stored_values() == [(NUMBER, MASTERCARD), (EXPIRY, "1230"), (CODE, "737")]
    assert capture.state.phase is Phase.COMPLETE
    assert capture.state.masked  # a finished attempt never unmasks
    assert capture.state.current is None


def test_the_panel_learns_how_many_digits_and_the_brand_once_it_is_certain() -> None:
    capture = Capture()
    told = [capture.key(key)[0] for key in AMEX[:4]]
    assert told == [
        ReportProgress(NUMBER, count, 5.0, Brand.AMEX if count > 1 else None) for count in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    "order", [(EXPIRY, NUMBER, CODE), (POSTAL,), (NUMBER,), (NUMBER, CODE, POSTAL, EXPIRY)]
)
def test_fields_are_asked_for_in_the_order_given(order: tuple[Field, ...]) -> None:
    keys = {NUMBER: AMEX, EXPIRY: "1230", CODE: "7373", POSTAL: "1051#"}
    capture = Capture(*order)
    for field in order:
        assert capture.state.current is field
        capture.store(keys[field])
    assert capture.state.stored == order
    assert capture.effects[-1] == ReportCompleted(TOKEN)


@pytest.mark.parametrize("fields", [(), (NUMBER, NUMBER), (CODE, NUMBER), (EXPIRY, CODE, NUMBER)])
def test_an_order_that_makes_no_sense_is_refused(fields: tuple[Field, ...]) -> None:
    with pytest.raises(InputError):
        begin(fields, CaptureRules(), TODAY, 0.0)
    capture = Capture(POSTAL)
    before = capture.state
    with pytest.raises(InputError):
        capture.feed(FieldsRequested(fields))
    assert capture.state is before


# ---- the keys -------------------------------------------------------------------------------------------


def test_the_end_key_ends_a_field_whose_length_leaves_a_doubt() -> None:
    capture = Capture(NUMBER)
    capture.key(VISA)
    assert capture.state.phase is Phase.COLLECTING  # a Visa may have 19 digits
    capture.key("#")
    assert capture.stored_values() == [(NUMBER, VISA)]


def test_a_habitual_end_key_after_a_field_that_ended_itself_does_no_harm() -> None:
    capture = Capture()
    for keys in (MASTERCARD, "1230", "737"):
        capture.key(keys + "#")  # the # comes while the field is on its way
        capture.accept()
    assert capture.errors() == []
    assert capture.state.phase is Phase.COMPLETE
    capture = Capture()
    for keys in (MASTERCARD, "1230", "737"):
        capture.store(keys)
        capture.key("#")  # and here after it was stored
    assert capture.errors() == []
    assert capture.state.phase is Phase.COMPLETE


def test_the_end_key_on_an_empty_field_neither_fails_nor_gives_more_time() -> None:
    capture = Capture()
    deadline = capture.state.deadline
    assert capture.key("##") == ()
    assert capture.state.deadline == deadline


def test_the_clear_key_empties_the_field_without_counting_an_attempt() -> None:
    capture = Capture(NUMBER)
    capture.key("4999")
    assert capture.key("*") == (ReportProgress(NUMBER, 0, 20.0),)
    capture.store(MASTERCARD)
    assert capture.stored_values() == [(NUMBER, MASTERCARD)]
    assert capture.errors() == []


def test_both_keys_can_be_exchanged() -> None:
    capture = Capture(NUMBER, end_key="*", clear_key="#")
    capture.key("4999#" + VISA + "*")
    assert capture.stored_values() == [(NUMBER, VISA)]


@pytest.mark.parametrize("key", ["A", "D", "", "12", "x", "²", "４", "٤", "\n"])
def test_a_key_that_is_no_digit_is_ignored_in_every_phase(key: str) -> None:
    capture = Capture(EXPIRY)
    capture.key("12")
    assert capture.feed(KeyPressed(key)) == ()
    capture.key("30")
    assert capture.feed(KeyPressed(key)) == ()
    capture.accept()
    assert capture.feed(KeyPressed(key)) == ()
    assert capture.stored_values() == [(EXPIRY, "1230")]


# ---- what is wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "keys", "error"),
    [
        (NUMBER, "5555555555554445", CaptureError.INVALID_CARD_NUMBER),
        (NUMBER, "4242#", CaptureError.INVALID_CARD_NUMBER),
        (NUMBER, "0000000000000000#", CaptureError.INVALID_CARD_NUMBER),
        (EXPIRY, "1326", CaptureError.INVALID_DATE),
        (EXPIRY, "1026", CaptureError.INVALID_DATE),  # last month
        (EXPIRY, "1147", CaptureError.INVALID_DATE),  # in 21 years
        (EXPIRY, "11#", CaptureError.INVALID_DATE),
        (CODE, "73#", CaptureError.INVALID_SECURITY_CODE),
        (POSTAL, "10#", CaptureError.INVALID_POSTAL_CODE),
    ],
)
def test_a_wrong_field_is_told_by_its_own_name_and_asked_for_again(
    field: Field, keys: str, error: CaptureError
) -> None:
    capture = Capture(field)
    capture.key(keys)
    digits = len(keys.rstrip("#"))
    assert capture.effects[-2:] == [ReportFailed(field, error, digits, 2), ReportField(field, 20.0, 2)]
    assert capture.stored_values() == []
    assert capture.state.masked


def test_the_month_of_the_call_is_good() -> None:
    capture = Capture(EXPIRY)
    capture.key("1126")
    assert capture.stored_values() == [(EXPIRY, "1126")]


def test_brands_that_are_not_accepted_are_told_so() -> None:
    capture = Capture(NUMBER, brands=("visa", "mastercard"))
    capture.key(AMEX)
    assert capture.errors() == [CaptureError.INVALID_CARD_TYPE]
    capture.key(MASTERCARD)
    assert capture.stored_values() == [(NUMBER, MASTERCARD)]


def test_an_amex_has_four_digits_and_others_three() -> None:
    for number, short, right in ((AMEX, "737#", "7373"), (MASTERCARD, "73#", "737")):
        capture = Capture(NUMBER, CODE)
        capture.store(number)
        capture.key(short)
        assert capture.errors() == [CaptureError.INVALID_SECURITY_CODE]
        capture.key(right)
        assert capture.stored_values()[-1] == (CODE, right)


def test_a_code_for_an_unknown_brand_has_three_or_four_digits() -> None:
    for keys in ("737#", "7373"):
        capture = Capture(CODE)
        capture.key(keys)
        assert capture.stored_values() == [(CODE, keys.rstrip("#"))]


def test_after_the_last_attempt_the_operator_has_to_ask_again() -> None:
    capture = Capture(attempts=2)
    capture.key("4242#4242#")
    assert capture.errors() == [
        CaptureError.INVALID_CARD_NUMBER,
        CaptureError.INVALID_CARD_NUMBER,
        CaptureError.TOO_MANY_ATTEMPTS,
    ]
    assert capture.state.phase is Phase.STUCK
    assert capture.state.masked
    assert capture.state.deadline is None
    capture.key(VISA + "#")
    assert capture.stored_values() == []
    assert capture.feed(FieldsRequested((NUMBER,))) == (ReportField(NUMBER, 20.0, 2),)
    capture.store(VISA + "#")
    assert capture.state.current is EXPIRY  # the rest of the card is still wanted


def test_each_field_has_its_own_attempts() -> None:
    capture = Capture(NUMBER, EXPIRY, attempts=2)
    capture.key("4242#")
    capture.store(VISA + "#")
    capture.key("1326")
    assert capture.state.phase is Phase.COLLECTING
    assert capture.state.attempts_left == 1


# ---- time -----------------------------------------------------------------------------------------------


def test_twenty_seconds_to_the_first_key_five_between_keys() -> None:
    capture = Capture(NUMBER)
    assert capture.wait(19.99) == ()
    assert capture.wait(0.01)[0] == ReportFailed(NUMBER, CaptureError.INPUT_TIMEOUT, 0, 2)
    capture.key("4", every_s=19.9)
    assert capture.state.deadline == capture.now + 5
    assert capture.wait(4.99) == ()


def test_a_pause_ends_a_field_that_is_good() -> None:
    capture = Capture(NUMBER)
    capture.key(VISA)
    capture.wait(5)
    assert capture.stored_values() == [(NUMBER, VISA)]


def test_a_pause_in_a_field_that_is_not_good_tells_the_fields_own_error() -> None:
    capture = Capture(NUMBER)
    capture.key("4242")
    assert capture.wait(5)[0] == ReportFailed(NUMBER, CaptureError.INVALID_CARD_NUMBER, 4, 2)


def test_a_key_at_the_very_deadline_counts_if_it_is_first() -> None:
    capture = Capture(EXPIRY)
    capture.key("1")
    capture.key("2", every_s=5.0)
    assert capture.feed(TimePassed()) == ()  # the timer of the former key
    capture.key("30")
    assert capture.stored_values() == [(EXPIRY, "1230")]


def test_after_clearing_there_is_time_for_a_first_key_again() -> None:
    capture = Capture(EXPIRY)
    capture.key("1*")
    assert capture.wait(19.9) == ()
    assert capture.wait(0.1)[0] == ReportFailed(EXPIRY, CaptureError.INPUT_TIMEOUT, 0, 2)


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


# ---- digits ---------------------------------------------------------------------------------------------


def test_replaced_states_are_overwritten_and_what_is_still_needed_is_not() -> None:
    capture = Capture(NUMBER, EXPIRY)
    seen: list[CaptureState] = []
    for key in MASTERCARD + "12":
        old = capture.state
        capture.feed(KeyPressed(key))
        wipe_replaced(old, capture.state)
        seen.append(old)
    (sent,) = [effect for effect in capture.effects if isinstance(effect, StoreField)]
    assert sent.value.expose() == MASTERCARD  # the vault's copy is its own
    assert capture.state.ahead.expose() == "12"
    before = capture.state
    capture.accept()
    wipe_replaced(before, capture.state)
    assert before.digits.wiped
    assert before.ahead.wiped
    assert all(old.digits.wiped for old in seen)
    assert sent.value.expose() == MASTERCARD
    assert capture.state.digits.expose() == "12"


@pytest.mark.parametrize(
    "rules",
    [
        {"first_key_s": 0.0},
        {"first_key_s": float("nan")},
        {"between_keys_s": 601.0},
        {"between_keys_s": -1.0},
        {"attempts": 0},
        {"brands": ("visa", "4111111111111111")},
        {"end_key": "#", "clear_key": "#"},
        {"end_key": "1"},
        {"clear_key": ""},
        {"min_postal_code_length": 0},
        {"min_postal_code_length": 11},
    ],
)
def test_rules_that_make_no_sense_are_refused_before_a_caller_meets_them(rules: dict[str, object]) -> None:
    with pytest.raises(InputError) as refused:
        CaptureRules(**rules)  # type: ignore[arg-type]
    assert "4111" not in str(refused.value)
