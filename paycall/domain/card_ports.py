"""Protocols that carry card data: only the card data zone may import this module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from paycall.domain.authorization import AuthorizationRequest, AuthorizationResult, OperationResult
from paycall.domain.card import Expiry
from paycall.domain.fields import Field
from paycall.domain.money import Money
from paycall.domain.secret import DigitBuffer, Pan, SecurityCode


@dataclass(frozen=True)
class Card:
    """A card as an adapter sees it, for the length of one call. ``expiry`` may be None where not captured."""

    pan: Pan = field(repr=False)
    expiry: Expiry | None = field(repr=False, default=None)
    security_code: SecurityCode | None = field(repr=False, default=None)
    postal_code: str | None = field(repr=False, default=None)


class Acquirer(Protocol):
    """An acquirer, asked over its own wire. All calls are telephone orders (MOTO).

    Every method raises ``NotSentError``, ``NoAnswerError`` or ``RefusedRequestError`` and nothing else of its
    own; declines are returned. An answer that is not understood is ``Outcome.UNKNOWN`` or ``NoAnswerError``.
    """

    name: str

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Reserve the amount. The same ``attempt_id`` again must not reserve twice."""

    async def look_up(self, attempt_id: str) -> AuthorizationResult | None:
        """What the acquirer knows of our attempt: its result, or None if it certainly has none."""

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Take the reserved amount, or a part of it. ``key`` is the operation's idempotency key."""

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Release a reservation that was not settled."""

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Give a settled amount, or a part of it, back."""

    async def reverse(self, key: str, attempt_id: str, money: Money) -> OperationResult:
        """Undo an attempt whose outcome is unknown, by our own reference. DONE also if there was none."""

    async def aclose(self) -> None:
        """Release connections."""


@dataclass(frozen=True)
class StoredField:
    """What the vault answers to a stored field: the token of the payment's card."""

    token: str


class CardVault(Protocol):
    """The cell's side of the vault: store only."""

    async def store_field(self, payment_id: str, field: Field, value: DigitBuffer) -> StoredField:
        """Hand a finished field over.

        Raises
        ------
        CardDataError
            If the vault refuses it (with the capture error's name).
        VaultUnavailableError
            If it can't be reached.
        """
