"""An endpoint of Twilio's generic pay connector. Base address ``/connector``, Basic ``paycall:<the key>``."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from gateway_adapters.sandbox.ledger import Authorization
from gateway_adapters.sandbox.simulation import Order, Refused, Simulator, simulator_of
from paycall.domain.card import luhn_valid
from paycall.domain.errors import InputError
from paycall.domain.money import Money

WIRE = "generic"
USERNAME = "paycall"

router = APIRouter(prefix="/connector")


async def _body(request: Request) -> dict[str, Any]:
    credentials = f"{USERNAME}:{simulator_of(request).api_key}".encode()
    expected = b"Basic " + base64.b64encode(credentials)
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
        raise Refused(Response(status_code=401))
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refused(Response(status_code=400)) from None
    return body if isinstance(body, dict) else {}


@router.post("/charge")
async def charge(
    request: Request,
    body: Annotated[dict[str, Any], Depends(_body)],
    simulator: Annotated[Simulator, Depends(simulator_of)],
) -> Response:
    """Charge at once."""
    number = str(body.get("cardnumber", ""))
    try:
        money = Money.parse(str(body.get("amount", "")), str(body.get("currency_code", "")).upper())
    except InputError:
        return _answer(None, "13")
    if not luhn_valid(number):
        return _answer(None, "14")
    parameters = body.get("parameters")
    order = Order(
        key=request.headers.get("I-Twilio-Idempotency-Token") or str(body.get("transaction_id", "")),
        reference=str(body.get("transaction_id", "")),
        payment=str(parameters.get("payment_id", "")) if isinstance(parameters, dict) else "",
        wire=WIRE,
        amount_minor=money.amount_minor,
        currency=money.currency,
        card_number=number,
        expiry=f"{body.get('expiry_month')}/{body.get('expiry_year')}",
        settle=True,
    )
    return await simulator.authorize(request, order, _charged, lambda status, _: Response(status_code=status))


def _charged(row: Authorization) -> tuple[int, dict[str, Any]]:
    if row.approved_minor:
        return 200, {"charge_id": row.id, "error_code": None, "error_message": None}
    return 200, {"charge_id": None, "error_code": row.response_code, "error_message": "declined"}


def _answer(charge_id: str | None, error_code: str | None) -> Response:
    return JSONResponse({"charge_id": charge_id, "error_code": error_code, "error_message": None})
