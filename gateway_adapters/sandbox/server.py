"""The acquirer simulator: an HTTP server with a ledger that speaks several wires.

``/v1`` is its own wire, ``/stripe``, ``/adyen``, ``/checkout`` and ``/connector`` are those of Stripe, Adyen,
Checkout.com and Twilio's generic pay connector for the paths that paycall uses, ``/`` shows the ledger.
``behaviour`` says how a test chooses the outcome. Errors carry fixed text: a request may hold a card.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway_adapters.sandbox import page
from gateway_adapters.sandbox.iso8583_host import Iso8583Host
from gateway_adapters.sandbox.ledger import Ledger
from gateway_adapters.sandbox.rules import Rules
from gateway_adapters.sandbox.simulation import TRANSPORT, KeyInUseError, Refused, Simulator
from gateway_adapters.sandbox.wires import adyen, checkout_com, generic, native, stripe


class SimulatorApp(FastAPI):
    """FastAPI that lets a route reach the connection, so that it can be dropped without an answer.

    ASGI has no word for that. uvicorn's ``send`` is a method of the object that holds the transport.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        scope[TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)
        await super().__call__(scope, receive, send)


def create_app(
    ledger: Path,
    api_key: str,
    rules: Path | None = None,
    webhook_urls: Mapping[str, str] | None = None,
    iso8583_port: int | None = None,
) -> FastAPI:
    """The simulator on the ledger file, which is made if it is not there.

    Parameters
    ----------
    ledger
        The SQLite file.
    api_key
        What clients must present, in each wire's own way.
    rules
        A rules file (see ``rules``).
    webhook_urls
        Where to deliver webhooks, by wire (``adyen``, ``stripe``); without it they stay in the outbox.
    iso8583_port
        The port of the ISO 8583 host on 127.0.0.1 (0: any; ``app.state.iso8583_port`` tells); None: no host.

    Raises
    ------
    SettingsError
        If the rules file is wrong.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        host = Iso8583Host(lambda: _simulator(app))
        if iso8583_port is not None:
            app.state.iso8583_port = await host.start("127.0.0.1", iso8583_port)
        yield
        await host.stop()

    app = SimulatorApp(
        title="Acquirer simulator", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.simulator = Simulator(Ledger(ledger), api_key, Rules(rules), dict(webhook_urls or {}))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(KeyInUseError, _in_use)
    for wire in (native, stripe, adyen, checkout_com, generic, page):
        app.include_router(wire.router)
    app.add_api_route("/health", _health, methods=["GET"])
    return app


async def _health() -> dict[str, str]:
    """For who started it: it answers."""
    return {"status": "ok"}


def _simulator(app: FastAPI) -> Simulator:
    simulator: Simulator = app.state.simulator
    return simulator


async def _invalid(_request: Request, _details: Exception) -> Response:
    return JSONResponse({"code": "invalid-request"}, 422)


async def _refused(_request: Request, error: Exception) -> Response:
    return error.response if isinstance(error, Refused) else Response(status_code=500)


async def _in_use(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"code": "idempotency-key-in-use"}, 409)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"code": "unauthorized" if status == 401 else "refused"}, status)
