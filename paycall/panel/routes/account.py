"""The own account: language, looks, password, second factor; and the page of an invitation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from paycall.domain.errors import PaycallError, StateError
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, language_of, render, site_name
from paycall.panel.problems import status_of
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of, place_of, set_cookie
from paycall.panel.routes.sign_in import read_form
from paycall.panel.schemas import ChangeAccount, ChangePassword, Proven, SetSecondFactor
from paycall.panel.services import accounts, passkeys, second_factor
from paycall.panel.services.audit import note
from paycall.panel.services.proof import Ways, own, prove, ways
from paycall.panel.services.signing_in import open_for
from paycall.store.database import reading, writing
from paycall.store.tables import PasskeyRow

router = APIRouter(prefix="/api/v1", tags=["account"], responses=PROBLEMS)
pages = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class AccountPage(Page):
    """The own account. ``qr`` is the SVG of a new second factor, None where one is set up."""

    template: ClassVar[str] = "account.html"
    name: str
    must_change_password: bool
    has_second_factor: bool
    second_factor_due: bool
    secret: str
    qr: str
    passkeys: list[PasskeyRow]
    has_password: bool
    ways: Ways


@dataclass(frozen=True)
class InvitationPage(Page):
    """A first password."""

    template: ClassVar[str] = "invitation.html"
    token: str
    name: str
    error: str | None


@pages.get("/account", name="account_page")
def account_page(request: Request, principal: SignedIn, context: InContext) -> HTMLResponse:
    """The page."""
    with reading(context.deps.database) as session:
        row = own(session, principal)
        secret = second_factor.new_secret()
        uri = second_factor.setup_uri(secret, row.name, context.deps.site.name)
        return render(
            AccountPage(
                principal=principal,
                language=principal.language,
                site_name=site_name(request),
                here="account",
                name=row.name,
                must_change_password=row.must_change_password,
                has_second_factor=row.totp_sealed is not None,
                second_factor_due=context.deps.settings.require_second_factor and row.totp_sealed is None,
                secret=secret,
                qr=second_factor.qr_code(uri),
                passkeys=passkeys.of_operator(session, row.id),
                has_password=row.password_hash is not None,
                ways=ways(
                    session,
                    principal,
                    context.now(),
                    has_provider=context.deps.settings.oidc is not None,
                ),
            )
        )


@router.patch("/account", name="change_account", status_code=204)
def change_account(body: ChangeAccount, principal: SignedIn, context: InContext) -> Response:
    """Change language or looks."""
    with writing(context.deps.database) as session:
        row = own(session, principal)
        row.language = body.language or row.language
        row.theme = body.theme or row.theme
    return Response(status_code=204)


@router.post("/account/password", name="change_password", status_code=204)
def change_password(
    body: ChangePassword, request: Request, principal: SignedIn, context: InContext
) -> Response:
    """Set a new password; every session ends but this one, which gets another cookie.

    409 for an account without one: its owner signs in with the identity provider, who may take the access away.
    """
    prove(context, principal, body.proof, place_of(request), address_of(request))
    with reading(context.deps.database) as session:
        former = accounts.former_passwords(own(session, principal))
    if not former:
        raise StateError("this account has no password")
    hashed = accounts.hash_password(body.new, former)
    now, response = context.now(), Response(status_code=204)
    with writing(context.deps.database) as session:
        row = own(session, principal)
        accounts.set_password(session, row, hashed, must_change=False)
        set_cookie(request, response, open_for(session, row, now, "password-change", address_of(request)))
    return response


@router.put("/account/second-factor", name="set_second_factor", status_code=204)
def set_second_factor(
    body: SetSecondFactor, request: Request, principal: SignedIn, context: InContext
) -> Response:
    """Set up one-time codes; the code proves that the phone has the secret. 409 where there are some already."""
    prove(context, principal, body.proof, place_of(request), address_of(request))
    now = context.now()
    with writing(context.deps.database) as session:
        row = own(session, principal)
        if row.totp_sealed is not None:
            raise StateError("remove the one-time codes that are set up first")
        second_factor.set_up(row, body.secret, body.code, now, context.sealer)
        note(session, now, row.id, "second-factor-set", target=row.id, address=address_of(request))
    return Response(status_code=204)


@router.delete("/account/second-factor", name="remove_second_factor", status_code=204)
def remove_second_factor(body: Proven, request: Request, principal: SignedIn, context: InContext) -> Response:
    """Do without one-time codes, or make room for another phone's."""
    prove(context, principal, body.proof, place_of(request), address_of(request))
    now = context.now()
    with writing(context.deps.database) as session:
        row = own(session, principal)
        row.totp_sealed = None
        note(session, now, row.id, "second-factor-removed", target=row.id, address=address_of(request))
    return Response(status_code=204)


@pages.get("/invitation/{token}", name="invitation_page")
def invitation_page(token: str, request: Request, context: InContext) -> HTMLResponse:
    """The form for a first password."""
    with reading(context.deps.database) as session:
        row = accounts.invited(session, token, context.now())
        return render(_invitation(request, token, row.name, None))


@pages.post("/invitation/{token}", name="invitation_form")
async def invitation_form(token: str, request: Request, context: InContext) -> Response:
    """Set the password and sign in."""
    form = await read_form(request)

    def look(session: Session) -> tuple[str, tuple[str, ...]]:
        row = accounts.invited(session, token, context.now())
        return row.name, accounts.former_passwords(row)

    name, former = await context.read(look)
    try:
        password = form.get("password", "")[:200]
        hashed = await asyncio.to_thread(accounts.hash_password, password, former)
    except PaycallError as error:
        return render(_invitation(request, token, name, error.code), status_of(error))

    def accept(session: Session) -> str:
        now = context.now()
        row = accounts.accept_invitation(session, token, hashed, now)
        return open_for(session, row, now, "invitation-accepted", address_of(request))

    cookie = await context.write(accept)
    response = RedirectResponse("/", status_code=303)
    set_cookie(request, response, cookie)
    return response


def _invitation(request: Request, token: str, name: str, error: str | None) -> InvitationPage:
    return InvitationPage(
        principal=None,
        language=language_of(request),
        site_name=site_name(request),
        here="",
        token=token,
        name=name,
        error=error,
    )
