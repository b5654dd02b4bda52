"""Adyen's Checkout wire (v71), as far as paycall and Adyen's own library use it, with its webhooks.

Base address ``/adyen/v71``, ``X-API-Key`` as the simulator's. As at Adyen, captures, cancels and refunds are only
*received*; whether they worked is said by a signed webhook in the outbox.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from gateway_adapters.adyen.webhook import signature
from gateway_adapters.sandbox.ledger import Authorization, KeyReusedError, Movement, new_reference
from gateway_adapters.sandbox.simulation import Order, Refused, Simulator, simulator_of
from paycall.domain.card import luhn_valid
from paycall.domain.errors import InputError
from paycall.domain.money import Money
from paycall.domain.secret import Secret

WIRE = "adyen"
MERCHANT_ACCOUNT = "PaycallMOTO"

_RULE_NAMES = {"CAPTURE": "settle", "CANCELLATION": "void", "REFUND": "refund", "cancels": "reverse"}

# ISO 8583 code -> Adyen's refusal reason code and text
REFUSALS: dict[str, tuple[str, str]] = {
    "01": ("3", "Referral"),
    "05": ("2", "Refused"),
    "12": ("23", "Transaction Not Permitted"),
    "13": ("7", "Invalid Amount"),
    "14": ("8", "Invalid Card Number"),
    "41": ("5", "Blocked Card"),
    "43": ("5", "Blocked Card"),
    "51": ("12", "Not enough balance"),
    "54": ("6", "Expired Card"),
    "57": ("23", "Transaction Not Permitted"),
    "59": ("31", "Issuer Suspected Fraud"),
    "61": ("28", "Withdrawal amount exceeded"),
    "62": ("25", "Restricted Card"),
    "65": ("29", "Withdrawal count exceeded"),
    "91": ("9", "Issuer Unavailable"),
    "96": ("4", "Acquirer Error"),
    "1A": ("38", "Authentication required"),
    "N7": ("24", "CVC Declined"),
    "R0": ("26", "Revocation Of Auth"),
}


def webhook_hmac_key(api_key: str) -> str:
    """What the simulator signs its Adyen webhooks with, in hexadecimal."""
    return hashlib.sha256(b"adyen webhook:" + api_key.encode()).hexdigest()


async def _body(request: Request) -> dict[str, Any]:
    given = request.headers.get("X-API-Key", "")
    if not hmac.compare_digest(given.encode(), simulator_of(request).api_key.encode()):
        raise Refused(_error(401, "000", "security"))
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refused(_error(400, "702", "validation")) from None
    if not isinstance(body, dict) or not body.get("merchantAccount"):
        raise Refused(_error(403, "901", "security"))
    return body


router = APIRouter(prefix="/adyen/v71")
Sim = Annotated[Simulator, Depends(simulator_of)]
Body = Annotated[dict[str, Any], Depends(_body)]


@router.post("/payments")
async def pay(request: Request, body: Body, simulator: Sim) -> Response:
    """Authorize."""
    method = body.get("paymentMethod")
    number = str(method.get("number", "")) if isinstance(method, dict) else ""
    if not isinstance(method, dict) or not luhn_valid(number):
        return _error(422, "101", "validation")
    if not body.get("returnUrl") or not body.get("reference"):
        return _error(422, "130", "validation")
    money = _money(body)
    metadata = body.get("metadata")
    order = Order(
        key=request.headers.get("Idempotency-Key") or secrets.token_hex(16),
        reference=str(body["reference"]),
        payment=str(metadata.get("payment_id", "")) if isinstance(metadata, dict) else "",
        wire=WIRE,
        amount_minor=money.amount_minor,
        currency=money.currency,
        card_number=number,
        expiry=f"{method.get('expiryMonth')}/{method.get('expiryYear')}",
        partial=True,
    )
    interaction = body.get("shopperInteraction")
    on_file = interaction == "ContAuth" and body.get("recurringProcessingModel") == "CardOnFile"

    def render(row: Authorization) -> tuple[int, dict[str, Any]]:
        _announce(simulator, row, "AUTHORISATION", row.id, row.reference, row.state == "approved")
        return 200, _payment_json(row)

    return (
        await simulator.authorize(request, order, render, _fault)
        if on_file or interaction == "Moto"
        else _challenge(order)
    )


@router.post("/payments/{psp}/captures")
async def capture(psp: str, request: Request, body: Body, simulator: Sim) -> Response:
    """Receive a capture."""
    amount_minor = _money(body).amount_minor
    return await _modify(
        simulator, request, body, psp, "CAPTURE", lambda: simulator.ledger.settle(psp, amount_minor)
    )


@router.post("/payments/{psp}/cancels")
async def cancel(psp: str, request: Request, body: Body, simulator: Sim) -> Response:
    """Receive a cancellation."""
    return await _modify(simulator, request, body, psp, "CANCELLATION", lambda: simulator.ledger.void(psp))


@router.post("/payments/{psp}/refunds")
async def refund(psp: str, request: Request, body: Body, simulator: Sim) -> Response:
    """Receive a refund."""
    amount_minor = _money(body).amount_minor
    return await _modify(
        simulator, request, body, psp, "REFUND", lambda: simulator.ledger.refund(psp, amount_minor)
    )


@router.post("/cancels")
async def cancel_by_reference(request: Request, body: Body, simulator: Sim) -> Response:
    """Receive a cancellation by the merchant's reference, of a payment that may never have come."""
    reference = str(body.get("paymentReference", ""))
    if not reference:
        return _error(422, "167", "validation")
    psp = new_reference(WIRE, "movement")

    def act(_pending_s: float) -> tuple[int, dict[str, Any]]:
        movement = simulator.ledger.reverse(reference, holds_back=False)
        original = simulator.ledger.get(movement.authorization_id or "")
        _announce(simulator, original, "TECHNICAL_CANCEL", psp, reference, original is not None)
        return 201, _received(body, psp) | {"paymentReference": reference}

    return await _once(simulator, request, ("cancels", reference), act)


