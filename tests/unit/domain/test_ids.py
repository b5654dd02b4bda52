"""Identifiers: nothing in them can be taken for a card number, nothing else for an identifier."""

from __future__ import annotations

import pytest

from paycall.domain.ids import is_id, new_id


def test_identifiers_are_letters_and_differ() -> None:
    ids = {new_id("pay") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_id(each, "pay") and not any(char.isdigit() for char in each) for each in ids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay_",
        "pay_" + "a" * 21,
        "pay_" + "a" * 23,
        "pay_" + "a" * 21 + "1",
        "pay_" + "A" * 22,
        "pay_" + "é" * 22,
        "pay_" + "a" * 22 + "\n",
        " pay_" + "a" * 22,
        "call_" + "a" * 22,
        "pays_" + "a" * 22,
        "pay_pay_" + "a" * 18,
        "4111111111111111",
    ],
)
def test_what_is_not_an_identifier_of_this_kind_is_told_so(text: str) -> None:
    assert not is_id(text, "pay")
