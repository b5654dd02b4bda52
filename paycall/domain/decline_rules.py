"""The vocabulary of declines: every reason, with who declined and what may be tried.

Rules: a reason is one word that tells the operator something to do differently; near-duplicates of the
acquirers are folded into one. The order of ``next_steps`` is the order of preference. A *confidential* reason
is never told to the caller: its sentence for the caller is that of ``generic_decline``, word for word, so that
not even a difference in wording tells anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from paycall.domain.fields import Field


class DeclinedBy(StrEnum):
    """Who declined."""

    ISSUER = "issuer"
    NETWORK = "network"
    ACQUIRER = "acquirer"
    GATEWAY = "gateway"
    MERCHANT = "merchant"
    CALLER_INPUT = "caller_input"


class Retry(StrEnum):
    """Whether the same card may be tried again.

    ``LATER``: when something has changed - time has passed, or the caller has settled it with the bank.
    """

    NOW = "now"
    AFTER_CORRECTION = "after_correction"
    LATER = "later"
    NEVER = "never"


class NextStep(StrEnum):
    """What an operator can do after a decline."""

    RETRY = "retry"
    KEY_CODE_AGAIN = "key_code_again"
    KEY_EXPIRY_AGAIN = "key_expiry_again"
    KEY_NUMBER_AGAIN = "key_number_again"
    KEY_POSTAL_CODE_AGAIN = "key_postal_code_again"
    OTHER_CARD = "other_card"
    CALL_BANK = "call_bank"
    STOP = "stop"


@dataclass(frozen=True)
class ReasonRule:
    """What holds for a reason unless the code says more. ``correct`` are the fields to key again."""

    declined_by: DeclinedBy
    retry: Retry
    next_steps: tuple[NextStep, ...]
    correct: tuple[Field, ...] = ()
    confidential: bool = False


_B, _R, _N, _F = DeclinedBy, Retry, NextStep, Field
_CARD_OR_STOP = (_N.OTHER_CARD, _N.STOP)
_BANK_FIRST = (_N.CALL_BANK, _N.OTHER_CARD, _N.RETRY, _N.STOP)
_CARD_FIRST = (_N.OTHER_CARD, _N.CALL_BANK, _N.RETRY, _N.STOP)
_ASK_BANK = (_N.OTHER_CARD, _N.CALL_BANK, _N.STOP)
_RETRY_FIRST = (_N.RETRY, _N.OTHER_CARD, _N.STOP)
_NO_CARD_WORKS = (_N.STOP,)

UNRECOGNISED = "unrecognised"
OUTCOME_UNKNOWN = "outcome_unknown"

REASONS: dict[str, ReasonRule] = {
    # the bank, without or with a reason
    "generic_decline": ReasonRule(_B.ISSUER, _R.LATER, _BANK_FIRST),
    "call_issuer": ReasonRule(_B.ISSUER, _R.LATER, _BANK_FIRST),
    "try_again_later": ReasonRule(_B.ISSUER, _R.LATER, _ASK_BANK),
    "do_not_retry": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP, confidential=True),
    # money and limits
    "insufficient_funds": ReasonRule(_B.ISSUER, _R.LATER, _CARD_FIRST),
    "limit_exceeded": ReasonRule(_B.ISSUER, _R.LATER, _CARD_FIRST),
    "used_too_often": ReasonRule(_B.ISSUER, _R.LATER, _ASK_BANK),
    "prepaid_card": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    "virtual_card": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    "currency_unsupported": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    # the card and its account
    "card_blocked": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP, confidential=True),
    "suspected_fraud": ReasonRule(_B.ISSUER, _R.NEVER, _ASK_BANK, confidential=True),
    "legal_restriction": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP, confidential=True),
    "closed_account": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    "card_inactive": ReasonRule(_B.ISSUER, _R.LATER, _BANK_FIRST),
    "not_permitted_card": ReasonRule(_B.ISSUER, _R.NEVER, _ASK_BANK),
    "restricted_card": ReasonRule(_B.ISSUER, _R.LATER, _CARD_FIRST),
    "invalid_transaction": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    "pin_required": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    "sca_required": ReasonRule(_B.ISSUER, _R.NEVER, _CARD_OR_STOP),
    "stop_payment": ReasonRule(_B.ISSUER, _R.NEVER, _ASK_BANK),
    "update_details": ReasonRule(
        _B.CALLER_INPUT,
        _R.AFTER_CORRECTION,
        (_N.KEY_NUMBER_AGAIN, _N.OTHER_CARD, _N.STOP),
        (_F.CARD_NUMBER, _F.EXPIRY, _F.SECURITY_CODE),
    ),
    # what the caller keyed
    "wrong_number": ReasonRule(
        _B.CALLER_INPUT, _R.AFTER_CORRECTION, (_N.KEY_NUMBER_AGAIN, *_CARD_OR_STOP), (_F.CARD_NUMBER,)
    ),
    "expired_or_wrong_expiry": ReasonRule(
        _B.CALLER_INPUT, _R.AFTER_CORRECTION, (_N.KEY_EXPIRY_AGAIN, *_CARD_OR_STOP), (_F.EXPIRY,)
    ),
    "wrong_cvc": ReasonRule(
        _B.CALLER_INPUT, _R.AFTER_CORRECTION, (_N.KEY_CODE_AGAIN, *_CARD_OR_STOP), (_F.SECURITY_CODE,)
    ),
    "avs_mismatch": ReasonRule(
        _B.CALLER_INPUT, _R.AFTER_CORRECTION, (_N.KEY_POSTAL_CODE_AGAIN, *_CARD_OR_STOP), (_F.POSTAL_CODE,)
    ),
    "wrong_details": ReasonRule(
        _B.CALLER_INPUT,
        _R.AFTER_CORRECTION,
        (_N.KEY_EXPIRY_AGAIN, _N.KEY_CODE_AGAIN, *_CARD_OR_STOP),
        (_F.EXPIRY, _F.SECURITY_CODE),
    ),
    # on the way to the bank
    "issuer_unavailable": ReasonRule(_B.NETWORK, _R.LATER, (_N.OTHER_CARD, _N.RETRY, _N.STOP)),
    "processing_error": ReasonRule(_B.NETWORK, _R.LATER, (_N.RETRY, _N.OTHER_CARD, _N.STOP)),
    "gateway_unavailable": ReasonRule(_B.GATEWAY, _R.NOW, _RETRY_FIRST),
    "risk_block": ReasonRule(_B.GATEWAY, _R.NEVER, _CARD_OR_STOP, confidential=True),
    "retry_blocked": ReasonRule(_B.GATEWAY, _R.NEVER, _CARD_OR_STOP, confidential=True),
    "duplicate": ReasonRule(_B.NETWORK, _R.NEVER, _NO_CARD_WORKS),
    "cancelled": ReasonRule(_B.MERCHANT, _R.NOW, _RETRY_FIRST),
    # our own side
    "merchant_config": ReasonRule(_B.MERCHANT, _R.NEVER, _NO_CARD_WORKS),
    "invalid_amount": ReasonRule(_B.MERCHANT, _R.AFTER_CORRECTION, _NO_CARD_WORKS),
    "brand_not_accepted": ReasonRule(_B.MERCHANT, _R.NEVER, _CARD_OR_STOP),
    "merchant_block": ReasonRule(_B.MERCHANT, _R.NEVER, _CARD_OR_STOP, confidential=True),
    # not known
    OUTCOME_UNKNOWN: ReasonRule(_B.GATEWAY, _R.NEVER, _NO_CARD_WORKS),
    UNRECOGNISED: ReasonRule(_B.GATEWAY, _R.NEVER, _ASK_BANK),
}
