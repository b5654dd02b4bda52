"""How a test chooses the simulator's outcome: card, amount, rules file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway_adapters.sandbox.behaviour import BY_CARD, Behaviour, Fault, behaviour_for
from gateway_adapters.sandbox.rules import Rules
from paycall.domain.card import luhn_valid
from paycall.domain.errors import SettingsError


def test_every_trigger_is_a_card_number_that_can_be_keyed() -> None:
    assert all(luhn_valid(number) for number in BY_CARD)


@pytest.mark.parametrize(
    ("amount_minor", "code"),
    [
        (12_051, "51"),
        (5, "05"),
        (51, "51"),
        (4200, "00"),
        (1999, "00"),
        (1000, "00"),
        (2042, "00"),
        (2010, "10"),
    ],
)
def test_the_amount_chooses(amount_minor: int, code: str) -> None:
    assert behaviour_for("4242424242424242", amount_minor).code == code


def test_the_card_comes_before_the_amount() -> None:
    assert behaviour_for("4000000000000002", 12_051).code == "05"


def match(rules: Rules, amount_minor: int = 100, brand: str = "visa") -> Behaviour | None:
    return rules.match(wire="native", brand=brand, last4="4242", currency="EUR", amount_minor=amount_minor)


def test_the_first_rule_that_fits_decides_and_the_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        """
        [[rule]]
        brand = "mastercard"
        at_least_minor = 1000
        code = "61"
        advice = "03"

        [[rule]]
        at_most_minor = 50
        fault = "drop_after_booking"
        delay_s = 0.5
        """
    )
    rules = Rules(path)
    assert match(rules, 1000, "mastercard") == Behaviour("61", "03")
    assert match(rules, 999, "mastercard") is None
    assert match(rules, 50) == Behaviour(delay_s=0.5, fault=Fault.DROP_AFTER_BOOKING)
    path.write_text('[[rule]]\ncode = "05"\n')
    os.utime(path, (1, 1))
    assert match(rules) == Behaviour("05")


def test_chances_come_up_as_often_as_they_say_and_the_same_with_a_seed(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('seed = 7\n[[rule]]\nchance = 0.2\ncode = "05"\n')
    first, second = ([match(Rules(path)) for _ in range(3)] for _ in range(2))
    assert first == second
    rules = Rules(path)
    declined = sum(match(rules) is not None for _ in range(2000))
    assert 320 <= declined <= 480


@pytest.mark.parametrize(
    "text", ['[[rule]]\nfault = "meteor"\n', "[[rule]]\nchance = 2\n", "[[rule]]\ncolour = 1\n", "[[rule]"]
)
def test_a_wrong_rules_file_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"rules file|rules\.toml"):
        Rules(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        Rules(tmp_path / "none.toml")
