"""Adyen's wire as pure mapping: requests to JSON, answers to results.

Rules: only ``Authorised`` is an approval and only ``Refused``, ``Error`` and ``Cancelled`` are declines; a payment
that waits for anything is unknown. Modifications are only ever *received*; what became of them comes by webhook.
Source: Adyen Checkout API v71.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_adapters.amounts import from_wire, to_wire
from gateway_adapters.http import text_of
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OnFile,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card
from paycall.domain.decline_codes import ADYEN_ERROR, ADYEN_REFUSAL, ISO8583
from paycall.domain.declines import CodeKind, Decline, decline_for, is_known, kind_of
from paycall.domain.errors import RefusedRequestError
from paycall.domain.fields import Field
from paycall.domain.money import Money

NAME = "adyen"
# docs.adyen.com/development-resources/currency-codes: counted with other decimals than ISO 4217 has.
EXPONENTS = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
IN_PROGRESS = "704"
_UNSPECIFIC = ("0", "2", "27")


def payment_body(
    request: AuthorizationRequest, card: Card, merchant_account: str, return_url: str
) -> dict[str, Any]:
    """The JSON that authorizes: a telephone order, settled by us later."""
    if card.expiry is None:
        raise RefusedRequestError("Adyen needs an expiry date")
    method = {
        "type": "scheme",
        "number": card.pan.expose(),  # the acquirer needs it: that is the charge
        "expiryMonth": f"{card.expiry.month:02d}",
        "expiryYear": str(card.expiry.year),
    }
    if card.security_code is not None:
        method["cvc"] = card.security_code.expose()  # sent once, kept by nobody
    body: dict[str, Any] = {
        "merchantAccount": merchant_account,
        "reference": request.attempt_id,
        "amount": amount(request.money),
        "returnUrl": return_url,
        "shopperInteraction": "Moto",
        "paymentMethod": method,
        "additionalData": {"manualCapture": "true"},
        "metadata": {"payment_id": request.payment_id},
    }
    if request.on_file is not None:
        body["recurringProcessingModel"] = "CardOnFile"
    if request.on_file is OnFile.LATER:
        body["shopperInteraction"] = "ContAuth"  # a returning customer whose card is on file; no code
    if request.reference:
        body["merchantOrderReference"] = request.reference[:1000]
    return body


def amount(money: Money) -> dict[str, Any]:
    """An amount of Adyen's."""
    return {"currency": money.currency, "value": to_wire(money, EXPONENTS)}


def modification_body(merchant_account: str, key: str, money: Money | None = None) -> dict[str, Any]:
    """The JSON of a capture, cancel or refund; our key is its reference."""
    body: dict[str, Any] = {"merchantAccount": merchant_account, "reference": key}
    return body | {"amount": amount(money)} if money else body


def cancel_body(merchant_account: str, key: str, attempt_id: str) -> dict[str, Any]:
    """The JSON that cancels a payment by our own reference."""
    return modification_body(merchant_account, key) | {"paymentReference": attempt_id}


def payment_result(body: Mapping[str, Any], asked: Money) -> AuthorizationResult:
    """What the answer to ``/payments`` says. ``Authorised`` is the whole amount: Adyen need not repeat it."""
    reference, code = text_of(body, "pspReference"), text_of(body, "resultCode")
    more = body.get("additionalData")
    extra: Mapping[str, Any] = more if isinstance(more, dict) else {}
    if reference is None:
        return AuthorizationResult(Outcome.UNKNOWN, NAME)
    if code in ("Refused", "Error", "Cancelled"):
        refusal = text_of(body, "refusalReasonCode") or ""
        decline = decline_of(
            refusal, text_of(extra, "refusalReasonRaw"), text_of(extra, "merchantAdviceCode")
        )
        return AuthorizationResult(
            Outcome.DECLINED,
            NAME,
            reference,
            avs_result=text_of(extra, "avsResult"),
            code_result=text_of(extra, "cvcResult"),
            decline=decline,
        )
    approved_minor = {"Authorised": asked.amount_minor, "PartiallyAuthorised": _part(extra, asked)}.get(
        code or ""
    )
    if not approved_minor:
        return AuthorizationResult(Outcome.UNKNOWN, NAME, reference)
    return AuthorizationResult(
        Outcome.APPROVED,
        NAME,
        reference,
        authorization_code=text_of(extra, "authCode"),
        avs_result=text_of(extra, "avsResult"),
        code_result=text_of(extra, "cvcResult"),
        approved_minor=approved_minor,
    )


def decline_of(refusal: str, raw: str | None, advice: str | None) -> Decline:
    """The decline: Adyen's own code, or the network's (``05 : Do not honor``) where Adyen's says nothing."""
    if raw and refusal in _UNSPECIFIC and kind_of(ISO8583, raw) is CodeKind.DECLINED:
        return decline_for(ISO8583, raw, advice)
    return decline_for(ADYEN_REFUSAL, refusal, advice)


def error_result(body: Mapping[str, Any]) -> AuthorizationResult | None:
    """A decline, if the error is about what the caller keyed; None for any other."""
    code = text_of(body, "errorCode") or ""
    if not is_known(ADYEN_ERROR, code):
        return None
    decline = decline_for(ADYEN_ERROR, code)
    if not set(decline.correct) & {Field.CARD_NUMBER, Field.SECURITY_CODE, Field.POSTAL_CODE}:
        return None
    return AuthorizationResult(Outcome.DECLINED, NAME, text_of(body, "pspReference"), decline=decline)


def modification_result(body: Mapping[str, Any]) -> OperationResult:
    """What the answer to a modification says: at best that it was received."""
    status = text_of(body, "status")
    outcome = OperationOutcome.PENDING if status == "received" else OperationOutcome.UNKNOWN
    return OperationResult(outcome, text_of(body, "pspReference"), status)


def _part(extra: Mapping[str, Any], asked: Money) -> int | None:
    """The part that was approved, in our minor units; None if the answer does not say it."""
    value = text_of(extra, "authorisedAmountValue") or ""
    if text_of(extra, "authorisedAmountCurrency") != asked.currency or not (
        value.isascii() and value.isdigit()
    ):
        return None
    return from_wire(int(value), asked.currency, EXPONENTS)
