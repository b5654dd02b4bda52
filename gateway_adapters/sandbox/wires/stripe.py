"""Stripe's wire, as far as paycall and Stripe's own library use it: methods, intents, refunds, webhooks.

Base address ``/stripe``, any secret key that equals the simulator's. As at Stripe, answers are kept under their
idempotency key, server errors included, and a key that comes with another request is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from gateway_adapters.sandbox.ledger import Authorization, KeyReusedError, Movement, NamedMovement
from gateway_adapters.sandbox.simulation import Order, Refused, Simulator, simulator_of
from paycall.domain.card import luhn_valid
from paycall.domain.errors import InputError
from paycall.domain.money import Money

WIRE = "stripe"
_MOST_METHODS = 10_000

# ISO 8583 code -> Stripe's (code, decline_code)
DECLINES: dict[str, tuple[str, str]] = {
    "01": ("card_declined", "call_issuer"),
    "05": ("card_declined", "generic_decline"),
    "12": ("card_declined", "transaction_not_allowed"),
    "13": ("card_declined", "invalid_amount"),
    "14": ("incorrect_number", "incorrect_number"),
    "19": ("card_declined", "reenter_transaction"),
    "41": ("card_declined", "lost_card"),
    "43": ("card_declined", "stolen_card"),
    "46": ("card_declined", "invalid_account"),
    "51": ("card_declined", "insufficient_funds"),
    "54": ("expired_card", "expired_card"),
    "57": ("card_declined", "transaction_not_allowed"),
    "59": ("card_declined", "fraudulent"),
    "61": ("card_declined", "card_velocity_exceeded"),
    "62": ("card_declined", "restricted_card"),
    "65": ("card_declined", "withdrawal_count_limit_exceeded"),
    "91": ("card_declined", "issuer_not_available"),
    "94": ("card_declined", "duplicate_transaction"),
    "96": ("processing_error", "processing_error"),
    "1A": ("authentication_required", "authentication_required"),
    "N7": ("incorrect_cvc", "incorrect_cvc"),
    "R0": ("card_declined", "stop_payment_order"),
}

_RULE_NAMES = {"capture": "settle", "cancel": "void", "refund": "refund"}
_STATUS = {
    "draft": "requires_payment_method",
    "declined": "requires_payment_method",
    "approved": "requires_capture",
    "voided": "canceled",
    "reversed": "canceled",
}


def webhook_secret(api_key: str) -> str:
    """What the simulator signs its Stripe webhooks with."""
    return f"whsec_{api_key}"


async def _fields(request: Request) -> dict[str, str]:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), simulator_of(request).api_key.encode()):
        raise Refused(_error(401, "api_key_invalid"))
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


class _Methods:
    """Card numbers between the two calls: in memory only, the oldest go first."""

    def __init__(self) -> None:
        self._cards: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def keep(self, method_id: str, number: str, expiry: str) -> None:
        self._cards[method_id] = (number, expiry)
        while len(self._cards) > _MOST_METHODS:
            self._cards.popitem(last=False)

    def get(self, method_id: str) -> tuple[str, str] | None:
        return self._cards.get(method_id)


def _methods(request: Request) -> _Methods:
    state = request.app.state
    if not hasattr(state, "stripe_methods"):
        state.stripe_methods = _Methods()
    methods: _Methods = state.stripe_methods
    return methods


router = APIRouter(prefix="/stripe/v1")
Sim = Annotated[Simulator, Depends(simulator_of)]
Form = Annotated[dict[str, str], Depends(_fields)]
Methods = Annotated[_Methods, Depends(_methods)]


@router.post("/payment_methods")
async def create_payment_method(request: Request, form: Form, simulator: Sim, methods: Methods) -> Response:
    """Take a raw card and give it a name."""
    number, month, year = (form.get(f"card[{name}]", "") for name in ("number", "exp_month", "exp_year"))
    if form.get("type") != "card" or not number.isdigit():
        return _error(400, "parameter_missing")
    if not luhn_valid(number):
        return _error(402, "incorrect_number", kind="card_error")
    method_id = f"pm_{secrets.token_hex(12)}"
    expiry = f"{month}/{year}"
    trace = simulator.trace(number)
    body = {
        "id": method_id,
        "object": "payment_method",
        "type": "card",
        "card": {"brand": trace.brand, "last4": trace.last4},
    }

    def act(_pending_s: float) -> tuple[int, dict[str, Any]]:
        methods.keep(method_id, number, expiry)
        return 200, body

    return await _once(simulator, request, ("payment_method", trace.card_hash, expiry), act)


@router.post("/payment_intents")
async def create_intent(request: Request, form: Form, simulator: Sim, methods: Methods) -> Response:
    """Authorize (``confirm``), or draft."""
    try:
        money = Money(int(form.get("amount", "")), form.get("currency", "").upper())
    except (ValueError, InputError):
        return _error(400, "parameter_invalid_integer", param="amount")
    reference = form.get("metadata[attempt_id]", "")
    payment = form.get("metadata[payment_id]", "")
    if form.get("confirm") != "true":
        metadata = _metadata(form)

        def act(_pending_s: float) -> tuple[int, dict[str, Any]]:
            row = simulator.ledger.draft(
                reference=reference,
                payment=payment,
                wire=WIRE,
                amount_minor=money.amount_minor,
                currency=money.currency,
            )
            return 200, _intent_json(row) | {"metadata": metadata}

        return await _once(simulator, request, ("draft", reference, money.amount_minor, money.currency), act)
    card = methods.get(form.get("payment_method", ""))
    if card is None:
        return _error(400, "resource_missing", param="payment_method")
    if form.get("payment_method_options[card][moto]") != "true":
        return _error(402, "authentication_required", kind="card_error")
    order = Order(
        key=request.headers.get("Idempotency-Key") or secrets.token_hex(16),
        reference=reference,
        payment=payment,
        wire=WIRE,
        amount_minor=money.amount_minor,
        currency=money.currency,
        card_number=card[0],
        expiry=card[1],
        settle=form.get("capture_method") == "automatic",
    )

    def render(row: Authorization) -> tuple[int, dict[str, Any]]:
        intent = _intent_json(row)
        if row.state == "declined":
            return 402, {"error": intent["last_payment_error"] | {"payment_intent": intent}}
        _announce(simulator, "payment_intent.amount_capturable_updated", intent)
        return 200, intent

    return await simulator.authorize(request, order, render, _fault)


@router.get("/payment_intents")
async def list_intents(request: Request, _form: Form, simulator: Sim) -> Response:
    """The newest intents, a page at a time."""
    limit = int(request.query_params.get("limit", "10"))
    after = request.query_params.get("starting_after")
    since, until = (
        float(request.query_params.get(f"created[{bound}]", default))
        for bound, default in (("gte", "0"), ("lte", "inf"))
    )
    rows = [
        row
        for row in simulator.ledger.authorizations()
        if row.wire == WIRE and since <= _created(row) <= until
    ]
    ids = [row.id for row in rows]
    start = ids.index(after) + 1 if after in ids else 0
    page = rows[start : start + limit]
    return JSONResponse(
        {
            "object": "list",
            "url": "/v1/payment_intents",
            "data": [_intent_json(row) for row in page],
            "has_more": start + limit < len(rows),
        }
    )


@router.get("/payment_intents/{intent_id}")
async def get_intent(intent_id: str, _form: Form, simulator: Sim) -> Response:
    """One intent."""
    row = simulator.ledger.get(intent_id)
    return JSONResponse(_intent_json(row)) if row else _error(404, "resource_missing")


@router.post("/payment_intents/{intent_id}/capture")
async def capture(intent_id: str, request: Request, form: Form, simulator: Sim) -> Response:
    """Take the amount, or a part of it."""
    row = simulator.ledger.get(intent_id)
    if row is None:
        return _error(404, "resource_missing")
    amount = int(form.get("amount_to_capture", row.approved_minor))
    return await _move(
        simulator,
        request,
        ("capture", intent_id, amount),
        lambda: simulator.ledger.settle(intent_id, amount),
        "payment_intent.succeeded",
    )


@router.post("/payment_intents/{intent_id}/cancel")
async def cancel(intent_id: str, request: Request, _form: Form, simulator: Sim) -> Response:
    """Release the reservation."""
    return await _move(
        simulator,
        request,
        ("cancel", intent_id),
        lambda: simulator.ledger.void(intent_id),
        "payment_intent.canceled",
    )


@router.post("/refunds")
async def refund(request: Request, form: Form, simulator: Sim) -> Response:
    """Give back a part of what was taken, or all."""
    intent_id = form.get("payment_intent", "")
    row = simulator.ledger.get(intent_id)
    if row is None:
        return _error(404, "resource_missing")
    amount = int(form.get("amount", row.settled_minor - row.refunded_minor))

    def act(pending_s: float) -> tuple[int, dict[str, Any]] | None:
        movement = simulator.ledger.refund(intent_id, amount)
        if movement is None or not movement.done:
            return None
        name = form.get("metadata[operation_id]", "")
        simulator.ledger.name(movement, name, pending_s)
        body = _refund_json(row, NamedMovement(movement, name, pending_s > 0))
        _announce(simulator, "refund.updated", body)
        return 200, body

    answer = await _once(simulator, request, ("refund", intent_id, amount), act)
    return answer if answer.status_code != 404 else _error(400, "charge_already_refunded", param="amount")


@router.get("/refunds")
async def list_refunds(payment_intent: str, _form: Form, simulator: Sim) -> Response:
    """The refunds of an intent."""
    row = simulator.ledger.get(payment_intent)
    data = [
        _refund_json(row, named)
        for named in (simulator.ledger.movements_of(payment_intent) if row else [])
        if row is not None and named.movement.kind == "refund" and named.movement.done
    ]
    return JSONResponse({"object": "list", "url": "/v1/refunds", "data": data, "has_more": False})


async def _move(
    simulator: Simulator,
    request: Request,
    what: tuple[str | int, ...],
    move: Callable[[], Movement | None],
    announce: str,
) -> Response:
    def act(_pending_s: float) -> tuple[int, dict[str, Any]] | None:
        movement = move()
        if movement is None or not movement.done or movement.authorization_id is None:
            return None
        row = simulator.ledger.get(movement.authorization_id)
        if row is None:
            return None
        intent = _intent_json(row)
        _announce(simulator, announce, intent)
        return 200, intent

    if simulator.ledger.get(str(what[1])) is None:
        return _error(404, "resource_missing")
    answer = await _once(simulator, request, what, act)
    return answer if answer.status_code != 404 else _error(400, "payment_intent_unexpected_state")


async def _once(
    simulator: Simulator,
    request: Request,
    what: tuple[str | int, ...],
    act: Callable[[float], tuple[int, dict[str, Any]] | None],
) -> Response:
    key = request.headers.get("Idempotency-Key") or secrets.token_hex(16)
    try:
        done = await simulator.operate(request, _RULE_NAMES.get(str(what[0]), ""), key, (WIRE, *what), act)
    except KeyReusedError:
        return _fault(400, "idempotency-key-reused")
    return JSONResponse(done[1], done[0]) if done else _error(404, "resource_missing")


def _created(row: Authorization) -> int:
    return int(datetime.fromisoformat(row.created_at).timestamp())


def _refund_json(row: Authorization, named: NamedMovement) -> dict[str, Any]:
    return {
        "id": named.movement.id,
        "object": "refund",
        "amount": named.movement.amount_minor,
        "currency": row.currency.lower(),
        "payment_intent": row.id,
        "status": "pending" if named.pending else "succeeded",
        "metadata": {"operation_id": named.name},
    }


def _intent_json(row: Authorization) -> dict[str, Any]:
    status = "succeeded" if row.settled_minor else _STATUS[row.state]
    intent: dict[str, Any] = {
        "id": row.id,
        "object": "payment_intent",
        "created": _created(row),
        "amount": row.amount_minor,
        "amount_capturable": row.approved_minor if status == "requires_capture" else 0,
        "amount_received": row.settled_minor,
        "currency": row.currency.lower(),
        "status": status,
        "metadata": {"attempt_id": row.reference, "payment_id": row.payment},
        "last_payment_error": None,
        "latest_charge": None,
    }
    if not row.last4:
        intent["metadata"]["paycall_tombstone"] = "true"
    if row.state == "declined":
        code, decline_code = DECLINES.get(row.response_code, ("card_declined", "generic_decline"))
        intent["last_payment_error"] = {
            "type": "card_error",
            "code": code,
            "decline_code": decline_code,
            "network_decline_code": row.response_code,
            "network_advice_code": row.advice_code,
            "message": "Declined by the simulator.",
        }
    if row.approved_minor:
        intent["latest_charge"] = {
            "id": row.id.replace("pi_", "ch_"),
            "object": "charge",
            "payment_method_details": {
                "type": "card",
                "card": {
                    "brand": row.brand,
                    "last4": row.last4,
                    "authorization_code": row.authorization_code,
                    "checks": {"address_postal_code_check": "pass", "cvc_check": "pass"},
                },
            },
        }
    return intent


def _metadata(form: dict[str, str]) -> dict[str, str]:
    return {
        name[len("metadata[") : -1]: value for name, value in form.items() if name.startswith("metadata[")
    }


def _announce(simulator: Simulator, kind: str, data: dict[str, Any]) -> None:
    event = {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "type": kind,
        "data": {"object": data},
    }
    body = json.dumps(event)
    stamp = int(time.time())
    secret = webhook_secret(simulator.api_key)
    signature = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={stamp},v1={signature}", "Content-Type": "application/json"}
    simulator.send_webhook(WIRE, headers, body)


def _error(status: int, code: str, *, kind: str = "invalid_request_error", **more: Any) -> Response:
    error = {"type": kind, "code": code, "message": "The simulator refused this."} | more
    return JSONResponse({"error": error}, status)


def _fault(status: int, code: str) -> Response:
    if code == "idempotency-key-reused":
        return _error(400, "idempotency_key_reused", kind="idempotency_error")
    if status == 409:
        return _error(409, "idempotency_key_in_use")
    if status == 429:
        return _error(429, "rate_limit")
    return _error(500, "api_error", kind="api_error")
