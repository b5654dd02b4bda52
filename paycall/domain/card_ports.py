"""Protocols that carry card data: only the card data zone may import this module."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

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


OperationKind = Literal["settle", "void", "refund"]


@dataclass(frozen=True)
class Traits:
    """What an acquirer's protocol promises; the vault decides by it what may be sent again.

    Attributes
    ----------
    key_life_s
        For how many seconds a request under the same key is recognised. Nothing is sent again afterwards.
    forgets_errors
        Whether a request that was answered with an error is carried out anew under the same key, although the
        error may have come after the booking. Nothing is sent again then at all: it is looked up.
    holds_back
        Whether a reversal that finds nothing stops what arrives later.
    reads_operations
        Whether ``look_up_operation`` can tell.
    reverses
        Whether an attempt can be undone by our own reference.
    settles_part
        Whether less than what was approved can be settled, once; the rest is released with it.
    live_settings
        Settings of its table that a live site cannot do without.
    """

    key_life_s: float
    forgets_errors: bool = False
    holds_back: bool = True
    reads_operations: bool = True
    reverses: bool = True
    settles_part: bool = True
    live_settings: frozenset[str] = frozenset()


class Acquirer(Protocol):
    """An acquirer, asked over its own wire. All calls are telephone orders (MOTO).

    Every method raises ``NotSentError``, ``NoAnswerError`` or ``RefusedRequestError`` and nothing else of its
    own; declines are returned. An answer that is not understood is ``Outcome.UNKNOWN`` or ``NoAnswerError``.
    """

    name: str

    @property
    def traits(self) -> Traits:
        """What its protocol promises."""

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        """Reserve the amount. The same ``attempt_id`` again must not reserve twice."""

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        """What the acquirer knows of our attempt: its result, or None if it has none now.

        ``sent_at`` is when the attempt was first sent, for acquirers that can only list.
        """

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Take the reserved amount, or a part of it. ``key`` is the operation's idempotency key."""

    async def void(self, key: str, acquirer_reference: str) -> OperationResult:
        """Release a reservation that was not settled."""

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        """Give a settled amount, or a part of it, back."""

    async def look_up_operation(
        self, kind: OperationKind, key: str, acquirer_reference: str, money: Money
    ) -> OperationResult | None:
        """What became of our operation: its result, None if the acquirer has none now, UNKNOWN if it cannot tell."""

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        """Undo an attempt whose outcome is unknown, by our own reference. DONE also if there is none now."""

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
