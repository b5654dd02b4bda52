"""Rendering pages: one Jinja environment a language, one typed context a page.

Rules: everything is escaped; a template that uses a name which its context does not have fails the tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from paycall.domain.errors import PaycallError
from paycall.domain.money import exponent
from paycall.panel import languages, words
from paycall.panel.access import NotSignedInError, UnfinishedError
from paycall.panel.problems import problem, status_of
from paycall.panel.roles import Permission, Principal

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """What every page shows. ``template`` names its file."""

    template: ClassVar[str]
    principal: Principal | None
    language: str
    site_name: str
    here: str

    @property
    def theme(self) -> str:
        """auto, light or dark."""
        return self.principal.theme if self.principal else "auto"


@dataclass(frozen=True)
class ErrorPage(Page):
    """Something did not work."""

    template: ClassVar[str] = "error.html"
    code: str
    text: str


@lru_cache(maxsize=len(languages.LANGUAGES))
def environment(language: str) -> Environment:
    """The environment of a language."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    catalogue = languages.translations(language)
    env.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]

    def say(name: str | None, vocabulary: dict[str, str]) -> str:
        text = vocabulary.get(name or "", name or "")
        return catalogue.gettext(text) if text else ""

    env.filters["say"] = say
    env.filters["money"] = lambda minor, currency: languages.money(minor, currency, language)
    env.filters["decimals"] = exponent
    env.filters["sum_money"] = lambda minor, currency: languages.sum_money(minor, currency, language)
    env.filters["moment"] = lambda value: languages.moment(value, language)
    env.filters["clock_time"] = lambda value: languages.clock_time(value, language)
    env.filters["epoch_ms"] = lambda value: int(value.timestamp() * 1000)
    env.globals.update(
        digits_short=digits_short, words=words, LANGUAGES=languages.LANGUAGES, Permission=Permission
    )
    messages = json.dumps({code: catalogue.gettext(text) for code, text in words.PROBLEMS.items()})
    env.globals["messages"] = Markup(messages.replace("<", "\\u003c"))  # noqa: S704 - our own words, as JSON
    return env


def render(page: Page, status: int = 200) -> HTMLResponse:
    """The page as an answer."""
    return HTMLResponse(render_text(page), status_code=status)


def render_text(page: Page) -> str:
    """The page's HTML."""
    context: dict[str, Any] = {field.name: getattr(page, field.name) for field in fields(page)}
    return environment(page.language).get_template(page.template).render(context, theme=page.theme)


def language_of(request: Request) -> str:
    """The reader's language: the person's own, else the browser's, else the site's."""
    principal = getattr(request.state, "principal", None)
    if isinstance(principal, Principal):
        return principal.language
    default = request.app.state.context.deps.site.language
    return languages.preferred(request.headers.get("accept-language", ""), default)


def site_name(request: Request) -> str:
    """What the site is called."""
    return str(request.app.state.context.deps.site.name)


def is_page(request: Request) -> bool:
    """Whether a person's browser asked for a page (and not a script of ours, or a program)."""
    path = request.url.path
    return not path.startswith(("/api/", "/fragments/", "/static/")) and "text/html" in request.headers.get(
        "accept", ""
    )


def page_handlers(app: FastAPI) -> None:
    """Errors on pages are pages; whoever is not signed in is sent to sign in."""

    @app.exception_handler(PaycallError)
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, PaycallError)  # noqa: S101 - by registration
        if not is_page(request):
            headers = {"retry-after": "1"} if status_of(error) == 429 else {}
            return problem(status_of(error), error.code, error.text, **headers)
        if isinstance(error, NotSignedInError):
            return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", status_code=303)
        if isinstance(error, UnfinishedError):
            return RedirectResponse("/account", status_code=303)
        page = ErrorPage(
            principal=getattr(request.state, "principal", None),
            language=language_of(request),
            site_name=site_name(request),
            here="",
            code=error.code,
            text=words.PROBLEMS.get(error.code, words.PROBLEMS["internal-error"]),
        )
        return render(page, status_of(error))


def digits_short(brand: str | None, digits: int) -> int:
    """How many digits a refused card number was too short by; 0 where that was not what was wrong."""
    usual = 15 if brand == "amex" else 16
    return usual - digits if usual - 4 <= digits < usual else 0


def safe_next(path: str) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
