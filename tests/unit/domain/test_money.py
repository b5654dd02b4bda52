"""Money: minor units, the currency's decimals, and what people type."""

from __future__ import annotations

from decimal import Decimal

import pytest

from paycall.domain.errors import InputError
from paycall.domain.money import CURRENCIES, MAX_AMOUNT_MINOR, Money, exponent

TWO_WAYS = "the amount can be read in two ways; write it without a sign for thousands"
TOO_MANY = "the amount has more decimals than the currency"
NO_NUMBER = "the amount is not a number that can be read; write it like 1999.50"


@pytest.mark.parametrize(
    ("currency", "places"),
    [
        ("EUR", 2),
        ("HUF", 2),
        ("UAH", 2),
        ("RUB", 2),
        ("JPY", 0),
        ("ISK", 0),
        ("UGX", 0),
        ("KWD", 3),
        ("TND", 3),
        ("CLF", 4),
    ],
)
def test_decimals_of_currencies(currency: str, places: int) -> None:
    assert exponent(currency) == places


def test_the_currencies_are_those_of_today() -> None:
    assert {"EUR", "USD", "GBP", "HUF", "UAH", "RUB", "XCG", "ZWG", "SLE"} <= CURRENCIES
    assert CURRENCIES.isdisjoint({"BGN", "HRK", "ANG", "SLL", "ZWL", "XXX", "XTS", "XAU"})
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize(
    ("typed", "currency", "minor"),
    [
        ("19", "EUR", 1900),
        ("19.9", "EUR", 1990),
        ("19.99", "EUR", 1999),
        ("19,99", "EUR", 1999),
        (" 0,50 ", "EUR", 50),
        ("1999", "EUR", 199900),
        ("1 999,50", "EUR", 199950),  # Russian, Ukrainian, Hungarian
        ("1\u00a0999,50", "EUR", 199950),
        ("1\u202f999.50", "EUR", 199950),
        ("1,999.50", "EUR", 199950),  # English
        ("1.999,50", "EUR", 199950),  # German, and Hungarian of old
        ("1'999.50", "CHF", 199950),
        ("1,234,567", "EUR", 123456700),
        ("1.234.567,8", "EUR", 123456780),
        ("12 345", "HUF", 1234500),
        ("1999", "JPY", 1999),
        ("1 999", "JPY", 1999),
        ("1.999", "KWD", 1999),
        ("0,500", "KWD", 500),
        ("1 999,500", "KWD", 1999500),
        ("1999,500", "KWD", 1999500),
        ("0.0001", "CLF", 1),
        ("0.01", "EUR", 1),
        ("1000000000", "EUR", MAX_AMOUNT_MINOR),
    ],
)
def test_amounts_as_people_type_them(typed: str, currency: str, minor: int) -> None:
    assert Money.parse(typed, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("typed", "currency", "why"),
    [
        ("1,999", "EUR", TWO_WAYS),  # two thousand in English, two in Russian
        ("1.999", "EUR", TWO_WAYS),
        ("1,999", "JPY", TWO_WAYS),
        ("1,999", "KWD", TWO_WAYS),
        ("1.999.5", "EUR", TWO_WAYS),
        ("1,999,50", "EUR", TWO_WAYS),
        ("0,999", "EUR", TOO_MANY),
        ("1999,999", "EUR", TOO_MANY),
        ("1.5", "JPY", TOO_MANY),
        ("1 999,5000", "KWD", TOO_MANY),
        ("", "EUR", NO_NUMBER),
        ("19 99", "EUR", NO_NUMBER),
        ("1 999 50", "EUR", NO_NUMBER),
        ("1 999,999,000", "EUR", NO_NUMBER),
        (".50", "EUR", NO_NUMBER),
        ("5.", "EUR", NO_NUMBER),
        ("-5", "EUR", NO_NUMBER),
        ("+5", "EUR", NO_NUMBER),
        ("1e3", "EUR", NO_NUMBER),
        ("1e999999999", "EUR", NO_NUMBER),
        ("1_000", "EUR", NO_NUMBER),
        ("0x10", "EUR", NO_NUMBER),
        ("NaN", "EUR", NO_NUMBER),
        ("Infinity", "EUR", NO_NUMBER),
        ("١٩", "EUR", NO_NUMBER),
        ("１９", "EUR", NO_NUMBER),
        ("€19", "EUR", NO_NUMBER),
        ("9" * 100_000, "EUR", NO_NUMBER),
    ],
)
def test_what_is_not_certainly_an_amount_is_refused_with_a_reason(
    typed: str, currency: str, why: str
) -> None:
    with pytest.raises(InputError) as refused:
        Money.parse(typed, currency)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    "amount", [0, -1, MAX_AMOUNT_MINOR + 1, 10**400, True, 19.99, "1999", None, Decimal(5)]
)
def test_an_amount_is_a_whole_number_of_minor_units_within_limits(amount: object) -> None:
    with pytest.raises(InputError) as refused:
        Money(amount, "EUR")  # type: ignore[arg-type]
    assert "1999" not in str(refused.value)


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "BGN", "EUR "])
def test_a_currency_is_one_of_iso_4217(currency: str) -> None:
    with pytest.raises(InputError):
        Money(100, currency)
    with pytest.raises(InputError):
        Money.parse("1", currency)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1999, "EUR"), "EUR 19.99"),
        (Money(199950, "EUR"), "EUR 1,999.50"),
        (Money(1999, "JPY"), "JPY 1,999"),
        (Money(1999, "KWD"), "KWD 1.999"),
        (Money(1, "CLF"), "CLF 0.0001"),
        (Money(MAX_AMOUNT_MINOR, "HUF"), "HUF 1,000,000,000.00"),
    ],
)
def test_money_is_written_with_the_currencys_decimals(money: Money, text: str) -> None:
    assert str(money) == text
