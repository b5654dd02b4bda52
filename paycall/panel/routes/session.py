"""Signing in and out, for programs and for the page's form."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from paycall.panel.access import InContext, SignedIn
from paycall.panel.roles import Principal
from paycall.panel.schemas import Operator, Session, SignIn
from paycall.panel.services.context import Context
from paycall.panel.services.passkeys import Where
from paycall.panel.services.sessions import COOKIE
from paycall.panel.services.signing_in import sign_in, sign_out
from paycall.panel.sign_in_gate import SignInGate

router = APIRouter(prefix="/api/v1", tags=["session"])


@router.post(
    "/session",
    name="open_session",
    responses={
        403: {"description": "wrong, or locked"},
        429: {"description": "too many at once; wait a moment"},
    },
)
async def open_session(body: SignIn, request: Request, response: Response, context: InContext) -> Session:
    """Sign in with name and password; the answer sets the cookie."""
    principal, cookie = await sign_in_by_turns(request, context, body.name, body.password, body.code)
    set_cookie(request, response, cookie)
    return Session(operator=operator_view(principal))


@router.get("/session", name="get_session")
def get_session(principal: SignedIn) -> Session:
    """Who is signed in."""
    return Session(operator=operator_view(principal))


@router.delete("/session", name="close_session", status_code=204)
def close_session(principal: SignedIn, request: Request, context: InContext) -> Response:
    """Sign out."""
    sign_out(context, principal, address_of(request))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


async def sign_in_by_turns(
    request: Request, context: Context, name: str, password: str, code: str | None
) -> tuple[Principal, str]:
    """Sign in when it is this one's turn; gives who it is and the cookie."""
    gate: SignInGate = request.app.state.sign_in_gate
    address, now_s = address_of(request), context.deps.clock.monotonic()
    return await gate.run(address, now_s, sign_in, context, name, password, code, address)


def set_cookie(request: Request, response: Response, cookie: str) -> None:
    """Hand the cookie to the browser: for its own requests to us, and in frames only where a setting allows them.

    Which site a request comes from is checked by its Fetch metadata in any case.
    """
    framed = bool(request.app.state.context.deps.settings.frame_ancestors)
    response.set_cookie(
        COOKIE,
        cookie,
        httponly=True,
        samesite="none" if framed else "lax",
        secure=framed or place_of(request).origin.startswith("https:"),
        path="/",
    )


def place_of(request: Request) -> Where:
    """The panel as browsers know it: by the setting ``public_url``, else as this request calls it."""
    url = urlsplit(request.app.state.context.deps.settings.public_url or str(request.base_url))
    return Where(str(url.hostname), f"{url.scheme}://{url.netloc}")


def address_of(request: Request) -> str:
    """Where the request came from, for the audit."""
    return request.client.host if request.client else ""


def operator_view(principal: Principal) -> Operator:
    """The person as the API shows it."""
    return Operator(
        id=principal.id,
        name=principal.name,
        role=principal.role.value if principal.role else "",
        language=principal.language,
        permissions=sorted(principal.permissions),
    )
