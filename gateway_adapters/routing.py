"""Which acquirer gets a payment: the first route that fits, and who comes next if it certainly did not charge.

Written in the settings as a list, tried from the top::

    [[vault.routes]]
    acquirer = "iso8583"
    currencies = ["HUF"]
    brands = ["visa", "mastercard"]
    at_most_minor = 5000000

    [[vault.routes]]
    acquirer = "stripe"        # no conditions: everything that is left
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paycall.domain.card import Brand
from paycall.domain.errors import SettingsError
from paycall.domain.money import CURRENCIES, Money

_NAMES = frozenset({"acquirer", "currencies", "brands", "at_least_minor", "at_most_minor"})


@dataclass(frozen=True)
class Route:
    """An acquirer and the payments it takes; an empty condition takes all."""

    acquirer: str
    currencies: frozenset[str] = frozenset()
    brands: frozenset[Brand] = frozenset()
    at_least_minor: int = 0
    at_most_minor: int | None = None

    def takes(self, money: Money, brand: Brand | None) -> bool:
        """Whether the conditions fit."""
        return (
            (not self.currencies or money.currency in self.currencies)
            and (not self.brands or brand in self.brands)
            and self.at_least_minor <= money.amount_minor
            and (self.at_most_minor is None or money.amount_minor <= self.at_most_minor)
        )


class Routing:
    """The routes of a site."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)

    @classmethod
    def from_settings(cls, tables: Sequence[Mapping[str, Any]], known: Collection[str]) -> Routing:
        """Read the list of tables.

        Raises
        ------
        SettingsError
            If a route is wrong or names an acquirer that is not in ``known``.
        """
        return cls([_route(index, table, known) for index, table in enumerate(tables, start=1)])

    def candidates(self, money: Money, brand: Brand | None) -> tuple[str, ...]:
        """The acquirers that take this payment, in order, each once.

        The second is for a payment with which the first was certainly not reached (``NotSentError``). A request that
        was refused stays refused: a wrong set-up is to be seen, not to be gone round.
        """
        return tuple(dict.fromkeys(route.acquirer for route in self._routes if route.takes(money, brand)))


def _route(index: int, table: Mapping[str, Any], known: Collection[str]) -> Route:
    where = f"setting vault.routes[{index}]"
    for name in sorted(set(table) - _NAMES):
        raise SettingsError(f"{where}.{name}: is not a condition of a route")
    if table.get("acquirer") not in known:
        raise SettingsError(f"{where}.acquirer: must be one of {', '.join(sorted(known))}")
    currencies = frozenset(_texts(where, "currencies", table))
    if currencies - CURRENCIES:
        raise SettingsError(f"{where}.currencies: must be ISO 4217 codes in capitals")
    try:
        brands = frozenset(Brand(name) for name in _texts(where, "brands", table))
    except ValueError:
        names = ", ".join(brand.value for brand in Brand)
        raise SettingsError(f"{where}.brands: must be of {names}") from None
    return Route(
        acquirer=str(table["acquirer"]),
        currencies=currencies,
        brands=brands,
        at_least_minor=_amount(where, "at_least_minor", table) or 0,
        at_most_minor=_amount(where, "at_most_minor", table),
    )


def _texts(where: str, name: str, table: Mapping[str, Any]) -> list[str]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{where}.{name}: must be a list of texts")
    return value


def _amount(where: str, name: str, table: Mapping[str, Any]) -> int | None:
    value = table.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise SettingsError(f"{where}.{name}: must be a whole number of minor units")
    return value
