"""Capture: what the caller keys, sentence by sentence of the design."""

from __future__ import annotations

import pytest

from paycall.domain.capture import CaptureState, Phase, begin, wipe_replaced
from paycall.domain.capture_events import (
    EnableMask,
    FieldsRequested,
    KeyPressed,
    ReportCompleted,
    ReportFailed,
    ReportField,
    ReportProgress,
    ReportStarted,
    ReportStored,
    StoreField,
    TimePassed,
)
from paycall.domain.card import Brand
from paycall.domain.errors import InputError
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules
from tests.fakes.capture_run import (
    AMEX,
    CODE,
    EXPIRY,
    MASTERCARD,
    NUMBER,
    POSTAL,
    TODAY,
    TOKEN,
    VISA,
    Capture,
)


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
