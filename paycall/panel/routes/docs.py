"""The API's description: OpenAPI, and a page of our own that shows it without any outside asset."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from paycall.panel.pages import Page, language_of, render, site_name
from paycall.panel.problems import describe
from paycall.panel.schemas import Health

router = APIRouter(tags=["about"])


@dataclass(frozen=True)
class Endpoint:
    """A call of the API, as the page lists it."""

    method: str
    path: str
    summary: str
    description: str
    example: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DocsPage(Page):
    """The API's calls, by their tag."""

    template: ClassVar[str] = "docs.html"
    version: str
    groups: tuple[tuple[str, tuple[Endpoint, ...]], ...]


@router.get("/health", name="health", tags=["about"])
def health() -> Health:
    """The panel answers."""
    return Health()


@router.get("/openapi.json", name="openapi", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(_document(request))


@router.get("/docs", name="docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """The API for people."""
    document = _document(request)
    return render(
        DocsPage(
            principal=request.state.principal,
            language=language_of(request),
            site_name=site_name(request),
            here="docs",
            version=document["info"]["version"],
            groups=_groups(document),
        )
    )


def _document(request: Request) -> dict[str, Any]:
    return describe(copy.deepcopy(request.app.openapi()), request.app.state.scopes)


def _example(document: dict[str, Any], operation: dict[str, Any]) -> str:
    """A body that could be sent, of the examples that the fields have; "" where they have none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    kinds = [content.get("schema", {}), *content.get("schema", {}).get("anyOf", [])]
    named = [kind["$ref"].rpartition("/")[2] for kind in kinds if "$ref" in kind]
    if not named:
        return ""
    fields = document["components"]["schemas"][named[0]].get("properties", {})
    body = {name: field["examples"][0] for name, field in fields.items() if field.get("examples")}
    return json.dumps(body, ensure_ascii=False) if body else ""


def _groups(document: dict[str, Any]) -> tuple[tuple[str, tuple[Endpoint, ...]], ...]:
    found: dict[str, list[Endpoint]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = tuple((code, answer["description"]) for code, answer in operation["responses"].items())
            endpoint = Endpoint(
                method.upper(),
                path,
                operation["summary"],
                operation.get("description", ""),
                _example(document, operation),
                answers,
            )
            found.setdefault(operation.get("tags", [""])[0], []).append(endpoint)
    return tuple((tag, tuple(endpoints)) for tag, endpoints in found.items())
