"""Errors as ``application/problem+json``.

Rules: the text is ours and fixed; what was sent is never repeated - not even by FastAPI's own validation, whose
errors carry the input: only the place of the first error is told, if it is one of our own names.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from paycall.domain.errors import (
    AcquirerFault,
    InputError,
    LinkError,
    NotAllowedError,
    NotFoundError,
    PaycallError,
    StateError,
    VaultUnavailableError,
)

_log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[PaycallError], int], ...] = (
    (InputError, 422),
    (NotFoundError, 404),
    (NotAllowedError, 403),
    (StateError, 409),
    (LinkError, 503),
    (VaultUnavailableError, 503),
    (AcquirerFault, 502),
)
_HTTP_CODES = {
    400: ("bad-request", "the request cannot be read"),
    401: ("not-signed-in", "sign in first"),
    403: ("not-allowed", "this is not allowed"),
    404: ("not-found", "there is no such thing"),
    405: ("method-not-allowed", "this address does not know this method"),
    406: ("not-acceptable", "this cannot be given in the form that was asked for"),
    413: ("too-large", "the request is too large"),
    415: ("unsupported-media-type", "send JSON"),
}


class Problem(BaseModel):
    """What an error looks like (RFC 9457). ``code`` is for programs, ``title`` for people."""

    type: str
    title: str
    status: int
    code: str
    field: str | None = None


def status_of(error: PaycallError) -> int:
    """The HTTP status of one of our errors."""
    own = getattr(error, "http_status", None)
    if isinstance(own, int):
        return own
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(status: int, code: str, title: str, field: str | None = None, **headers: str) -> JSONResponse:
    """A problem document."""
    body = Problem(type=f"urn:paycall:problem:{code}", title=title, status=status, code=code, field=field)
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=status, media_type=MEDIA_TYPE, headers=headers or None
    )


_WAYS_IN = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "paycall_session",
        "description": "a person's sign-in",
    },
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "a program's API key; see docs/api.md for scopes",
    },
}


def describe(document: dict[str, Any], scopes: dict[str, list[str]]) -> dict[str, Any]:
    """The OpenAPI document with our errors instead of FastAPI's, and who may call what.

    Parameters
    ----------
    scopes
        By the operation's id: the scopes with which a program may call it, none where only people may. What is not
        named is open to everybody.
    """
    document["components"]["securitySchemes"] = _WAYS_IN
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            given = scopes.get(operation["operationId"])
            if given is not None:
                operation["security"] = [{"session": []}, *([{"key": []}] if given else [])]
                who = " or ".join(f"`{scope}`" for scope in given) if given else "people only"
                operation["description"] = f"{operation.get('description', '')}\n\nScope: {who}.".strip()
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")):
                    answer["content"] = content
                    answer["description"] = answer["description"].replace("Validation Error", "not valid")
    return document


def add_handlers(app: FastAPI) -> None:
    """Answer every error of this app in our own words."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - by registration
        field = _first_field(error)
        if any("card number" in str(found.get("msg")) for found in error.errors()):
            return problem(422, "card-number-in-text", "a card number must never be written down", field)
        return problem(422, "invalid-input", "the request is not valid", field)

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - by registration
        code, title = _HTTP_CODES.get(error.status_code, ("error", "the request was not accepted"))
        return problem(error.status_code, code, title, **dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("request_failed", method=request.method, error=type(error).__name__)
        return problem(500, "internal-error", "something went wrong inside paycall")


def _first_field(error: RequestValidationError) -> str | None:
    """The name of the first wrong field, if the name is ours and not something that was sent."""
    first: Any = error.errors()[0] if error.errors() else {}
    if first.get("type") == "extra_forbidden":
        return None
    names = [part for part in first.get("loc", ()) if isinstance(part, str)]
    return names[1] if len(names) > 1 else None
