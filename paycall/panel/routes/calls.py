"""Calls in progress and past."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.call import CallState
from paycall.domain.errors import InputError
from paycall.domain.free_text import holds_card_number
from paycall.domain.money import Money
from paycall.panel.access import InContext, SignedIn
from paycall.panel.routes.session import address_of
from paycall.panel.schemas import Call, Calls, CreatePayment, Id, PauseRecording, Payment, TestCall
from paycall.panel.services.audit import note
from paycall.panel.services.captures import NewPayment
from paycall.panel.services.services import InServices
from paycall.panel.services.views import call_view, call_views, localise_payment
from paycall.panel.services.visibility import call_for, calls_of, payment_for
from paycall.store.database import reading
from paycall.store.tables import CallRow

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text}
    for status, text in (
        (401, "not signed in"),
        (403, "not allowed, or sent by another site's page"),
        (404, "there is no such thing, or it is not yours to see"),
        (409, "not in this state"),
        (413, "too large"),
        (422, "not valid; the input is not repeated"),
        (429, "more than this key may ask; wait a second"),
        (503, "the cell or the vault did not answer"),
    )
}
router = APIRouter(prefix="/api/v1", tags=["calls"], responses=PROBLEMS)


class KeyMissingError(InputError):
    """A payment was asked for without an Idempotency-Key."""

    code = "idempotency-key-required"
    text = "send an Idempotency-Key header with at most 200 visible characters"
    http_status = 400


class CardNumberInTextError(InputError):
    """A card number is in a place that is written down."""

    code = "card-number-in-text"
    text = "a card number must never be written down"


@router.get("/calls", name="list_calls")
def list_calls(
    principal: SignedIn,
    context: InContext,
    state: Literal["current", "ended", "all"] = "current",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Calls:
    """Calls that you may see, the newest first; by default those in progress."""
    query = select(CallRow).where(calls_of(principal)).order_by(CallRow.started_at.desc()).limit(limit)
    if state == "current":
        query = query.where(CallRow.state != CallState.ENDED.value)
    elif state == "ended":
        query = query.where(CallRow.state == CallState.ENDED.value)
    with reading(context.deps.database) as session:
        return Calls(calls=[Call(**view) for view in call_views(session, session.scalars(query).all())])


@router.get("/calls/{call_id}", name="get_call")
def get_call(call_id: Id, principal: SignedIn, context: InContext) -> Call:
    """One call."""
    with reading(context.deps.database) as session:
        return Call(**call_view(session, call_for(session, call_id, principal)))


@router.post("/calls/{call_id}/hang-up", name="hang_up", status_code=202)
async def hang_up(call_id: Id, principal: SignedIn, context: InContext) -> Call:
    """End the call; ``call.ended`` follows."""
    await context.read(lambda session: call_for(session, call_id, principal))
    await context.deps.calls.hang_up(call_id)
    view = await context.read(lambda session: call_view(session, call_for(session, call_id, principal)))
    return Call(**view)


@router.post("/calls/{call_id}/recording", name="pause_recording", status_code=202)
async def pause_recording(
    call_id: Id, body: PauseRecording, request: Request, principal: SignedIn, context: InContext
) -> Call:
    """Record silence from now on, or sound again; 409 where the call is not recorded."""
    await context.read(lambda session: call_for(session, call_id, principal))
    await context.deps.calls.pause_recording(call_id, body.paused)

    def told(session: Session) -> dict[str, Any]:
        what = "recording-paused" if body.paused else "recording-resumed"
        note(session, context.now(), principal.operator_id, what, target=call_id, address=address_of(request))
        return call_view(session, call_for(session, call_id, principal))

    return Call(**await context.write(told))


@router.post("/test-calls", name="start_test_call", status_code=202)
async def start_test_call(principal: SignedIn, services: InServices) -> TestCall:
    """Let a scripted caller call you; ``call.arrived`` follows."""
    return TestCall(test_call_id=await services.test_calls.start(principal))


@router.post(
    "/calls/{call_id}/payments",
    name="create_payment",
    status_code=201,
    responses={
        200: {"model": Payment, "description": "this Idempotency-Key was used before: the same payment"},
        400: {"description": "no Idempotency-Key"},
    },
)
async def create_payment(
    call_id: Id,
    body: CreatePayment,
    response: Response,
    principal: SignedIn,
    context: InContext,
    services: InServices,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Payment:
    """Start a payment: the agent leg is masked and the caller is asked for the fields.

    409 ``outcome-unknown``: what became of this caller's charge of the same amount is not known; if another is meant
    all the same, ``confirm_duplicate``.
    """
    if not idempotency_key or len(idempotency_key) > 200 or not idempotency_key.isprintable():
        raise KeyMissingError
    if holds_card_number(idempotency_key):
        raise CardNumberInTextError
    new = NewPayment(
        money=Money(body.amount_minor, body.currency),
        reference=body.reference,
        description=body.description,
        fields=() if body.kept_card else body.fields,
        caller_language=body.caller_language,
        token_type=body.token_type,
        kept_card=body.kept_card,
        confirm_duplicate=body.confirm_duplicate,
    )
    payment_id, fresh = await services.captures.create(call_id, new, idempotency_key, principal)
    response.status_code = 201 if fresh else 200
    view = await context.read(
        lambda session: context.view_of_payment(session, payment_for(session, payment_id, principal))
    )
    return Payment(**localise_payment(view, principal.language))
