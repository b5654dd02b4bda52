"""The sign-in page. It works without any script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from paycall.domain.errors import PaycallError
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, language_of, render, safe_next, site_name
from paycall.panel.problems import status_of
from paycall.panel.routes.session import address_of, set_cookie, sign_in_by_turns
from paycall.panel.services.sessions import COOKIE
from paycall.panel.services.signing_in import sign_out

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class SignInPage(Page):
    """Name and password; ``error`` is a problem's code."""

    template: ClassVar[str] = "sign_in.html"
    next: str
    error: str | None
    name: str
    oidc: str | None


@router.get("/sign-in", name="sign_in_page")
def sign_in_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the parameter's name in the URL
    """The form."""
    if request.state.principal is not None:
        return RedirectResponse(safe_next(next), status_code=303)
    return page_with(request, safe_next(next))


@router.post("/sign-in", name="sign_in_form")
async def sign_in_form(request: Request, context: InContext) -> Response:
    """Sign in and go on to where the person wanted to be."""
    form = await read_form(request)
    target = safe_next(form.get("next", "/"))
    name = form.get("name", "")[:60]
    try:
        _, cookie = await sign_in_by_turns(
            request, context, name, form.get("password", "")[:200], form.get("code", "")[:20] or None
        )
    except PaycallError as error:
        return page_with(request, target, error=error.code, name=name, status=status_of(error))
    response = RedirectResponse(target, status_code=303)
    set_cookie(request, response, cookie)
    return response


@router.post("/sign-out", name="sign_out_form")
def sign_out_form(request: Request, principal: SignedIn, context: InContext) -> Response:
    """Sign out."""
    sign_out(context, principal, address_of(request))
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(COOKIE, path="/")
    return response


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded form, the first of each name."""
    body = (await request.body()).decode("utf-8", "replace")
    return {
        name: values[0] for name, values in parse_qs(body, keep_blank_values=True, max_num_fields=50).items()
    }


def page_with(
    request: Request, target: str, *, error: str | None = None, name: str = "", status: int = 200
) -> HTMLResponse:
    """The sign-in page, with an error's words."""
    oidc = request.app.state.context.deps.settings.oidc
    page = SignInPage(
        principal=None,
        language=language_of(request),
        site_name=site_name(request),
        here="sign-in",
        next=target,
        error=error,
        name=name,
        oidc=(oidc.label or urlsplit(oidc.issuer).hostname) if oidc else None,
    )
    return render(page, status)
