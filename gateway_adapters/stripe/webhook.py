"""Stripe's webhooks: the signature over time and body, then the events we know.

Source: docs.stripe.com/webhooks/signature - HMAC-SHA256 of ``timestamp.body`` under the endpoint's secret, five
minutes of tolerance against replays.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from gateway_adapters.http import text_of
from gateway_adapters.stripe import wire
from gateway_adapters.webhooks import WebhookEvent, WebhookKind, header
from paycall.domain.authorization import OperationOutcome
from paycall.domain.errors import InputError, NotAllowedError
from paycall.domain.secret import Secret

TOLERANCE_S = 300

_INTENT_EVENTS = {
    "payment_intent.amount_capturable_updated": (WebhookKind.AUTHORIZATION, None),
    "payment_intent.payment_failed": (WebhookKind.AUTHORIZATION, None),
    "payment_intent.succeeded": (WebhookKind.SETTLEMENT, OperationOutcome.DONE),
    "payment_intent.canceled": (WebhookKind.VOID, OperationOutcome.DONE),
}
_REFUND_EVENTS = ("refund.created", "refund.updated", "refund.failed")


def events_of(secret: Secret, headers: Mapping[str, str], body: bytes, now: float) -> list[WebhookEvent]:
    """The event of a webhook whose signature is right.

    Raises
    ------
    NotAllowedError
        If the signature is missing, wrong or older than five minutes.
    InputError
        If the body is not a Stripe event.
    """
    _check_signature(secret, header(headers, "stripe-signature"), body, now)
    try:
        event = json.loads(body)
        data = event["data"]["object"]
        event_id, kind = str(event["id"]), str(event["type"])
    except (ValueError, KeyError, TypeError):
        raise InputError("the webhook is not a Stripe event") from None
    if not isinstance(data, dict):
        raise InputError("the webhook is not a Stripe event")
    if kind in _INTENT_EVENTS:
        return [_intent_event(event_id, kind, data)]
    if kind in _REFUND_EVENTS:
        refund = wire.operation_of_refund(data)
        return [
            WebhookEvent(
                event_id,
                WebhookKind.REFUND,
                acquirer_reference=refund.acquirer_reference,
                original_reference=text_of(data, "payment_intent"),
                outcome=refund.outcome,
                raw_code=refund.raw_code,
            )
        ]
    return [WebhookEvent(event_id, WebhookKind.OTHER)]


def _intent_event(event_id: str, name: str, intent: dict[str, Any]) -> WebhookEvent:
    kind, outcome = _INTENT_EVENTS[name]
    metadata = intent.get("metadata")
    reference = text_of(intent, "id")
    return WebhookEvent(
        event_id,
        kind,
        our_reference=text_of(metadata, wire.ATTEMPT_ID) if isinstance(metadata, dict) else None,
        acquirer_reference=reference,
        original_reference=reference,
        outcome=outcome,
        result=wire.intent_result(intent) if kind is WebhookKind.AUTHORIZATION else None,
        raw_code=text_of(intent, "status"),
    )


def _check_signature(secret: Secret, signature: str, body: bytes, now: float) -> None:
    """Any of the ``v1`` signatures may be right: while a secret is rolled, Stripe signs with both."""
    parts = [part.strip().partition("=") for part in signature.split(",")]
    times = [value for name, _, value in parts if name == "t" and value.isascii() and value.isdigit()]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1:
        raise NotAllowedError("the webhook is not signed")
    expected = hmac.new(secret.expose().encode(), f"{times[0]}.".encode() + body, hashlib.sha256).hexdigest()
    if not any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures):
        raise NotAllowedError("the webhook's signature is wrong")
    if abs(now - int(times[0])) > TOLERANCE_S:
        raise NotAllowedError("the webhook is too old")
