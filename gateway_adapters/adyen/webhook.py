"""Adyen's webhooks: each item's own signature, then what it says.

The signature covers the references, the amount, the event and its success; the rest of an item is used only to
name a decline more exactly. Source: docs.adyen.com/development-resources/webhooks/verify-hmac-signatures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from gateway_adapters.adyen import wire
from gateway_adapters.amounts import from_wire
from gateway_adapters.http import int_of, text_of
from gateway_adapters.webhooks import WebhookEvent, WebhookKind
from paycall.domain.authorization import AuthorizationResult, OperationOutcome, Outcome
from paycall.domain.declines import Decline
from paycall.domain.errors import InputError, NotAllowedError, SettingsError
from paycall.domain.money import CURRENCIES
from paycall.domain.secret import Secret

_SIGNED = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
# event -> (kind, what its success means); a later ..._FAILED takes back what an earlier success said
_OPERATIONS = {
    "CAPTURE": (WebhookKind.SETTLEMENT, OperationOutcome.DONE),
    "CAPTURE_FAILED": (WebhookKind.SETTLEMENT, OperationOutcome.FAILED),
    "CANCELLATION": (WebhookKind.VOID, OperationOutcome.DONE),
    "TECHNICAL_CANCEL": (WebhookKind.REVERSAL, OperationOutcome.DONE),
    "CANCEL_OR_REFUND": (WebhookKind.REVERSAL, OperationOutcome.DONE),
    "REFUND": (WebhookKind.REFUND, OperationOutcome.DONE),
    "REFUND_FAILED": (WebhookKind.REFUND, OperationOutcome.FAILED),
    "REFUNDED_REVERSED": (WebhookKind.REFUND, OperationOutcome.FAILED),
}


def hmac_key(key: Secret, setting: str) -> Secret:
    """Check that the key is the hexadecimal that Adyen's customer area shows.

    Raises
    ------
    SettingsError
        If it is not.
    """
    try:
        binascii.unhexlify(key.expose())
    except (binascii.Error, ValueError):
        raise SettingsError(f"setting {setting}: must be hexadecimal") from None
    return key


def events_of(key: Secret, body: bytes) -> list[WebhookEvent]:
    """The events of a webhook; every item's signature has to be right.

    Raises
    ------
    NotAllowedError
        If a signature is missing or wrong: then none of the items counts.
    InputError
        If the body is not Adyen's.
    """
    try:
        items = [entry["NotificationRequestItem"] for entry in json.loads(body)["notificationItems"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError("the webhook is not Adyen's") from None
    for item in items:
        if not isinstance(item, dict) or not _signed(key, item):
            raise NotAllowedError("the webhook's signature is wrong")
    return [_event(item) for item in items]


def signature(key: Secret, item: Mapping[str, Any]) -> str:
    """The signature that an item must have."""
    amount = item.get("amount")
    money: Mapping[str, Any] = amount if isinstance(amount, dict) else {}
    parts = [str(item.get(name, "")) for name in _SIGNED]
    parts += [str(money.get("value", "")), str(money.get("currency", ""))]
    parts += [str(item.get("eventCode", "")), str(item.get("success", ""))]
    digest = hmac.new(
        binascii.unhexlify(key.expose()), ":".join(parts).encode("utf-8", "replace"), hashlib.sha256
    ).digest()
    return base64.b64encode(digest).decode()


def _signed(key: Secret, item: Mapping[str, Any]) -> bool:
    extra = item.get("additionalData")
    given = extra.get("hmacSignature") if isinstance(extra, dict) else None
    return isinstance(given, str) and hmac.compare_digest(
        given.encode("utf-8", "replace"), signature(key, item).encode()
    )


def _event(item: Mapping[str, Any]) -> WebhookEvent:
    name, success = text_of(item, "eventCode") or "", str(item.get("success")).lower() == "true"
    reference = text_of(item, "pspReference")
    event_id = f"{reference}:{name}:{str(success).lower()}"
    if name == "AUTHORISATION":
        return WebhookEvent(
            event_id,
            WebhookKind.AUTHORIZATION,
            our_reference=text_of(item, "merchantReference"),
            acquirer_reference=reference,
            original_reference=reference,
            result=_authorization(item, reference, success),
        )
    if name not in _OPERATIONS:
        return WebhookEvent(event_id, WebhookKind.OTHER)
    kind, outcome = _OPERATIONS[name]
    return WebhookEvent(
        event_id,
        kind,
        our_reference=text_of(item, "merchantReference"),
        acquirer_reference=reference,
        original_reference=text_of(item, "originalReference"),
        outcome=outcome if success else OperationOutcome.FAILED,
        raw_code=name,
    )


def _authorization(item: Mapping[str, Any], reference: str | None, success: bool) -> AuthorizationResult:
    money = item["amount"] if isinstance(item.get("amount"), dict) else {}
    value, currency = int_of(money, "value"), text_of(money, "currency")
    extra = item.get("additionalData")
    more: Mapping[str, Any] = extra if isinstance(extra, dict) else {}
    if not success:
        return AuthorizationResult(Outcome.DECLINED, wire.NAME, reference, decline=_decline(more))
    if value is None or currency not in CURRENCIES:
        return AuthorizationResult(Outcome.UNKNOWN, wire.NAME, reference)
    return AuthorizationResult(
        Outcome.APPROVED,
        wire.NAME,
        reference,
        authorization_code=text_of(more, "authCode"),
        approved_minor=from_wire(value, currency, wire.EXPONENTS),
        approved_currency=currency,
    )


def _decline(more: Mapping[str, Any]) -> Decline:
    raw, advice = text_of(more, "refusalReasonRaw"), text_of(more, "merchantAdviceCode")
    return wire.decline_of("2", raw, advice)
