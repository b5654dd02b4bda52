"""How often the card networks let a card be tried again, as pure rules over a card's past declines.

Visa: a category 1 decline is final; otherwise at most 20 declined attempts in 30 days (Visa Core Rules, April
2026). Mastercard: advice 03 and 21 are final; otherwise at most 10 declines in 24 hours and 35 in 30 days for a
card and merchant. paycall counts by the card's fingerprint, whatever the amount, and takes what is final
(``Decline.final``) as final under any brand, for ever. An attempt under way counts as if it were declined. The
operator is told before the attempt, not after.

A number that the bank does not know is final for that number; keyed anew and correctly it is another card, with
another fingerprint, and none of this applies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from paycall.domain.card import Brand
from paycall.domain.decline_codes import PAYCALL
from paycall.domain.declines import Decline, DeclinedBy, decline_for

DAY = timedelta(days=1)
MONTH = timedelta(days=30)
VISA_PER_MONTH = 20
MASTERCARD_PER_DAY = 10
MASTERCARD_PER_MONTH = 35
_ANSWER = timedelta(minutes=1)

LIMITS: dict[Brand, tuple[tuple[timedelta, int], ...]] = {
    Brand.VISA: ((MONTH, VISA_PER_MONTH),),
    Brand.MASTERCARD: ((DAY, MASTERCARD_PER_DAY), (MONTH, MASTERCARD_PER_MONTH)),
    Brand.MAESTRO: ((DAY, MASTERCARD_PER_DAY), (MONTH, MASTERCARD_PER_MONTH)),
}


@dataclass(frozen=True)
class PastDecline:
    """A declined attempt with this card (the same fingerprint)."""

    at: datetime
    decline: Decline


@dataclass(frozen=True)
class RetryBudget:
    """Whether the card may be tried, and how often still.

    Attributes
    ----------
    allowed
        Whether an attempt may be sent now.
    left
        How many attempts are left before a limit; None where the brand has none.
    again_at
        When the card may be tried again; None if it may be now, or never.
    """

    allowed: bool
    left: int | None = None
    again_at: datetime | None = None

    @property
    def decline(self) -> Decline | None:
        """The decline to show instead of sending; None if the card may be tried."""
        return None if self.allowed else decline_for(PAYCALL, "retry_budget")


def retry_budget(
    brand: Brand | None, past: Iterable[PastDecline], now: datetime, under_way: int = 0
) -> RetryBudget:
    """What the networks' rules leave of tries for a card.

    Parameters
    ----------
    brand
        The card's brand; one without published limits has only the final declines.
    past
        The card's declined attempts of the last 30 days at least, and its final declines, in any order.
    now
        The present moment, with its zone like all of ``past``.
    under_way
        Attempts with this card that are not answered yet.
    """
    in_order = sorted(past, key=lambda decline: decline.at)
    if any(decline.decline.final for decline in in_order):
        return RetryBudget(allowed=False, left=0)
    recent = [decline for decline in in_order if decline.at > now - MONTH]
    counted = [decline.at for decline in recent if _reached_issuer(decline.decline)]
    left: int | None = None
    again_at: datetime | None = None
    for window, most in LIMITS.get(brand, ()) if brand else ():
        within = [at for at in counted if at > now - window]
        remaining = max(0, most - len(within) - under_way)
        left = remaining if left is None else min(left, remaining)
        if not remaining:
            # Free again when so many have left the window that one fits, or when one under way is answered.
            free_at = within[len(within) - most] + window if len(within) >= most else now + _ANSWER
            again_at = free_at if again_at is None else max(again_at, free_at)
    return RetryBudget(allowed=left != 0, left=left, again_at=again_at)


def _reached_issuer(decline: Decline) -> bool:
    """Whether the network counted it: what our own side or the gateway held back never left the house."""
    return decline.declined_by not in (DeclinedBy.MERCHANT, DeclinedBy.GATEWAY)
