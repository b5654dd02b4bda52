"""Checkout.com's wire, as far as paycall uses it. Base address ``/checkout``, ``Bearer`` as the simulator's key.

As at Checkout.com, captures, voids and refunds are *accepted* and read back from the payment's actions, and only
successful answers are kept under their idempotency key.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from gateway_adapters.sandbox.ledger import Authorization, KeyReusedError, Movement
from gateway_adapters.sandbox.simulation import Order, Refused, Simulator, simulator_of
from paycall.domain.card import luhn_valid
from paycall.domain.errors import InputError
from paycall.domain.money import Money

WIRE = "checkout_com"
_RULE_NAMES = {"capture": "settle", "void": "void", "refund": "refund"}
_HARD = ("04", "07", "41", "43")


async def _body(request: Request) -> dict[str, Any]:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), simulator_of(request).api_key.encode()):
        raise Refused(Response(status_code=401))
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        raise Refused(_invalid("request_body_malformed")) from None
    return body if isinstance(body, dict) else {}


router = APIRouter(prefix="/checkout/payments")
Sim = Annotated[Simulator, Depends(simulator_of)]
Body = Annotated[dict[str, Any], Depends(_body)]


@router.post("")
async def pay(request: Request, body: Body, simulator: Sim) -> Response:
    """Authorize."""
    source = body.get("source")
    number = str(source.get("number", "")) if isinstance(source, dict) else ""
    if not isinstance(source, dict) or not luhn_valid(number):
        return _invalid("card_number_invalid")
    try:
        money = Money(body.get("amount", 0), str(body.get("currency", "")))
    except InputError:
        return _invalid("amount_invalid")
    if body.get("payment_type") != "MOTO" or body.get("capture") is not False:
        return _invalid("payment_type_required")
    metadata = body.get("metadata")
    order = Order(
        key=request.headers.get("Cko-Idempotency-Key") or secrets.token_hex(16),
        reference=str(body.get("reference", "")),
        payment=str(metadata.get("payment_id", "")) if isinstance(metadata, dict) else "",
        wire=WIRE,
        amount_minor=money.amount_minor,
        currency=money.currency,
        card_number=number,
        expiry=f"{source.get('expiry_month')}/{source.get('expiry_year')}",
    )
    return await simulator.authorize(request, order, lambda row: (201, _payment_json(row)), _fault)


@router.get("")
async def find(reference: str, _body: Body, simulator: Sim) -> Response:
    """The payments with a reference."""
    data = [_payment_json(row) for row in simulator.ledger.find_all(reference) if row.wire == WIRE]
    return JSONResponse({"limit": 10, "skip": 0, "total_count": len(data), "data": data})


@router.get("/{payment_id}")
async def get(payment_id: str, _body: Body, simulator: Sim) -> Response:
    """One payment."""
    row = simulator.ledger.get(payment_id)
    return JSONResponse(_payment_json(row)) if row else Response(status_code=404)


@router.get("/{payment_id}/actions")
async def actions(payment_id: str, _body: Body, simulator: Sim) -> Response:
    """What was done to a payment; what is only accepted is not there yet."""
    kinds = {"settle": "Capture", "void": "Void", "refund": "Refund"}
    return JSONResponse(
        [
            {
                "id": named.movement.id,
                "type": kinds[named.movement.kind],
                "processed_on": named.movement.created_at,
                "amount": named.movement.amount_minor,
                "approved": True,
                "response_code": "10000",
                "reference": named.name,
            }
            for named in simulator.ledger.movements_of(payment_id)
            if named.movement.done and not named.pending
        ]
    )


@router.post("/{payment_id}/captures")
async def capture(payment_id: str, request: Request, body: Body, simulator: Sim) -> Response:
    """Accept a capture."""
    amount = int(body.get("amount", 0))
    return await _operate(
        simulator,
        request,
        body,
        ("capture", payment_id, amount),
        lambda: simulator.ledger.settle(payment_id, amount),
    )


@router.post("/{payment_id}/voids")
async def void(payment_id: str, request: Request, body: Body, simulator: Sim) -> Response:
    """Accept a void."""
    return await _operate(
        simulator, request, body, ("void", payment_id), lambda: simulator.ledger.void(payment_id)
    )


@router.post("/{payment_id}/refunds")
async def refund(payment_id: str, request: Request, body: Body, simulator: Sim) -> Response:
    """Accept a refund."""
    amount = int(body.get("amount", 0))
    return await _operate(
        simulator,
        request,
        body,
        ("refund", payment_id, amount),
        lambda: simulator.ledger.refund(payment_id, amount),
    )


async def _operate(
    simulator: Simulator,
    request: Request,
    body: dict[str, Any],
    what: tuple[str | int, ...],
    move: Callable[[], Movement | None],
) -> Response:
    if simulator.ledger.get(str(what[1])) is None:
        return Response(status_code=404)

    def act(pending_s: float) -> tuple[int, dict[str, Any]] | None:
        movement = move()
        if movement is None or not movement.done:
            return None
        simulator.ledger.name(movement, str(body.get("reference", "")), pending_s)
        return 202, {"action_id": movement.id, "reference": movement.reference}

    key = request.headers.get("Cko-Idempotency-Key") or secrets.token_hex(16)
    try:
        done = await simulator.operate(request, _RULE_NAMES[str(what[0])], key, (WIRE, *what), act)
    except KeyReusedError:
        return _fault(409, "idempotency-key-reused")
    return JSONResponse(done[1], done[0]) if done else Response(status_code=403)


def _payment_json(row: Authorization) -> dict[str, Any]:
    status = {"approved": "Authorized", "declined": "Declined"}.get(row.state, "Voided")
    if row.state == "approved" and row.settled_minor:
        status = "Captured"
    code = "10000"
    if not row.approved_minor:
        code = ("300" if row.response_code in _HARD else "200") + row.response_code
    return {
        "id": row.id,
        "action_id": row.id.replace("pay_", "act_"),
        "amount": row.amount_minor,
        "currency": row.currency,
        "approved": bool(row.approved_minor),
        "status": status,
        "auth_code": row.authorization_code,
        "response_code": code,
        "response_summary": "Approved" if row.approved_minor else "Declined",
        "partner_merchant_advice_code": row.advice_code,
        "source": {"type": "card", "last4": row.last4, "avs_check": "G", "cvv_check": "Y"},
        "reference": row.reference,
        "processed_on": row.created_at,
    }


def _invalid(code: str) -> Response:
    return JSONResponse({"request_id": "0", "error_type": "request_invalid", "error_codes": [code]}, 422)


def _fault(status: int, code: str) -> Response:
    if code == "idempotency-key-reused":
        return JSONResponse({"error_type": "idempotency_key_reused"}, 409)
    return JSONResponse({"error_type": code.replace("-", "_")}, status)
