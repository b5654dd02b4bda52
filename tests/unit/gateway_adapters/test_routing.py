"""Routing: which acquirers take a payment, by currency, brand and amount."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_adapters.routing import Routing
from paycall.domain.card import Brand
from paycall.domain.errors import SettingsError
from paycall.domain.money import Money

KNOWN = ("iso8583", "stripe", "adyen")
ROUTES: list[dict[str, Any]] = [
    {
        "acquirer": "iso8583",
        "currencies": ["HUF"],
        "brands": ["visa", "mastercard"],
        "at_most_minor": 500_000,
    },
    {"acquirer": "adyen", "at_least_minor": 1_000_000},
    {"acquirer": "stripe"},
]


@pytest.mark.parametrize(
    ("money", "brand", "expected"),
    [
        (Money(500_000, "HUF"), Brand.VISA, ("iso8583", "stripe")),
        (Money(500_001, "HUF"), Brand.VISA, ("stripe",)),
        (Money(100, "HUF"), Brand.AMEX, ("stripe",)),
        (Money(100, "HUF"), None, ("stripe",)),
        (Money(100, "EUR"), Brand.VISA, ("stripe",)),
        (Money(1_000_000, "EUR"), Brand.VISA, ("adyen", "stripe")),
    ],
)
def test_the_first_route_that_fits_then_the_next(
    money: Money, brand: Brand | None, expected: tuple[str, ...]
) -> None:
    assert Routing.from_settings(ROUTES, KNOWN).candidates(money, brand) == expected


def test_nothing_fits() -> None:
    routing = Routing.from_settings(ROUTES[:1], KNOWN)
    assert routing.candidates(Money(100, "EUR"), Brand.VISA) == ()


@pytest.mark.parametrize(
    ("route", "named"),
    [
        ({"acquirer": "paypal"}, "acquirer"),
        ({}, "acquirer"),
        ({"acquirer": "stripe", "currency": ["EUR"]}, "currency"),
        ({"acquirer": "stripe", "currencies": "EUR"}, "currencies"),
        ({"acquirer": "stripe", "currencies": ["eur"]}, "currencies"),
        ({"acquirer": "stripe", "brands": ["vissa"]}, "brands"),
        ({"acquirer": "stripe", "at_most_minor": -1}, "at_most_minor"),
        ({"acquirer": "stripe", "at_least_minor": "5"}, "at_least_minor"),
    ],
)
def test_a_wrong_route_is_named(route: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=rf"routes\[1\]\.{named}"):
        Routing.from_settings([route], KNOWN)
