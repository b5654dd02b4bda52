"""Amounts as acquirers want them: most take ISO 4217's minor units, each with a few exceptions of its own."""

from __future__ import annotations

from collections.abc import Mapping

from paycall.domain.errors import RefusedRequestError
from paycall.domain.money import Money, exponent


def to_wire(money: Money, exceptions: Mapping[str, int]) -> int:
    """The amount in the acquirer's units.

    Parameters
    ----------
    exceptions
        Currencies for which the acquirer counts another number of decimals than ISO 4217.

    Raises
    ------
    RefusedRequestError
        If the amount cannot be written in the acquirer's units (nothing is sent).
    """
    shift = exceptions.get(money.currency, exponent(money.currency)) - exponent(money.currency)
    if shift >= 0:
        return int(money.amount_minor * 10**shift)
    whole, rest = divmod(money.amount_minor, 10**-shift)
    if rest:
        raise RefusedRequestError("the acquirer has no such small units in this currency")
    return int(whole)


def from_wire(amount: int, currency: str, exceptions: Mapping[str, int]) -> int:
    """An amount of the acquirer's, in ISO 4217's minor units, rounded down."""
    shift = exceptions.get(currency, exponent(currency)) - exponent(currency)
    return int(amount // 10**shift if shift >= 0 else amount * 10**-shift)
