"""The own account: language, looks, password, second factor; and the page of an invitation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError, PaycallError, StateError
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, language_of, render, site_name
from paycall.panel.problems import status_of
from paycall.panel.roles import Principal
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of, set_cookie
from paycall.panel.routes.sign_in import read_form
from paycall.panel.schemas import ChangeAccount, ChangePassword, RemoveSecondFactor, SetSecondFactor
from paycall.panel.services import accounts, passkeys, second_factor
from paycall.panel.services.audit import note
from paycall.panel.services.signing_in import open_for
from paycall.store.database import reading, writing
from paycall.store.tables import OperatorRow, PasskeyRow

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
    """Set a new password; every session ends but this one, which gets another cookie."""
    check_password(context, principal, body.current)
    now, response = context.now(), Response(status_code=204)
    with writing(context.deps.database) as session:
        row = own(session, principal)
        accounts.set_password(session, row, body.new, must_change=False)
        set_cookie(request, response, open_for(session, row, now, "password-change", address_of(request)))
    return response


@router.put("/account/second-factor", name="set_second_factor", status_code=204)
def set_second_factor(
    body: SetSecondFactor, request: Request, principal: SignedIn, context: InContext
) -> Response:
    """Set up one-time codes; the code proves that the phone has the secret.

    Where there are some already they are removed first, which takes the password: whoever finds a screen unlocked
    does not make the account their own.
    """
    now = context.now()
    with writing(context.deps.database) as session:
        row = own(session, principal)
        if row.totp_sealed is not None:
            raise StateError("remove the one-time codes that are set up first")
        second_factor.set_up(row, body.secret, body.code, now, context.sealer)
        note(session, now, row.id, "second-factor-set", target=row.id, address=address_of(request))
    return Response(status_code=204)


@router.delete("/account/second-factor", name="remove_second_factor", status_code=204)
def remove_second_factor(
    body: RemoveSecondFactor, request: Request, principal: SignedIn, context: InContext
) -> Response:
    """Do without one-time codes, where the site allows it; the password is asked for once more."""
    check_password(context, principal, body.password)
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

    def accept(session: Session) -> str:
        now = context.now()
        row = accounts.accept_invitation(session, token, form.get("password", "")[:200], now)
        return open_for(session, row, now, "invitation-accepted", address_of(request))

    try:
        cookie = await context.write(accept)
    except NotFoundError:
        raise
    except PaycallError as error:
        row = await context.read(lambda session: accounts.invited(session, token, context.now()))
        return render(_invitation(request, token, row.name, error.code), status_of(error))
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


def own(session: Session, principal: Principal) -> OperatorRow:
    """The account of who asks."""
    row = session.get(OperatorRow, principal.operator_id)
    if row is None:
        raise NotFoundError
    return row


def check_password(context: InContext, principal: Principal, password: str | None) -> None:
    """Raise unless this is the person's password; wrong tries count as they do at sign-in.

    An account without a password (its owner signs in with the identity provider) needs none.
    """
    with reading(context.deps.database) as session:
        row = own(session, principal)
        account = accounts.known(session, row.name)
        if row.password_hash is None:
            return
    right = accounts.password_is_right(account, password or "")
    with writing(context.deps.database) as session:
        now = context.now()
        tried = accounts.account_to_try(session, account, now)
        if tried is not None and not right:
            accounts.note_failure(session, tried, now)
    if tried is None or not right:
        raise accounts.SignInError
