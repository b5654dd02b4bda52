"""Cards: which brand, how long, which check digit, and when any of it is certain."""

from __future__ import annotations

import pytest

from paycall.domain.card import (
    Brand,
    Expiry,
    brand_of,
    check_number,
    code_length,
    luhn_valid,
    number_is_final,
)
from paycall.domain.errors import CardDataError
from paycall.domain.fields import CaptureError


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if luhn_valid(digits + last))


# The numbers that the schemes and the big acquirers publish for tests, and one made of each remaining range's ends.
KNOWN = [
    ("4222222222222", Brand.VISA),
    ("4111111111111111", Brand.VISA),
    ("4242424242424242", Brand.VISA),
    ("4000000000000000006", Brand.VISA),
    ("5555555555554444", Brand.MASTERCARD),
    ("5105105105105100", Brand.MASTERCARD),
    ("2223003122003222", Brand.MASTERCARD),
    (with_check_digit("222100" + "0" * 9), Brand.MASTERCARD),
    (with_check_digit("272099" + "9" * 9), Brand.MASTERCARD),
    ("378282246310005", Brand.AMEX),
    ("371449635398431", Brand.AMEX),
    ("6011111111111117", Brand.DISCOVER),
    ("6011000990139424", Brand.DISCOVER),
    (with_check_digit("644000" + "0" * 9), Brand.DISCOVER),
    (with_check_digit("659999" + "0" * 12), Brand.DISCOVER),
    ("3530111333300000", Brand.JCB),
    (with_check_digit("352800" + "0" * 9), Brand.JCB),
    (with_check_digit("358999" + "0" * 9), Brand.JCB),
    ("30569309025904", Brand.DINERS),
    ("38520000023237", Brand.DINERS),
    ("36227206271667", Brand.DINERS),
    (with_check_digit("309500" + "0" * 9), Brand.DINERS),
    ("6200000000000005", Brand.UNIONPAY),
    ("6205500000000000004", Brand.UNIONPAY),
    ("8171999900000000021", Brand.UNIONPAY),
    ("6759649826438453", Brand.MAESTRO),
    (with_check_digit("50180000000"), Brand.MAESTRO),
    ("2200000000000004", Brand.MIR),
    (with_check_digit("220499" + "9" * 9), Brand.MIR),
    (with_check_digit("980400" + "0" * 9), Brand.PROSTIR),
]


@pytest.mark.parametrize(("number", "brand"), KNOWN)
def test_known_numbers_are_accepted_as_their_brand(number: str, brand: Brand) -> None:
    assert brand_of(number) is brand
    assert check_number(number) is None
    assert check_number(number, frozenset({brand})) is None
    assert check_number(number, frozenset(Brand) - {brand}) is CaptureError.INVALID_CARD_TYPE


@pytest.mark.parametrize(
    "number",
    ["220500", "222099", "272100", "306", "309600", "352799", "359000", "643", "817200", "980500", "1", "7"],
)
def test_just_outside_the_ranges_no_brand_is_claimed(number: str) -> None:
    assert brand_of(number) is None


@pytest.mark.parametrize(
    ("beginning", "brand"),
    [
        ("", None),
        ("3", None),
        ("34", Brand.AMEX),
        ("35", None),
        ("352", None),
        ("353", Brand.JCB),
        ("30", None),
        ("309", None),
        ("4", Brand.VISA),
        ("5", None),
        ("50", Brand.MAESTRO),
        ("6", None),
        ("60", None),
        ("601", None),
        ("6010", Brand.MAESTRO),
        ("62", Brand.UNIONPAY),
        ("64", None),
        ("2", None),
        ("22", None),
        ("222", None),
        ("2220", None),
        ("2221", Brand.MASTERCARD),
        ("23", Brand.MASTERCARD),
        ("272", None),
        ("2720", Brand.MASTERCARD),
        ("2200", Brand.MIR),
    ],
)
def test_the_brand_is_told_as_soon_as_it_is_certain_and_not_before(
    beginning: str, brand: Brand | None
) -> None:
    assert brand_of(beginning) is brand


