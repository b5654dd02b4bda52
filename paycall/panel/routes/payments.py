"""Payments: capture, charge, cancel, settle, void, refund.

What takes time is answered with 202 as soon as it is written down; the outcome follows as ``payment.*`` events.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select

from paycall.domain.fields import Field as CardField
from paycall.domain.payment import PaymentState
from paycall.panel.access import InContext, SignedIn
from paycall.panel.roles import Principal
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.schemas import Authorize, Id, Payment, Payments, Refund, Review, Settle, TakeFields
from paycall.panel.services.context import Context
from paycall.panel.services.services import InServices
from paycall.panel.services.views import localise_payment
from paycall.panel.services.visibility import payment_for, payments_of
from paycall.store.database import reading
from paycall.store.tables import PaymentRow

router = APIRouter(prefix="/api/v1", tags=["payments"], responses=PROBLEMS)


@router.get("/payments", name="list_payments")
def list_payments(
    principal: SignedIn,
    context: InContext,
    call_id: Id | None = None,
    state: PaymentState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Payments:
    """Payments that you may see, the newest first."""
    query = (
        select(PaymentRow).where(payments_of(principal)).order_by(PaymentRow.created_at.desc()).limit(limit)
    )
    if call_id is not None:
        query = query.where(PaymentRow.call_id == call_id)
    if state is not None:
        query = query.where(PaymentRow.state == state.value)
    with reading(context.deps.database) as session:
        views = [context.view_of_payment(session, row) for row in session.scalars(query)]
    return Payments(payments=[Payment(**localise_payment(view, principal.language)) for view in views])


@router.get("/payments/{payment_id}", name="get_payment")
async def get_payment(payment_id: Id, principal: SignedIn, context: InContext) -> Payment:
    """One payment: state, fields and their progress, attempts."""
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/capture", name="capture_fields", status_code=202)
async def capture_fields(
    payment_id: Id, body: TakeFields, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """Ask the caller for these fields (again); the others are kept."""
    await services.captures.take(payment_id, body.fields, principal)
    return await _shown(context, payment_id, principal)


@router.delete("/payments/{payment_id}/capture", name="end_capture", status_code=202)
async def end_capture(
    payment_id: Id, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """End the capture on your own word: the mask comes off two seconds after the last key at the earliest."""
    await services.captures.end(payment_id, principal)
    return await _shown(context, payment_id, principal)


@router.delete("/payments/{payment_id}/fields/{field}", name="drop_field", status_code=202)
async def drop_field(
    payment_id: Id, field: CardField, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """Do without a security code or postal code that is missing (``may_drop``)."""
    await services.dropping.drop(payment_id, field, principal)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/authorize", name="authorize_payment", status_code=202)
async def authorize_payment(
    payment_id: Id,
    principal: SignedIn,
    context: InContext,
    services: InServices,
    body: Authorize | None = None,
) -> Payment:
    """Charge the captured card. 409 ``possible-duplicate`` or ``outcome-unknown`` asks for ``confirm_duplicate``."""
    confirmed = body is not None and body.confirm_duplicate
    await services.authorizations.authorize(payment_id, principal, confirm_duplicate=confirmed)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/cancel", name="cancel_payment", status_code=202)
async def cancel_payment(
    payment_id: Id, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """Call the payment off; the capture ends and the vault forgets the card."""
    await services.captures.cancel(payment_id, principal)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/enquire", name="enquire_payment", status_code=202)
async def enquire_payment(
    payment_id: Id, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """Have the acquirer asked now what became of an ``unknown`` charge: an enquiry, which charges nothing."""
    await services.unknown.enquire(payment_id, principal)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/set-aside", name="set_payment_aside", status_code=202)
async def set_payment_aside(
    payment_id: Id, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """Stop waiting for an ``unknown`` outcome: the line opens, the search goes on.

    If it turns out approved, it is voided after ten minutes unless somebody settles it.
    """
    await services.unknown.set_aside(payment_id, principal)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/settle", name="settle_payment", status_code=202)
async def settle_payment(
    payment_id: Id,
    principal: SignedIn,
    context: InContext,
    services: InServices,
    body: Settle | None = None,
) -> Payment:
    """Take the approved amount or, where the acquirer can, a part: the rest is released. Keeps a late approval."""
    amount = body.amount_minor if body is not None else None
    await services.operations.request(payment_id, "settle", principal, amount)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/void", name="void_payment", status_code=202)
async def void_payment(
    payment_id: Id, principal: SignedIn, context: InContext, services: InServices
) -> Payment:
    """Release the approved amount."""
    await services.operations.request(payment_id, "void", principal)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/refund", name="refund_payment", status_code=202)
async def refund_payment(
    payment_id: Id,
    principal: SignedIn,
    context: InContext,
    services: InServices,
    body: Refund | None = None,
) -> Payment:
    """Give back an amount, or all that is left."""
    amount = body.amount_minor if body is not None else None
    await services.operations.request(payment_id, "refund", principal, amount)
    return await _shown(context, payment_id, principal)


@router.post("/payments/{payment_id}/review", name="review_payment", status_code=202)
async def review_payment(
    payment_id: Id, principal: SignedIn, context: InContext, services: InServices, body: Review
) -> Payment:
    """Close what ``needs_review``, as you found it in the acquirer's own tool."""
    await services.reviews.close(payment_id, principal, body.verdict, body.acquirer_reference or None)
    return await _shown(context, payment_id, principal)


async def _shown(context: Context, payment_id: str, principal: Principal) -> Payment:
    view = await context.read(
        lambda session: context.view_of_payment(session, payment_for(session, payment_id, principal))
    )
    return Payment(**localise_payment(view, principal.language))
