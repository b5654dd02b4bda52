"""Passkeys: set up and removed on the own account's page, another way to sign in and to prove who asks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, StringConstraints

from paycall.domain.errors import PaycallError
from paycall.panel.access import InContext, SignedIn
from paycall.panel.rate_limit import RateLimit, TooManyError
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of, operator_view, place_of, set_cookie
from paycall.panel.schemas import Answer, Proven, Session, Text
from paycall.panel.schemas import Request as Body
from paycall.panel.services import passkeys
from paycall.panel.services.audit import note
from paycall.panel.services.proof import own, prove
from paycall.panel.services.sessions import principal_of
from paycall.panel.services.signing_in import note_refusal, open_for
from paycall.store.database import writing

router = APIRouter(prefix="/api/v1", tags=["passkeys"], responses=PROBLEMS)
CredentialId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,1400}$")]


class Options(Answer):
    """What ``navigator.credentials`` is to be called with, as ``parse…OptionsFromJSON`` reads it."""

    options: dict[str, Any]


class NewPasskey(Body):
    """What ``navigator.credentials.create`` gave (``toJSON``), and a name to recognise it by."""

    credential: dict[str, Any]
    name: Annotated[Text, StringConstraints(min_length=1)] = Field(examples=["Laptop"])


class UsedPasskey(Body):
    """What ``navigator.credentials.get`` gave (``toJSON``)."""

    credential: dict[str, Any]


@router.post("/account/passkeys/options", name="begin_passkey")
def begin_passkey(body: Proven, request: Request, principal: SignedIn, context: InContext) -> Options:
    """Begin to set a passkey up."""
    prove(context, principal, body.proof, place_of(request), address_of(request))
    with writing(context.deps.database) as session:
        options = passkeys.begin_registration(
            session, own(session, principal), place_of(request), context.deps.site.name, context.now()
        )
    return Options(options=options)


@router.post("/account/passkeys", name="add_passkey", status_code=204)
def add_passkey(body: NewPasskey, request: Request, principal: SignedIn, context: InContext) -> Response:
    """Keep the passkey that was made."""
    now = context.now()
    with writing(context.deps.database) as session:
        row = own(session, principal)
        passkeys.register(session, row, body.credential, body.name, place_of(request), now)
        note(session, now, row.id, "passkey-add", target=row.id, address=address_of(request))
    return Response(status_code=204)


@router.delete("/account/passkeys/{credential_id}", name="remove_passkey", status_code=204)
def remove_passkey(
    credential_id: CredentialId, body: Proven, request: Request, principal: SignedIn, context: InContext
) -> Response:
    """Do without a passkey."""
    prove(context, principal, body.proof, place_of(request), address_of(request))
    now = context.now()
    with writing(context.deps.database) as session:
        row = own(session, principal)
        passkeys.remove(session, row.id, credential_id)
        note(session, now, row.id, "passkey-remove", target=row.id, address=address_of(request))
    return Response(status_code=204)


@router.post("/account/proof/options", name="begin_proof")
def begin_proof(request: Request, principal: SignedIn, context: InContext) -> Options:
    """Begin to prove with a passkey that it is you; what it answers is a request's ``proof.passkey``."""
    with writing(context.deps.database) as session:
        return Options(
            options=passkeys.begin_proof(session, own(session, principal), place_of(request), context.now())
        )


@router.post("/session/passkey/options", name="begin_passkey_session")
def begin_passkey_session(request: Request, context: InContext) -> Options:
    """Begin to sign in with a passkey."""
    limit: RateLimit = request.app.state.sign_in_limit
    if not limit.allows(address_of(request), context.deps.clock.monotonic()):
        raise TooManyError
    with writing(context.deps.database) as session:
        return Options(options=passkeys.begin_sign_in(session, place_of(request), context.now()))


@router.post("/session/passkey", name="open_passkey_session")
def open_passkey_session(
    body: UsedPasskey, request: Request, response: Response, context: InContext
) -> Session:
    """Sign in with a passkey; the answer sets the cookie."""
    now = context.now()
    try:
        with writing(context.deps.database) as session:
            row = passkeys.recognise(session, body.credential, place_of(request), now)
            cookie = open_for(session, row, now, "passkey-sign-in", address_of(request), method="passkey")
            principal = principal_of(row, method="passkey")
    except PaycallError as error:
        note_refusal(context, None, error, address_of(request))
        raise
    set_cookie(request, response, cookie)
    return Session(operator=operator_view(principal))
