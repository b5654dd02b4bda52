"""How the vault talks to acquirers: one time limit, and every failure one of the three faults.

Rules: whatever an adapter does - a fault, a bug, a hang - the caller of ``ask`` learns an answer, "certainly not
sent", "refused", or "no answer"; and no answer is never taken for a no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import structlog

from gateway_adapters.breaker import GuardedAcquirer
from gateway_adapters.routing import Routing
from paycall.domain.card import Brand
from paycall.domain.card_ports import Acquirer, Card, Traits
from paycall.domain.errors import NoAnswerError, NotSentError, RefusedRequestError
from paycall.domain.money import Money
from paycall.domain.secret import SecurityCode
from paycall.vault.cards import PlainCard
from paycall.vault.hardening import Forgetting

_log = structlog.get_logger(__name__)
_Answer = TypeVar("_Answer")


class Acquirers:
    """The adapters of a site by name, each call limited in time.

    ``routing`` says which ones a new authorization may go to; where no route fits, it is ``default``.
    """

    def __init__(
        self,
        adapters: Mapping[str, Acquirer],
        default: str,
        limit_s: float,
        forgetting: Forgetting,
        routing: Routing | None = None,
    ) -> None:
        self._forgetting = forgetting
        self._adapters = dict(adapters)
        self._limit_s = limit_s
        self._default = default
        self._routing = routing or Routing(())

    def for_payment(self, money: Money, brand: Brand | None) -> tuple[str, ...]:
        """The acquirers to ask, one after the other: the next only where the one before certainly did not charge."""
        return self._routing.candidates(money, brand) or (self._default,)

    def named(self, name: str) -> Acquirer:
        """The adapter; ``RefusedRequestError`` if the site no longer has it."""
        try:
            return self._adapters[name]
        except KeyError:
            raise RefusedRequestError("the acquirer of this authorization is not set up any more") from None

    def traits_of(self, name: str) -> Traits | None:
        """What the acquirer's protocol promises; None if the site no longer has it."""
        adapter = self._adapters.get(name)
        return adapter.traits if adapter else None

    async def ask(self, call: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Await an adapter's call.

        Raises
        ------
        NotSentError, RefusedRequestError
            As the adapter says.
        NoAnswerError
            For everything else, time limit and bugs included.
        """
        try:
            async with asyncio.timeout(self._limit_s):
                return await call
        except (NotSentError, RefusedRequestError, NoAnswerError) as fault:
            _log.warning("acquirer_fault", code=fault.code)
            raise
        except Exception as error:
            _log.warning("acquirer_fault", error=type(error).__name__)
            raise NoAnswerError from None
        finally:
            self._forgetting.touched()

    def held_back(self) -> dict[str, dict[str, bool]]:
        """By acquirer and operation, whether it is left alone now, for those that have a breaker."""
        return {
            name: adapter.held_back()
            for name, adapter in self._adapters.items()
            if isinstance(adapter, GuardedAcquirer)
        }

    async def close(self) -> None:
        """Close every adapter."""
        for adapter in self._adapters.values():
            await adapter.aclose()


def card_for_adapter(card: PlainCard, code: SecurityCode | None) -> Card:
    """The card as an adapter gets it."""
    if card.pan is None:
        raise ValueError("a card without a number was offered to an acquirer")
    return Card(card.pan, card.expiry, code, card.postal_code)


def wipe(card: Card) -> None:
    """Overwrite number and code after the adapter's call."""
    card.pan.wipe()
    if card.security_code is not None:
        card.security_code.wipe()
