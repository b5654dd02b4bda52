"""Every answer that is not a success: a problem document with fixed text, whatever was sent.

Rules: neither the input nor an exception's own text gets into an answer; nothing is raised out of the
application, so no server prints a traceback of it.
"""

from __future__ import annotations

import asyncio

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paycall.domain.errors import (
    CardDataError,
    InputError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    NotSentError,
    PaycallError,
    RefusedRequestError,
    SecurityCodeGoneError,
    StateError,
    TamperedError,
    VaultUnavailableError,
)
from paycall.vault.body_limit import BodyLimit
from paycall.vault.routes.common import actor_of

_log = structlog.get_logger(__name__)
_STATUS: dict[type[PaycallError], int] = {
    InputError: 422,
    CardDataError: 422,
    NotAllowedError: 403,
    NotFoundError: 404,
    StateError: 409,
    SecurityCodeGoneError: 409,
    NotSentError: 503,
    VaultUnavailableError: 503,
    RefusedRequestError: 502,
    NoAnswerError: 502,
}
_HTTP = {404: "not-found", 405: "not-allowed", 413: "too-large"}


def problem(status: int, code: str, title: str) -> JSONResponse:
    """A problem document (RFC 9457); ``title`` must be a literal of ours."""
    body = {"type": f"/problems/{code}", "title": title, "status": status, "code": code}
    return JSONResponse(body, status, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Give the application its handlers."""
    app.add_exception_handler(PaycallError, _paycall_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(SQLAlchemyError, _database_error)
    app.add_middleware(BodyLimit)
    app.add_middleware(_LastResort)


def _paycall_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, PaycallError):  # pragma: no cover - the signature is Starlette's
        return problem(500, PaycallError.code, PaycallError.text)
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, TamperedError):
        _log.error("security_alarm", alarm="stored-card-tampered")
    elif status == 500:
        _log.error("request_failed", code=error.code)
    return problem(status, error.code, error.text)


def _validation_error(_: Request, __: Exception) -> JSONResponse:
    return problem(422, InputError.code, InputError.text)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status in (404, 405):  # another role's route, or nobody's
        state, actor = request.app.state, actor_of(request)
        await asyncio.to_thread(
            state.services.note_refused, actor.role, actor.source, "ask for an unknown route"
        )
    answer = problem(status, _HTTP.get(status, "refused"), "the request was refused")
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


def _database_error(_: Request, error: Exception) -> JSONResponse:
    _log.error("database_failed", error=type(error).__name__)
    return problem(503, VaultUnavailableError.code, "the vault's database cannot be reached")


class _LastResort:
    """Answers 500 for an exception that nobody expected, and logs its type and place."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            _log.error("request_failed", exc_info=True)
            if not started:
                await problem(500, PaycallError.code, PaycallError.text)(scope, receive, send)