def test_a_number_of_unknown_brand_is_taken_if_its_check_digit_is_right() -> None:
    number = with_check_digit("7000000000000")
    assert brand_of(number) is None
    assert check_number(number) is None
    assert check_number(number, frozenset({Brand.VISA})) is CaptureError.INVALID_CARD_TYPE


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111112",  # Luhn
        "41111111111111",  # a Visa of 14
        with_check_digit("41111111111111"),  # and of 15, its check digit right
        with_check_digit("55555555555544"),  # a Mastercard of 15
        with_check_digit("378282246310005"),  # an Amex of 16
        with_check_digit("7000000000"),  # 11 digits
        with_check_digit("7" + "0" * 18),  # 20
        "0" * 16,  # passes Luhn, and is what a caller keys who wants out
        with_check_digit("0" + "4" * 14),
        "",
        "4111 1111 1111 1111",
        "４１１１１１１１１１１１１１１１",
        "٤١١١١١١١١١١١١١١١",
    ],
)
def test_what_is_no_card_number_is_refused(number: str) -> None:
    assert check_number(number) is CaptureError.INVALID_CARD_NUMBER


def test_unionpay_numbers_without_a_check_digit_are_good() -> None:
    assert not luhn_valid("6221730301002042987")
    assert check_number("6221730301002042987") is None


def test_a_unionpay_card_that_discover_carries_is_taken_where_discover_is() -> None:
    inside, outside = with_check_digit("622126" + "0" * 9), with_check_digit("622925" + "0" * 9)
    before, after = with_check_digit("622125" + "0" * 9), with_check_digit("622926" + "0" * 9)
    for number in (inside, outside):
        assert brand_of(number) is Brand.UNIONPAY
        assert check_number(number, frozenset({Brand.DISCOVER})) is None
    for number in (before, after):
        assert check_number(number, frozenset({Brand.DISCOVER})) is CaptureError.INVALID_CARD_TYPE


@pytest.mark.parametrize(
    ("number", "final"),
    [
        ("5555555555554444", True),
        ("378282246310005", True),
        ("4111111111111111", False),  # a Visa may have 19
        ("4000000000000000006", True),
        ("30569309025904", False),
        (with_check_digit("980400" + "0" * 9), True),
        ("7" * 18, False),
        ("7" * 19, True),
    ],
)
def test_a_number_is_final_when_no_longer_one_of_its_brand_exists(number: str, final: bool) -> None:
    assert number_is_final(number) is final


def test_the_security_code_has_four_digits_on_an_amex_and_three_elsewhere() -> None:
    assert code_length(Brand.AMEX) == 4
    assert {code_length(brand) for brand in Brand if brand is not Brand.AMEX} == {3}
    assert code_length(None) is None


class TestExpiry:
    def test_a_card_is_good_until_the_end_of_its_month(self) -> None:
        expiry = Expiry.parse("1126")
        assert str(expiry) == "11/26"
        assert expiry.good_in(2026, 11)
        assert expiry.good_in(2025, 12)
        assert not expiry.good_in(2026, 12)
        assert not expiry.good_in(2027, 1)

    def test_a_date_more_than_twenty_years_ahead_is_a_slip(self) -> None:
        assert Expiry.parse("1246").good_in(2026, 11)
        assert not Expiry.parse("0147").good_in(2026, 11)

    @pytest.mark.parametrize(
        "digits", ["", "1", "113", "0026", "1326", "9926", "11/26", "112026", "１１２６", " 126"]
    )
    def test_what_is_no_date_is_refused(self, digits: str) -> None:
        with pytest.raises(CardDataError) as refused:
            Expiry.parse(digits)
        assert refused.value.code == CaptureError.INVALID_DATE