async def _modify(
    simulator: Simulator,
    request: Request,
    body: dict[str, Any],
    original_psp: str,
    event: str,
    move: Callable[[], Movement | None],
) -> Response:
    psp = new_reference(WIRE, "movement")
    original = simulator.ledger.get(original_psp)
    if original is None:
        return _error(422, "167", "validation")

    def act(_pending_s: float) -> tuple[int, dict[str, Any]]:
        movement = move()
        done = movement is not None and movement.done
        _announce(simulator, original, event, psp, str(body.get("reference", "")), done)
        return 201, _received(body, psp) | {"paymentPspReference": original_psp}

    amount = body.get("amount")
    value = str(amount.get("value")) if isinstance(amount, dict) else ""
    return await _once(simulator, request, (event, original_psp, value), act)


async def _once(
    simulator: Simulator,
    request: Request,
    what: tuple[str | int, ...],
    act: Callable[[float], tuple[int, dict[str, Any]]],
) -> Response:
    key = request.headers.get("Idempotency-Key") or secrets.token_hex(16)
    try:
        done = await simulator.operate(request, _RULE_NAMES.get(str(what[0]), ""), key, (WIRE, *what), act)
    except KeyReusedError:
        return _fault(409, "idempotency-key-reused")
    return JSONResponse(done[1], done[0]) if done else _error(500, "905", "internal")


def _payment_json(row: Authorization) -> dict[str, Any]:
    extra: dict[str, str] = {"cvcResult": "1 Matches", "avsResult": "4 AVS not supported for this card type"}
    body: dict[str, Any] = {
        "pspReference": row.id,
        "merchantReference": row.reference,
        "amount": {"currency": row.currency, "value": row.amount_minor},
        "additionalData": extra,
    }
    if row.advice_code:
        extra["merchantAdviceCode"] = row.advice_code
    if row.approved_minor:
        extra["authCode"] = row.authorization_code or ""
        whole = row.approved_minor == row.amount_minor
        if not whole:
            extra["authorisedAmountValue"] = str(row.approved_minor)
            extra["authorisedAmountCurrency"] = row.currency
        return body | {"resultCode": "Authorised" if whole else "PartiallyAuthorised"}
    code, reason = REFUSALS.get(row.response_code, ("2", "Refused"))
    extra["refusalReasonRaw"] = f"{row.response_code} : {reason}"
    result = "Error" if code == "4" else "Refused"
    return body | {"resultCode": result, "refusalReasonCode": code, "refusalReason": reason}


def _challenge(order: Order) -> Response:
    """What an ordinary payment would need: the shopper, at a screen."""
    return JSONResponse(
        {
            "pspReference": new_reference(WIRE, "authorization"),
            "resultCode": "RedirectShopper",
            "merchantReference": order.reference,
        }
    )


def _received(body: dict[str, Any], psp: str) -> dict[str, Any]:
    kept = {name: body[name] for name in ("merchantAccount", "reference", "amount") if name in body}
    return kept | {"pspReference": psp, "status": "received"}


def _announce(
    simulator: Simulator,
    original: Authorization | None,
    event: str,
    psp: str,
    reference: str,
    success: bool,
) -> None:
    extra: dict[str, str] = {}
    item: dict[str, Any] = {
        "eventCode": event,
        "success": "true" if success else "false",
        "eventDate": datetime.now(UTC).isoformat(timespec="seconds"),
        "merchantAccountCode": MERCHANT_ACCOUNT,
        "merchantReference": reference,
        "pspReference": psp,
        "amount": {"currency": "EUR", "value": 0},
        "reason": "",
        "additionalData": extra,
    }
    if original is not None:
        item["amount"] = {"currency": original.currency, "value": original.amount_minor}
        if event == "AUTHORISATION":
            if original.authorization_code:
                extra["authCode"] = original.authorization_code
            else:
                extra["refusalReasonRaw"] = f"{original.response_code} : refused"
        else:
            item["originalReference"] = original.id
    extra["hmacSignature"] = signature(Secret(webhook_hmac_key(simulator.api_key)), item)
    body = {"live": "false", "notificationItems": [{"NotificationRequestItem": item}]}
    simulator.send_webhook(WIRE, {"Content-Type": "application/json"}, json.dumps(body))


def _money(body: dict[str, Any]) -> Money:
    amount = body.get("amount")
    try:
        if not isinstance(amount, dict):
            raise InputError
        return Money(amount.get("value", 0), str(amount.get("currency", "")))
    except InputError:
        raise Refused(_error(422, "100", "validation")) from None


def _error(status: int, code: str, kind: str) -> Response:
    body = {"status": status, "errorCode": code, "errorType": kind, "message": "The simulator refused this."}
    return JSONResponse(body, status)


def _fault(status: int, code: str) -> Response:
    if code.startswith("idempotency-key"):
        return _error(422, "704", "validation")
    if status == 429:
        return _error(429, "029", "validation")
    return _error(500, "905", "internal")
