"""What the simulator does with an authorization: chosen by a rules file, the card number, or the amount.

Card numbers (every expiry date and security code will do)::

    4242424242424242, 4111111111111111, 5555555555554444   approved
    4000000000000002   05  declined without a reason
    4000000000009995   51  insufficient funds
    4000000000000069   54  expired, or wrong expiry date
    4000000000000127   N7  wrong security code
    4000000000000119   96  processing error
    4000000000000259   approved after 3 seconds
    4000000000000341   booked, then the connection is dropped without an answer
    4000000000000408   the connection is dropped before anything is booked
    4000000000000416   booked, then the answer is garbage
    4000000000000424   booked, then the answer is a server error (500)
    4000000000000432   turned away as too many requests (429), nothing booked
    4000000000000440   half of the amount approved (10); 51 where the wire has no partial approvals
    4000000000000457   approved, the answer comes twice (ISO 8583)

Amounts: the last three digits of the amount in minor units choose an ISO 8583 code: ``xx051`` declines
with 51, ``xx005`` with 05, ``xx010`` approves half. Other endings, and codes that are not declines, approve.

A rules file (``rules``) comes before both. Faults happen once for an idempotency key: the same request sent
again is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from paycall.domain.decline_codes import ISO8583
from paycall.domain.declines import CodeKind, is_known, kind_of

APPROVED_CODE = "00"
PARTIAL_CODE = "10"
INSUFFICIENT_FUNDS_CODE = "51"  # what a partial approval is where the client cannot take one


class Fault(StrEnum):
    """What goes wrong on the way, besides or instead of a decline."""

    DROP_AFTER_BOOKING = "drop_after_booking"
    DROP_BEFORE_BOOKING = "drop_before_booking"
    GARBAGE = "garbage"
    SERVER_ERROR = "server_error"
    TOO_MANY_REQUESTS = "too_many_requests"
    DUPLICATE = "duplicate"  # the answer comes twice; only on a wire where that can be (ISO 8583)


@dataclass(frozen=True)
class Behaviour:
    """The outcome of an authorization: field 39's code, merchant advice, delays and a fault.

    ``delay_s`` is between the booking and the answer, ``booking_delay_s`` before the booking; ``pending_s`` is how
    long an operation is only accepted, where the wire can say so.
    """

    code: str = APPROVED_CODE
    advice: str | None = None
    delay_s: float = 0.0
    fault: Fault | None = None
    booking_delay_s: float = 0.0
    pending_s: float = 0.0

    def approved_minor(self, amount_minor: int) -> int:
        """How much of the amount is approved."""
        if self.code == APPROVED_CODE:
            return amount_minor
        return amount_minor // 2 if self.code == PARTIAL_CODE else 0


BY_CARD: dict[str, Behaviour] = {
    "4000000000000002": Behaviour("05"),
    "4000000000009995": Behaviour("51"),
    "4000000000000069": Behaviour("54"),
    "4000000000000127": Behaviour("N7"),
    "4000000000000119": Behaviour("96"),
    "4000000000000259": Behaviour(delay_s=3.0),
    "4000000000000341": Behaviour(fault=Fault.DROP_AFTER_BOOKING),
    "4000000000000408": Behaviour(fault=Fault.DROP_BEFORE_BOOKING),
    "4000000000000416": Behaviour(fault=Fault.GARBAGE),
    "4000000000000424": Behaviour(fault=Fault.SERVER_ERROR),
    "4000000000000432": Behaviour(fault=Fault.TOO_MANY_REQUESTS),
    "4000000000000440": Behaviour(PARTIAL_CODE),
    "4000000000000457": Behaviour(fault=Fault.DUPLICATE),
}


def behaviour_for(card_number: str, amount_minor: int) -> Behaviour:
    """What to do with this authorization."""
    if card_number in BY_CARD:
        return BY_CARD[card_number]
    ending = amount_minor % 1000
    code = f"{ending:02d}"
    if (
        ending < 100
        and is_known(ISO8583, code)
        and kind_of(ISO8583, code) in (CodeKind.DECLINED, CodeKind.PARTLY_APPROVED)
    ):
        return Behaviour(code)
    return Behaviour()
