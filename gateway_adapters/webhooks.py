"""What an acquirer tells us later, after its signature was checked.

Rules: the signature comes first, over the bytes as they came; nothing of an unsigned body is looked at. Events
come more than once and in any order: ``event_id`` is the same each time. Only what we know becomes an outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from paycall.domain.authorization import AuthorizationResult, OperationOutcome


class WebhookKind(StrEnum):
    """What an event is about."""

    AUTHORIZATION = "authorization"
    SETTLEMENT = "settlement"
    VOID = "void"
    REFUND = "refund"
    REVERSAL = "reversal"
    OTHER = "other"


@dataclass(frozen=True)
class WebhookEvent:
    """One event of a verified webhook.

    Attributes
    ----------
    event_id
        The same for every delivery of this event: what to deduplicate by.
    our_reference
        The attempt id or operation key that we sent, where the acquirer gives it back.
    acquirer_reference
        The acquirer's name of the authorization (or, for operations, of the operation where it has one).
    original_reference
        The acquirer's name of the authorization that an operation belongs to.
    outcome
        What became of an operation; None for authorizations and for what we do not know.
    result
        What became of an authorization, where the event tells; None for operations.
    """

    event_id: str
    kind: WebhookKind
    our_reference: str | None = None
    acquirer_reference: str | None = None
    original_reference: str | None = None
    outcome: OperationOutcome | None = None
    result: AuthorizationResult | None = None
    raw_code: str | None = None


@runtime_checkable
class WebhookReceiver(Protocol):
    """An adapter whose acquirer sends webhooks."""

    def verify_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> list[WebhookEvent]:
        """The events of a webhook.

        Parameters
        ----------
        headers
            As they came; names in any case.
        body
            The bytes as they came.
        now
            The time, in seconds since 1970.

        Raises
        ------
        NotAllowedError
            If the signature is missing, wrong or too old.
        InputError
            If the signature is right and the body is not what we know.
        """


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, its name in any case; empty if it is not there."""
    for key, value in headers.items():
        if key.lower() == name:
            return value
    return ""
