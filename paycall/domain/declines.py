"""One vocabulary for declines: the reason, who declined, what may be tried, what to say. (First form.)"""

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
    """Whether the same card may be tried again."""

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
class DeclineText:
    """Two short sentences: what happened (for the operator), what to say (to the caller)."""

    happened: str
    say: str


@dataclass(frozen=True)
class Decline:
    """A decline: our reason, the acquirer's raw code, who, and what may be tried."""

    reason: str
    declined_by: DeclinedBy
    retry: Retry
    raw_code: str | None = None
    correct: tuple[Field, ...] = ()
    next_steps: tuple[NextStep, ...] = (NextStep.OTHER_CARD, NextStep.STOP)

    def text(self, language: str) -> DeclineText:
        """The sentences in ``en``, ``ru``, ``uk`` or ``hu``; English for any other."""
        raise LookupError(language)
