"""Cards, over all prefixes and over random numbers."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from paycall.domain.card import Brand, brand_of, check_number, luhn_valid, number_is_final
from paycall.domain.errors import CardDataError
from paycall.domain.fields import CaptureError
from paycall.domain.secret import Pan

DIGITS = st.text("0123456789", max_size=24)


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if luhn_valid(digits + last))


# The ranges once more, as somebody else would write them: the first that matches six digits counts.
PUBLISHED = [
    (Brand.PROSTIR, r"9804"),
    (Brand.MIR, r"220[0-4]"),
    (Brand.AMEX, r"3[47]"),
    (Brand.JCB, r"35(2[89]|[3-8])"),
    (Brand.DINERS, r"30[0-5]|3095|36|3[89]"),
    (Brand.DISCOVER, r"6011|64[4-9]|65"),
    (Brand.UNIONPAY, r"62|81([0-6]|7[01])"),
    (Brand.MASTERCARD, r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"),
    (Brand.VISA, r"4"),
    (Brand.MAESTRO, r"50|5[6-9]|6[0136-9]"),
]


def published_brand(prefix: str) -> Brand | None:
    return next((brand for brand, pattern in PUBLISHED if re.match(pattern, prefix)), None)


def test_of_all_beginnings_a_brand_is_told_exactly_when_every_continuation_is_of_it() -> None:
    continuations = {
        prefix: {published_brand(prefix)} for prefix in map("".join, product("0123456789", repeat=4))
    }
    for length in (3, 2, 1, 0):
        for beginning in map("".join, product("0123456789", repeat=length)):
            continuations[beginning] = set().union(
                *(continuations[beginning + digit] for digit in "0123456789")
            )
    for beginning, brands in continuations.items():
        assert brand_of(beginning) is (next(iter(brands)) if len(brands) == 1 else None), beginning


@given(DIGITS, DIGITS)
def test_a_brand_once_told_stays(beginning: str, rest: str) -> None:
    brand = brand_of(beginning)
    assert brand is None or brand_of(beginning + rest) is brand


@given(st.text("0123456789", min_size=1, max_size=18).map(with_check_digit), st.data())
def test_luhn_catches_every_wrong_digit_and_every_swap_but_09(number: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(number) - 1))
    other = data.draw(st.sampled_from(sorted(set("0123456789") - {number[at]})))
    assert not luhn_valid(number[:at] + other + number[at + 1 :])
    if at and number[at - 1] != number[at] and {number[at - 1], number[at]} != {"0", "9"}:
        assert not luhn_valid(number[: at - 1] + number[at] + number[at - 1] + number[at + 1 :])


@given(st.one_of(DIGITS, st.text(max_size=24)))
def test_any_text_is_a_card_number_or_is_refused_and_pan_agrees(text: str) -> None:
    error = check_number(text)
    assert error in (None, CaptureError.INVALID_CARD_NUMBER)
    try:
        pan = Pan(text)
    except CardDataError as refused:
        assert error == refused.code
        assert str(refused) == "the field was not accepted"
    else:
        assert error is None
        assert pan.expose() == text
        assert pan.last4 == text[-4:]
        assert pan.brand is brand_of(text)


@given(
    st.sampled_from(["4", "51", "2221", "34", "6011", "3528", "36", "62", "50", "2200", "9804", "7"]),
    st.text("0123456789", min_size=20, max_size=20),
)
def test_nothing_longer_than_a_final_number_is_good(prefix: str, rest: str) -> None:
    final = [number_is_final((prefix + rest)[:length]) for length in range(1, 21)]
    assert final.count(True) == 1
    end = final.index(True) + 1
    for length in range(end + 1, 21):
        assert check_number((prefix + rest)[:length]) is CaptureError.INVALID_CARD_NUMBER
