"""The simulator's own wire: JSON, ``Authorization: Bearer``, ``Idempotency-Key`` on every POST.

::

    POST /v1/authorizations                     reference, payment, amount_minor, currency, moto, card{...}
    GET  /v1/authorizations?reference=          the newest with our reference, or 404
    POST /v1/authorizations/{id}/settle         amount_minor
    POST /v1/authorizations/{id}/void
    POST /v1/authorizations/{id}/refund         amount_minor
    GET  /v1/operations/{key}                   the operation with our key, or 404
    POST /v1/reversals                          reference, amount_minor, currency
    GET  /v1/ledger                             everything, for tests
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway_adapters.sandbox.ledger import Authorization, KeyReusedError, Movement
from gateway_adapters.sandbox.simulation import Order, Simulator, simulator_of
from paycall.domain.errors import InputError
from paycall.domain.money import Money


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)


class CardBody(_Body):
    """The card of an authorization."""

    number: str = Field(pattern=r"^\d{12,19}$", repr=False)
    expiry_month: int | None = Field(default=None, ge=1, le=12, repr=False)
    expiry_year: int | None = Field(default=None, ge=2000, le=2099, repr=False)
    security_code: str | None = Field(default=None, pattern=r"^\d{3,4}$", repr=False)
    postal_code: str | None = Field(default=None, max_length=16, repr=False)


class AuthorizationBody(_Body):
    """What ``POST /v1/authorizations`` takes."""

    reference: str = Field(min_length=1, max_length=80)
    payment: str = Field(default="", max_length=80)
    amount_minor: int
    currency: str
    moto: Literal[True]
    card: CardBody
    order_reference: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=500)
    on_file: Literal["first", "later"] | None = None
    previous: str | None = Field(default=None, max_length=80)


class AmountBody(_Body):
    """What settle and refund take."""

    amount_minor: int = Field(gt=0)


class ReversalBody(_Body):
    """What ``POST /v1/reversals`` takes: the original's data, as a host wants them."""

    reference: str = Field(min_length=1, max_length=80)
    amount_minor: int = Field(gt=0)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=80)]


async def _authenticate(request: Request, authorization: Annotated[str, Header()] = "") -> None:
    expected = f"Bearer {simulator_of(request).api_key}"
    if not hmac.compare_digest(authorization.encode(), expected.encode()):
        raise HTTPException(401, "unauthorized")


router = APIRouter(dependencies=[Depends(_authenticate)])
Sim = Annotated[Simulator, Depends(simulator_of)]


@router.post("/v1/authorizations")
async def authorize(request: Request, body: AuthorizationBody, key: Key, simulator: Sim) -> Response:
    """Book an authorization, or decline it, or let the answer be lost."""
    try:
        money = Money(body.amount_minor, body.currency)
    except InputError:
        return _error(422, "invalid-request")
    card = body.card
    order = Order(
        key=key,
        reference=body.reference,
        payment=body.payment,
        wire="native",
        amount_minor=money.amount_minor,
        currency=money.currency,
        card_number=card.number,
        expiry=f"{card.expiry_month}/{card.expiry_year}",
        partial=True,
    )
    return await simulator.authorize(request, order, lambda row: (200, _authorization_json(row)), _error)


@router.get("/v1/authorizations")
async def look_up(reference: str, simulator: Sim) -> Response:
    """The newest authorization with the client's reference."""
    row = simulator.ledger.find(reference)
    return JSONResponse(_authorization_json(row)) if row else _error(404, "not-found")


@router.post("/v1/authorizations/{authorization_id}/settle")
async def settle(
    authorization_id: str, request: Request, body: AmountBody, key: Key, simulator: Sim
) -> Response:
    """Take the reserved amount or a part of it."""
    return await _operation(
        request,
        key,
        ("settle", authorization_id, body.amount_minor),
        lambda: simulator.ledger.settle(authorization_id, body.amount_minor),
    )


@router.post("/v1/authorizations/{authorization_id}/void")
async def void(authorization_id: str, request: Request, key: Key, simulator: Sim) -> Response:
    """Release a reservation."""
    return await _operation(
        request, key, ("void", authorization_id), lambda: simulator.ledger.void(authorization_id)
    )


@router.post("/v1/authorizations/{authorization_id}/refund")
async def refund(
    authorization_id: str, request: Request, body: AmountBody, key: Key, simulator: Sim
) -> Response:
    """Give a settled amount or a part of it back."""
    return await _operation(
        request,
        key,
        ("refund", authorization_id, body.amount_minor),
        lambda: simulator.ledger.refund(authorization_id, body.amount_minor),
    )


@router.get("/v1/operations/{key}")
async def look_up_operation(key: str, simulator: Sim) -> Response:
    """What was done under the client's key."""
    named = simulator.ledger.named(key)
    return JSONResponse(_movement_json(named.movement, named.pending)) if named else _error(404, "not-found")


@router.post("/v1/reversals")
async def reverse(request: Request, body: ReversalBody, key: Key, simulator: Sim) -> Response:
    """Undo whatever was authorized with this reference."""
    return await _operation(
        request, key, ("reverse", body.reference), lambda: simulator.ledger.reverse(body.reference)
    )


@router.get("/v1/ledger")
async def whole_ledger(simulator: Sim) -> dict[str, Any]:
    """Everything that was booked."""
    return {
        "authorizations": [
            _authorization_json(row)
            | {"state": row.state, "payment": row.payment, "charged_minor": row.charged_minor}
            for row in simulator.ledger.authorizations()
        ],
        "movements": [_movement_json(row) | {"kind": row.kind} for row in simulator.ledger.movements()],
    }


async def _operation(
    request: Request, key: str, what: tuple[str | int, ...], act: Callable[[], Movement | None]
) -> Response:
    simulator = simulator_of(request)

    def once(pending_s: float) -> tuple[int, dict[str, Any]] | None:
        movement = act()
        if movement is None:
            return None
        simulator.ledger.name(movement, key, pending_s)
        return 200, _movement_json(movement, pending=pending_s > 0)

    try:
        done = await simulator.operate(request, str(what[0]), key, ("native", *what), once)
    except KeyReusedError:
        return _error(409, "idempotency-key-reused")
    return JSONResponse(done[1], done[0]) if done else _error(404, "not-found")


def _authorization_json(row: Authorization) -> dict[str, Any]:
    status = "approved" if row.approved_minor == row.amount_minor else "partly_approved"
    if not row.approved_minor:
        status = "declined"
    if row.state == "reversed":
        status = "reversed"
    return {
        "id": row.id,
        "reference": row.reference,
        "status": status,
        "response_code": row.response_code,
        "advice_code": row.advice_code,
        "authorization_code": row.authorization_code,
        "amount_minor": row.amount_minor,
        "approved_minor": row.approved_minor,
        "currency": row.currency,
        "avs_result": "Y" if row.approved_minor else None,
        "code_result": "N" if row.response_code == "N7" else "M",
    }


def _movement_json(row: Movement, pending: bool = False) -> dict[str, Any]:
    return {
        "id": row.id,
        "authorization_id": row.authorization_id,
        "reference": row.reference,
        "status": "pending" if pending else "done" if row.done else "failed",
        "response_code": row.response_code,
        "amount_minor": row.amount_minor,
    }


def _error(status: int, code: str) -> Response:
    return JSONResponse({"code": code}, status, headers={"Cache-Control": "no-store"})
