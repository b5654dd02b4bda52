"""The test cards of the scripted caller: numbers that acquirers publish for tests, worth nothing anywhere else.

The scripted phone knows them itself, so that whoever drives it names a card and a field and never holds a digit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paycall.domain.fields import Field


@dataclass(frozen=True)
class TestCard:
    """What the caller keys for each field; the expiry as ``MMYY``."""

    number: str = field(repr=False)
    expiry: str = field(repr=False)
    security_code: str = field(repr=False)
    postal_code: str = field(repr=False)

    def digits(self, asked: Field) -> str:
        """The digits of one field."""
        return {
            Field.CARD_NUMBER: self.number,
            Field.EXPIRY: self.expiry,
            Field.SECURITY_CODE: self.security_code,
            Field.POSTAL_CODE: self.postal_code,
        }[asked]


DECLINED = TestCard("4000000000009995", "1231", "739", "10115")
"""The sandbox declines it: insufficient funds."""
APPROVED = TestCard("4242424242424242", "0932", "586", "10115")
"""The sandbox approves it."""
WALLET: tuple[TestCard, ...] = (DECLINED, APPROVED)
"""In the order in which the caller takes them out; the last one is taken ever after."""


def card_at(index: int) -> TestCard:
    """The caller's card for the ``index``-th time that a card number is asked for, counted from 0."""
    return WALLET[min(max(index, 0), len(WALLET) - 1)]
