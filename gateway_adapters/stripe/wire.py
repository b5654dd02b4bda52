"""Stripe's wire as pure mapping: requests to form fields, answers to results.

Rules: Stripe takes no raw card inside a payment intent, so a card becomes a payment method first, and the intent
carries no card. An intent counts as approved only in a status that says so. Source: Stripe's API, version
2026-10-28.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from paycall.domain.decline_codes import ISO8583, STRIPE_DECLINE, STRIPE_ERROR
from paycall.domain.declines import CodeKind, Decline, decline_for, is_known, kind_of
from paycall.domain.errors import RefusedRequestError
from paycall.domain.money import CURRENCIES, Money

NAME = "stripe"
VERSION = "2026-10-28.endive"
# docs.stripe.com/currencies: counted with other decimals than ISO 4217 has.
EXPONENTS = {"ISK": 2, "UGX": 2, "MGA": 0}
ATTEMPT_ID = "attempt_id"
TOMBSTONE = "paycall_tombstone"
OPERATION_ID = "operation_id"
_ADVICE = {"do_not_try_again": "03", "try_again_later": "02"}
_GENERIC = ("generic_decline", "do_not_honor", "card_declined")
# Errors that say: this cannot be done to this payment. Others say that the request itself was wrong.
_CANNOT = frozenset(
    """payment_intent_unexpected_state charge_already_refunded charge_disputed charge_expired_for_capture
    charge_already_captured amount_too_large amount_too_small resource_missing refund_disputed_payment
    charge_exceeds_source_limit capture_charge_authorization_expired""".split()
)


def payment_method_form(card: Card) -> dict[str, str]:
    """The form that turns a card into a payment method."""
    if card.expiry is None:
        raise RefusedRequestError("Stripe needs an expiry date")
    form = {
        "type": "card",
        "card[number]": card.pan.expose(),  # the acquirer needs it: that is the charge
        "card[exp_month]": str(card.expiry.month),
        "card[exp_year]": str(card.expiry.year),
    }
    if card.security_code is not None:
        form["card[cvc]"] = card.security_code.expose()  # sent once, kept by nobody
    if card.postal_code is not None:
        form["billing_details[address][postal_code]"] = card.postal_code
    return form


def intent_form(request: AuthorizationRequest, payment_method: str) -> dict[str, str]:
    """The form that authorizes: confirmed at once, captured later, a telephone order."""
    form = {
        "amount": str(to_wire(request.money, EXPONENTS)),
        "currency": request.money.currency.lower(),
        "payment_method": payment_method,
        "allowed_payment_method_types[0]": "card",
        "confirm": "true",
        "capture_method": "manual",
        "error_on_requires_action": "true",  # nobody is at a screen: rather a decline than a challenge
        "payment_method_options[card][moto]": "true",
        f"metadata[{ATTEMPT_ID}]": request.attempt_id,
        "metadata[payment_id]": request.payment_id,
        "expand[0]": "latest_charge",
    }
    if request.on_file is OnFile.FIRST:
        form["payment_method_options[card][setup_future_usage]"] = "off_session"
    elif request.on_file is OnFile.LATER:
        form["off_session"] = "true"
    if request.reference:
        form["metadata[reference]"] = request.reference[:500]
    if request.description:
        form["description"] = request.description[:1000]
    return form


def tombstone_form(attempt_id: str, money: Money) -> dict[str, str]:
    """An intent that charges nothing and takes an attempt's idempotency key, so that nothing else can."""
    return {
        "amount": str(to_wire(money, EXPONENTS)),
        "currency": money.currency.lower(),
        "allowed_payment_method_types[0]": "card",
        "capture_method": "manual",
        f"metadata[{ATTEMPT_ID}]": attempt_id,
        f"metadata[{TOMBSTONE}]": "true",
    }


def amount_form(name: str, money: Money) -> dict[str, str]:
    """The amount of a capture or refund."""
    return {name: str(to_wire(money, EXPONENTS))}


def intent_result(intent: Mapping[str, Any]) -> AuthorizationResult:
    """What an intent says about the authorization."""
    reference, status = text_of(intent, "id"), text_of(intent, "status")
    currency = (text_of(intent, "currency") or "").upper()
    amount = int_of(intent, "amount")
    if reference is None or amount is None or currency not in CURRENCIES:
        return AuthorizationResult(Outcome.UNKNOWN, NAME)
    if status in ("requires_capture", "succeeded"):
        charge = _object(intent, "latest_charge")
        card = _object(_object(charge, "payment_method_details"), "card")
        checks = _object(card, "checks")
        held = int_of(intent, "amount_capturable" if status == "requires_capture" else "amount_received")
        return AuthorizationResult(
            outcome=Outcome.APPROVED,
            acquirer=NAME,
            acquirer_reference=reference,
            authorization_code=text_of(card, "authorization_code"),
            avs_result=text_of(checks, "address_postal_code_check"),
            code_result=text_of(checks, "cvc_check"),
            approved_minor=from_wire(amount if held is None else held, currency, EXPONENTS),
            approved_currency=currency,
        )
    if status == "canceled":
        return AuthorizationResult(Outcome.REVERSED, NAME, reference)
    error = _object(intent, "last_payment_error")
    if status == "requires_payment_method" and error:
        return AuthorizationResult(Outcome.DECLINED, NAME, reference, decline=decline_of(error))
    return AuthorizationResult(Outcome.UNKNOWN, NAME, reference)


