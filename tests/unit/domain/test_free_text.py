"""What is refused as free text because a card number stands in it, and what is not."""

from __future__ import annotations

import pytest

from paycall.domain.free_text import holds_card_number

CARD = "4242424242424242"


@pytest.mark.parametrize(
    "text",
    [
        CARD,
        "4242 4242 4242 4242",
        "4242 4242 4242 4242 12/26",
        f"{CARD} 1226 123",
        f"{CARD}1226",
        f"{CARD}1226123",
        "+36 30 111 2233, 4242-4242-4242-4242 12/26",
        "3782 822463 10005",
        f"Order 12 {CARD}",
        f"tel 061 {CARD}",
        "378282246310005 1234",
        "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
        "4242  4242 / 4242_4242",
        "4242\u20134242\u20134242\u20134242",
        "4242\u200b4242\u200b4242\u200b4242",
        "\uff14\uff12" * 8,
        "\u0664\u0662" * 8,
        "5018 0000 0009",
    ],
)
def test_a_card_number_is_found_however_it_is_written(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INV-2041",
        "+36 30 111 2233",
        "2026-11-22 18:30, 2 tickets",
        "HU42 1177 3016 1111 1018 0000 0000",
        "4242424242424241",
        "4242 order 4242 of 4242 and 4242",
        "4006381333931",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert not holds_card_number(text)


@pytest.mark.parametrize(
    "kind",
    [
        "+3670{:07d} 2026-11-14",
        "+380 67 921 {:02d} 00, 22.11.2026",
        "+36 20 706 {:04d}, 12:15",
        "+36 70 458 {:04d}, 1036 Budapest",
        "53044100-6909{:04d}-92791991",
        "UA21 3223 1300 0002 6007 2335 6{:03d}",
        "{:07d} / 2026-11-22 / 1234,50",
    ],
)
def test_notes_with_telephone_numbers_dates_and_accounts_raise_no_false_alarm(kind: str) -> None:
    alarms = sum(holds_card_number(kind.format(number * 37)) for number in range(500))
    assert alarms <= 10, "of 500"
