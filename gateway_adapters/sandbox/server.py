"""The acquirer simulator: an HTTP server with its own wire, its own ledger and a page to look at it.

Its own wire (JSON, ``Authorization: Bearer``, ``Idempotency-Key`` on every POST)::

    POST /v1/authorizations                     reference, payment, amount_minor, currency, moto, card{...}
    GET  /v1/authorizations?reference=          the newest with our reference, or 404
    POST /v1/authorizations/{id}/settle         amount_minor
    POST /v1/authorizations/{id}/void
    POST /v1/authorizations/{id}/refund         amount_minor
    POST /v1/reversals                          reference, amount_minor, currency
    GET  /v1/ledger                             everything, for tests
    GET  /                                      the ledger as a page

``behaviour`` says how a test chooses the outcome. Errors carry fixed text: a request may hold a card.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from gateway_adapters.sandbox.ledger import Authorization, KeyReusedError, Ledger, Movement
from gateway_adapters.sandbox.simulation import TRANSPORT, Order, Simulator
from paycall.domain.errors import InputError
from paycall.domain.money import Money


class SimulatorApp(FastAPI):
    """FastAPI that lets a route reach the connection, so that it can be dropped without an answer.

    ASGI has no word for that. uvicorn's ``send`` is a method of the object that holds the transport.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, send)


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


class AmountBody(_Body):
    """What settle and refund take."""

    amount_minor: int = Field(gt=0)


class ReversalBody(_Body):
    """What ``POST /v1/reversals`` takes: the original's data, as a host wants them."""

    reference: str = Field(min_length=1, max_length=80)
    amount_minor: int = Field(gt=0)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=80)]


def _simulator(request: Request) -> Simulator:
    simulator: Simulator = request.app.state.simulator
    return simulator


async def _authenticate(request: Request, authorization: Annotated[str, Header()] = "") -> None:
    if not hmac.compare_digest(authorization.encode(), request.app.state.bearer):
        raise HTTPException(401, "unauthorized")


router = APIRouter(dependencies=[Depends(_authenticate)])
Sim = Annotated[Simulator, Depends(_simulator)]


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
    )
    return await simulator.authorize(request, order, lambda row: (200, _authorization_json(row)), _error)


@router.get("/v1/authorizations")
async def look_up(reference: str, simulator: Sim) -> Response:
    """The newest authorization with the client's reference."""
    row = simulator.ledger.find(reference)
    return JSONResponse(_authorization_json(row)) if row else _error(404, "not-found")


@router.post("/v1/authorizations/{authorization_id}/settle")
async def settle(authorization_id: str, body: AmountBody, key: Key, simulator: Sim) -> Response:
    """Take the reserved amount or a part of it."""
    return await _operation(
        simulator,
        key,
        ("settle", authorization_id, body.amount_minor),
        lambda: simulator.ledger.settle(authorization_id, body.amount_minor),
    )


@router.post("/v1/authorizations/{authorization_id}/void")
async def void(authorization_id: str, key: Key, simulator: Sim) -> Response:
    """Release a reservation."""
    return await _operation(
        simulator, key, ("void", authorization_id), lambda: simulator.ledger.void(authorization_id)
    )


@router.post("/v1/authorizations/{authorization_id}/refund")
async def refund(authorization_id: str, body: AmountBody, key: Key, simulator: Sim) -> Response:
    """Give a settled amount or a part of it back."""
    return await _operation(
        simulator,
        key,
        ("refund", authorization_id, body.amount_minor),
        lambda: simulator.ledger.refund(authorization_id, body.amount_minor),
    )


@router.post("/v1/reversals")
async def reverse(body: ReversalBody, key: Key, simulator: Sim) -> Response:
    """Undo whatever was authorized with this reference."""
    return await _operation(
        simulator, key, ("reverse", body.reference), lambda: simulator.ledger.reverse(body.reference)
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
    simulator: Simulator, key: str, what: tuple[str | int, ...], act: Callable[[], Movement | None]
) -> Response:
    def once() -> tuple[int, dict[str, Any]] | None:
        movement = act()
        return (200, _movement_json(movement)) if movement else None

    try:
        done = await simulator.operate(key, what, once)
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


def _movement_json(row: Movement) -> dict[str, Any]:
    return {
        "id": row.id,
        "authorization_id": row.authorization_id,
        "reference": row.reference,
        "status": "done" if row.done else "failed",
        "response_code": row.response_code,
        "amount_minor": row.amount_minor,
    }


def _error(status: int, code: str) -> Response:
    return JSONResponse({"code": code}, status, headers={"Cache-Control": "no-store"})


async def _page(request: Request) -> HTMLResponse:
    """The ledger, for people; a test set-up's page, open to whoever can reach the simulator."""
    ledger = _simulator(request).ledger
    authorizations = "".join(
        _row(
            row.created_at[:19],
            row.reference,
            row.wire,
            f"{row.brand} …{row.last4}",
            str(Money(row.amount_minor, row.currency)),
            row.response_code,
            row.state,
            row.charged_minor,
        )
        for row in ledger.authorizations(limit=200)
    )
    movements = "".join(
        _row(row.created_at[:19], row.kind, row.reference, row.amount_minor, row.response_code)
        for row in ledger.movements(limit=200)
    )
    return HTMLResponse(
        _PAGE.format(authorizations=authorizations, movements=movements),
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Acquirer simulator</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem}}table{{border-collapse:collapse;margin-bottom:2rem}}
td,th{{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left}}</style></head>
<body><h1>Acquirer simulator</h1><h2>Authorizations</h2>
<table><tr><th>Time (UTC)<th>Reference<th>Wire<th>Card<th>Amount<th>Code<th>State<th>Charged (minor)</tr>
{authorizations}</table>
<h2>Movements</h2><table><tr><th>Time (UTC)<th>Kind<th>Reference<th>Amount (minor)<th>Code</tr>
{movements}</table></body></html>"""


async def _invalid(_request: Request, _details: Exception) -> Response:
    return _error(422, "invalid-request")


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _error(status, "unauthorized" if status == 401 else "refused")


Handler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(ledger: Path, api_key: str) -> FastAPI:
    """The simulator on the ledger file, which is made if it is not there.

    Parameters
    ----------
    ledger
        The SQLite file.
    api_key
        What clients must present as ``Bearer``.
    """
    app = SimulatorApp(title="Acquirer simulator", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.simulator = Simulator(Ledger(ledger), api_key)
    app.state.bearer = f"Bearer {api_key}".encode()
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.include_router(router)
    app.add_api_route("/", _page, methods=["GET"], response_class=HTMLResponse)
    return app