def error_result(body: Mapping[str, Any]) -> AuthorizationResult | None:
    """What an error says about the authorization; None unless it is a decline."""
    error = _object(body, "error")
    code = text_of(error, "code") or ""
    declined = text_of(error, "type") == "card_error" or (
        is_known(STRIPE_ERROR, code) and kind_of(STRIPE_ERROR, code) is CodeKind.DECLINED
    )
    if not declined:
        return None
    intent = _object(error, "payment_intent")
    return AuthorizationResult(Outcome.DECLINED, NAME, text_of(intent, "id"), decline=decline_of(error))


def decline_of(error: Mapping[str, Any]) -> Decline:
    """The decline in an error. Stripe's own code first; the network's only where Stripe's says nothing."""
    advice = text_of(error, "network_advice_code") or _ADVICE.get(text_of(error, "advice_code") or "")
    code = text_of(error, "decline_code") or text_of(error, "code") or ""
    network_code = text_of(error, "network_decline_code") or ""
    if code in _GENERIC and kind_of(ISO8583, network_code) is CodeKind.DECLINED:
        return decline_for(ISO8583, network_code, advice)
    if not is_known(STRIPE_DECLINE, code) and is_known(STRIPE_ERROR, code):
        return decline_for(STRIPE_ERROR, code, advice)
    return decline_for(STRIPE_DECLINE, code, advice)


def is_idempotency_error(body: Mapping[str, Any]) -> bool:
    """Whether the key was used before, for another request."""
    return text_of(_object(body, "error"), "type") == "idempotency_error"


def operation_of_intent(intent: Mapping[str, Any], done: str) -> OperationResult:
    """What an intent says of an operation that should leave it in the status ``done``."""
    status = text_of(intent, "status")
    outcome = OperationOutcome.DONE if status == done else OperationOutcome.UNKNOWN
    return OperationResult(outcome, text_of(intent, "id"), status)


def capture_seen(intent: Mapping[str, Any], money: Money) -> OperationResult | None:
    """What an intent says of our capture; None if nothing was captured and still can be."""
    status, received = text_of(intent, "status"), int_of(intent, "amount_received")
    if status == "succeeded" and received == to_wire(money, EXPONENTS):
        return OperationResult(OperationOutcome.DONE, text_of(intent, "id"), status)
    if status == "canceled":
        return OperationResult(OperationOutcome.FAILED, text_of(intent, "id"), status)
    return None if status == "requires_capture" else OperationResult(OperationOutcome.UNKNOWN, None, status)


def cancellation_seen(intent: Mapping[str, Any]) -> OperationResult | None:
    """What an intent says of our cancellation; None if it was not cancelled and still can be."""
    status = text_of(intent, "status")
    if status == "canceled":
        return OperationResult(OperationOutcome.DONE, text_of(intent, "id"), status)
    if status == "succeeded":
        return OperationResult(OperationOutcome.FAILED, text_of(intent, "id"), status)
    return None if status == "requires_capture" else OperationResult(OperationOutcome.UNKNOWN, None, status)


def operation_of_refund(refund: Mapping[str, Any]) -> OperationResult:
    """What a refund object says."""
    status = text_of(refund, "status")
    outcome = {
        "succeeded": OperationOutcome.DONE,
        "pending": OperationOutcome.PENDING,
        "requires_action": OperationOutcome.PENDING,
        "failed": OperationOutcome.FAILED,
        "canceled": OperationOutcome.FAILED,
    }.get(status or "", OperationOutcome.UNKNOWN)
    return OperationResult(outcome, text_of(refund, "id"), text_of(refund, "failure_reason") or status)


def failed_operation(body: Mapping[str, Any]) -> OperationResult | None:
    """A failed operation, if the error says that it cannot be done; None for any other error."""
    error = _object(body, "error")
    code = text_of(error, "code")
    if code in _CANNOT or text_of(error, "param") in ("amount", "amount_to_capture"):
        return OperationResult(OperationOutcome.FAILED, raw_code=code or "amount")
    return None


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
