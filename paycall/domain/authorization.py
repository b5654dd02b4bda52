"""What is asked of an acquirer and what it answers, without card data: the panel may see all of this.

An answer is one of three things. *Approved* and *declined* only where the acquirer said so in words we know;
everything else is *unknown*, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from paycall.domain.declines import Decline
from paycall.domain.money import Money


class Outcome(StrEnum):
    """What became of an authorization."""

    APPROVED = "approved"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    REVERSED = "reversed"


class OperationOutcome(StrEnum):
    """What became of a settle, void, refund or reversal. ``PENDING``: accepted, the answer comes later."""

    DONE = "done"
    PENDING = "pending"
    FAILED = "failed"
    UNKNOWN = "unknown"


class OnFile(StrEnum):
    """A card that is kept for later payments, with the card holder's consent: by this authorization, or before it."""

    FIRST = "first"
    LATER = "later"


@dataclass(frozen=True)
class AuthorizationRequest:
    """One attempt to authorize a payment.

    ``attempt_id`` is the idempotency key: minted once, written down before sending, never replaced.
    ``reference`` is the site's own (an order number), ``description`` may appear on a statement. ``keep_for`` is the
    customer whose card is to be kept for later payments, if the authorization is approved; empty: nobody's.
    The vault says ``on_file``, and in ``first_reference`` this acquirer's name for the authorization with which the
    card was kept, where it was this acquirer's.
    """

    attempt_id: str
    payment_id: str
    money: Money
    reference: str = ""
    description: str = ""
    keep_for: str = ""
    on_file: OnFile | None = None
    first_reference: str | None = None


@dataclass(frozen=True)
class Search:
    """What the vault is doing to find out an unknown outcome.

    ``rounds`` were made so far, the next is in ``next_in_s``. It ``asks_again`` while the very same request may be
    sent once more, else it only looks the attempt up; ``reversing`` once it was decided to undo it. What is not found
    out in ``people_in_s`` waits for people.
    """

    rounds: int
    asks_again: bool
    reversing: bool
    next_in_s: float
    people_in_s: float | None = None


@dataclass(frozen=True)
class AuthorizationResult:
    """What an acquirer answered.

    ``acquirer_reference`` is the acquirer's name for the authorization, ``authorization_code`` the issuer's six
    characters, ``avs_result`` and ``code_result`` the raw answers on address and security code.
    ``decline`` is given exactly when the outcome is declined. ``approved_currency`` is the currency of
    ``approved_minor`` where the answer names one: an approval in another than was asked for is not understood.
    ``needs_review``: nobody but people can find out what became of it. Said by the vault alone: ``settles_part``, the
    acquirer settles less than was approved; ``reversal_due``, the decline was the approval of a part, which is being
    given back; ``search``, what it is doing about an unknown outcome.
    """

    outcome: Outcome
    acquirer: str
    acquirer_reference: str | None = None
    authorization_code: str | None = None
    avs_result: str | None = None
    code_result: str | None = None
    decline: Decline | None = None
    approved_minor: int | None = None
    approved_currency: str | None = None
    needs_review: bool = False
    settles_part: bool = False
    reversal_due: bool = False
    search: Search | None = None

    def __post_init__(self) -> None:
        if (self.decline is not None) != (self.outcome is Outcome.DECLINED):
            raise ValueError("a decline is given exactly when the outcome is declined")


@dataclass(frozen=True)
class OperationResult:
    """What an acquirer answered to a settle, void, refund or reversal; ``raw_code`` is its own word.

    ``needs_review``: nobody but people can find it out.
    """

    outcome: OperationOutcome
    acquirer_reference: str | None = None
    raw_code: str | None = None
    needs_review: bool = False


@dataclass(frozen=True)
class KeptCard:
    """What anybody outside the card data zone may know of a card that is kept for a customer's later payments."""

    token: str
    brand: str | None
    last4: str | None
    expiry: str | None
    expired: bool
    created_at: str
    used_at: str


@dataclass(frozen=True)
class CardRetry:
    """How often the card's network lets it be tried still.

    ``left`` is None where the network has no limit; ``again_at`` (ISO 8601) is when it is ``allowed`` again, None if
    it is now, or never.
    """

    allowed: bool
    left: int | None = None
    again_at: str | None = None


@dataclass(frozen=True)
class CardSummary:
    """What anybody outside the card data zone may know of a card."""

    token: str
    brand: str | None = None
    last4: str | None = None
    expiry: str | None = None
    has_security_code: bool = False
    security_code_seconds_left: float | None = None
    retry: CardRetry | None = None
