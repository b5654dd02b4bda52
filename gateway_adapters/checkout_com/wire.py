"""Checkout.com's wire as pure mapping: requests to JSON, answers to results.

Rules: a payment counts as approved or declined only in a status that says so. Response codes are ISO 8583's with
a prefix (``20051``, ``200N7``, ``30041``) and some of their own. Source: Checkout.com's API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway_adapters.amounts import from_wire, to_wire
from gateway_adapters.http import int_of, text_of
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OnFile,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card
from paycall.domain.decline_codes import CHECKOUT, ISO8583, PAYCALL
from paycall.domain.declines import Decline, decline_for, is_known
from paycall.domain.errors import RefusedRequestError
from paycall.domain.money import CURRENCIES, Money

NAME = "checkout_com"
# checkout.com/docs "Calculating the amount": counted with other decimals than ISO 4217 has.
EXPONENTS = {"CLF": 0, "CLP": 2}
_NETWORK_CODE = re.compile(r"(?:200|300|201)([0-9A-Z]{2})")
_APPROVED = ("Authorized", "Captured", "Partially Captured", "Refunded", "Partially Refunded", "Paid")
_GONE = ("Voided", "Canceled", "Cancelled", "Expired")
# what a 422 can say of what the caller keyed, in our own codes
_KEYED_WRONG = {
    "card_number_invalid": "luhn_failed",
    "card_number_required": "luhn_failed",
    "card_expired": "expiry_in_past",
    "card_expiry_month_invalid": "expiry_in_past",
    "card_expiry_year_invalid": "expiry_in_past",
    "cvv_invalid": "cvc_length",
}


def payment_body(request: AuthorizationRequest, card: Card, channel: str | None) -> dict[str, Any]:
    """The JSON that authorizes: a telephone order, captured by us later."""
    if card.expiry is None:
        raise RefusedRequestError("Checkout.com needs an expiry date")
    source: dict[str, Any] = {
        "type": "card",
        "number": card.pan.expose(),  # the acquirer needs it: that is the charge
        "expiry_month": card.expiry.month,
        "expiry_year": card.expiry.year,
    }
    if card.security_code is not None:
        source["cvv"] = card.security_code.expose()  # sent once, kept by nobody
    if card.postal_code is not None:
        source["billing_address"] = {"zip": card.postal_code}
    body: dict[str, Any] = {
        "source": source,
        "amount": to_wire(request.money, EXPONENTS),
        "currency": request.money.currency,
        "payment_type": "MOTO",
        "capture": False,
        "reference": request.attempt_id,
        "metadata": {"payment_id": request.payment_id, "reference": request.reference},
    }
    if request.on_file is OnFile.LATER:
        source["stored"] = True
        if request.first_reference is not None:
            body["previous_payment_id"] = request.first_reference
    if request.description:
        body["description"] = request.description[:100]
    if channel:
        body["processing_channel_id"] = channel
    return body


def operation_body(key: str, money: Money | None = None) -> dict[str, Any]:
    """The JSON of a void or refund; our key is its reference."""
    body: dict[str, Any] = {"reference": key}
    return body | {"amount": to_wire(money, EXPONENTS)} if money else body


def capture_body(key: str, money: Money) -> dict[str, Any]:
    """The JSON of the one capture of a payment: what it leaves over is released, not held on the card for days."""
    return operation_body(key, money) | {"capture_type": "Final"}


def payment_result(body: Mapping[str, Any]) -> AuthorizationResult:
    """What a payment says about the authorization."""
    reference, status = text_of(body, "id"), text_of(body, "status")
    amount, currency = int_of(body, "amount"), text_of(body, "currency")
    if reference is None or amount is None or currency not in CURRENCIES:
        return AuthorizationResult(Outcome.UNKNOWN, NAME)
    source = body.get("source")
    checks: Mapping[str, Any] = source if isinstance(source, dict) else {}
    if status == "Declined":
        code, advice = text_of(body, "response_code") or "", text_of(body, "partner_merchant_advice_code")
        return AuthorizationResult(
            Outcome.DECLINED,
            NAME,
            reference,
            avs_result=text_of(checks, "avs_check"),
            code_result=text_of(checks, "cvv_check"),
            decline=decline_of(code, advice),
        )
    if status in _GONE:
        return AuthorizationResult(Outcome.REVERSED, NAME, reference)
    if status not in _APPROVED or body.get("approved") is not True:
        return AuthorizationResult(Outcome.UNKNOWN, NAME, reference)
    return AuthorizationResult(
        Outcome.APPROVED,
        NAME,
        reference,
        authorization_code=text_of(body, "auth_code"),
        avs_result=text_of(checks, "avs_check"),
        code_result=text_of(checks, "cvv_check"),
        approved_minor=from_wire(amount, currency, EXPONENTS),
        approved_currency=currency,
    )


def decline_of(code: str, advice: str | None = None) -> Decline:
    """The decline that a response code means."""
    network = _NETWORK_CODE.fullmatch(code)
    if not is_known(CHECKOUT, code) and network:
        return replace(decline_for(ISO8583, network[1], advice), raw_code=code)
    return decline_for(CHECKOUT, code, advice)


def error_result(body: Mapping[str, Any]) -> AuthorizationResult | None:
    """A decline, if the error is about what the caller keyed; None for any other."""
    codes = body.get("error_codes")
    for code in codes if isinstance(codes, list) else []:
        if isinstance(code, str) and code in _KEYED_WRONG:
            decline = replace(decline_for(PAYCALL, _KEYED_WRONG[code]), raw_code=code)
            return AuthorizationResult(Outcome.DECLINED, NAME, decline=decline)
    return None


def action_result(actions: list[Any], action_id: str) -> OperationResult:
    """What the payment's list of actions says of one of them; pending while it is not there."""
    for action in actions:
        if isinstance(action, dict) and action.get("id") == action_id:
            return _action(action)
    return OperationResult(OperationOutcome.PENDING, action_id)


def action_by_reference(actions: list[Any], reference: str) -> OperationResult | None:
    """What the payment's list of actions says of the one that we named so; None while it is not there."""
    for action in actions:
        if isinstance(action, dict) and action.get("reference") == reference:
            return _action(action)
    return None


def _action(action: Mapping[str, Any]) -> OperationResult:
    outcome = OperationOutcome.PENDING
    if isinstance(action.get("approved"), bool):
        outcome = OperationOutcome.DONE if action["approved"] else OperationOutcome.FAILED
    return OperationResult(outcome, text_of(action, "id"), text_of(action, "response_code"))
