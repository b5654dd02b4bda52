"""The webhooks that events are sent to, and what became of each event. For administrators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError, StateError
from paycall.domain.ids import new_id
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.program_schemas import (
    AddWebhook,
    ChangeWebhook,
    Deliveries,
    Delivery,
    DeliveryState,
    NewWebhook,
    RollSecret,
    Webhook,
    Webhooks,
)
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of
from paycall.panel.schemas import Id
from paycall.panel.services import webhook_events, webhook_sender
from paycall.panel.services.audit import note
from paycall.panel.services.webhook_address import check_url
from paycall.store.database import reading, writing
from paycall.store.tables import DeliveryRow, WebhookRow

router = APIRouter(prefix="/api/v1", tags=["programs"], responses=PROBLEMS)
pages = APIRouter(include_in_schema=False)
_ON_THE_PAGE = 200


@dataclass(frozen=True)
class DeliveriesPage(Page):
    """A webhook's deliveries, those of one state if one was asked for."""

    template: ClassVar[str] = "deliveries.html"
    webhook: Webhook
    deliveries: list[Delivery]
    state: str


@pages.get("/programs/webhooks/{webhook_id}", name="deliveries_page")
def deliveries_page(
    webhook_id: Id,
    request: Request,
    principal: SignedIn,
    context: InContext,
    state: DeliveryState | Annotated[str, Query(max_length=0)] = "",
) -> HTMLResponse:
    """The page."""
    with reading(context.deps.database) as session:
        row = session.get(WebhookRow, webhook_id)
        if row is None:
            raise NotFoundError
        return render(
            DeliveriesPage(
                principal=principal,
                language=principal.language,
                site_name=site_name(request),
                here="programs",
                webhook=webhook_view(row),
                deliveries=newest_deliveries(session, webhook_id, _ON_THE_PAGE, state),
                state=state,
            )
        )


@router.get("/webhook-subscriptions", name="list_webhooks")
def list_webhooks(context: InContext) -> Webhooks:
    """Where events are sent."""
    with reading(context.deps.database) as session:
        return Webhooks(webhooks=[webhook_view(row) for row in all_webhooks(session)])


@router.post("/webhook-subscriptions", name="add_webhook", status_code=201)
def add_webhook(body: AddWebhook, request: Request, principal: SignedIn, context: InContext) -> NewWebhook:
    """Have events sent to an address. The secret that signs them is in this answer and nowhere else."""
    check_url(body.url, webhook_sender.places_of(context))
    now, secret = context.now(), webhook_sender.new_secret()
    with writing(context.deps.database) as session:
        webhook_id = new_id("hook")
        row = WebhookRow(
            id=webhook_id,
            url=body.url,
            events=sorted(set(body.events)),
            secret_sealed=context.sealer.seal(secret, webhook_id),
            enabled=True,
            created_by=principal.id,
            created_at=now,
        )
        session.add(row)
        note(session, now, principal.id, "webhook-add", target=row.id, address=address_of(request))
        return NewWebhook(webhook=webhook_view(row), secret=secret)


@router.patch("/webhook-subscriptions/{webhook_id}", name="change_webhook")
def change_webhook(
    webhook_id: Id, body: ChangeWebhook, request: Request, principal: SignedIn, context: InContext
) -> Webhook:
    """Send to it again, or leave off; what is pending waits until it is sent to again."""
    now = context.now()
    with writing(context.deps.database) as session:
        row = _found(session, webhook_id)
        row.enabled, row.failing_since = body.enabled, None
        note(session, now, principal.id, "webhook-change", target=row.id, address=address_of(request))
        return webhook_view(row)


@router.delete("/webhook-subscriptions/{webhook_id}", name="remove_webhook", status_code=204)
def remove_webhook(webhook_id: Id, request: Request, principal: SignedIn, context: InContext) -> Response:
    """Remove it, with its deliveries."""
    now = context.now()
    with writing(context.deps.database) as session:
        row = _found(session, webhook_id)
        session.execute(delete(DeliveryRow).where(DeliveryRow.webhook_id == row.id))
        session.delete(row)
        note(session, now, principal.id, "webhook-remove", target=webhook_id, address=address_of(request))
    return Response(status_code=204)


@router.post("/webhook-subscriptions/{webhook_id}/test", name="test_webhook", status_code=202)
async def test_webhook(webhook_id: Id, context: InContext) -> Delivery:
    """Send ``webhook.test`` to it; what became of it stands in its deliveries."""

    def write(session: Session) -> Delivery:
        row = _found(session, webhook_id)
        made = webhook_events.delivery(row.id, webhook_events.TEST_EVENT, {}, context.now())
        session.add(made)
        return _delivery(made)

    made = await context.write(write)
    context.deliveries_written.set()
    return made


@router.post("/webhook-subscriptions/{webhook_id}/secret", name="roll_webhook_secret")
def roll_webhook_secret(
    webhook_id: Id, body: RollSecret, request: Request, principal: SignedIn, context: InContext
) -> NewWebhook:
    """Make another secret. Until the grace time is over each delivery is signed with both, so that none is missed."""
    now, secret = context.now(), webhook_sender.new_secret()
    with writing(context.deps.database) as session:
        row = _found(session, webhook_id)
        until = now + timedelta(hours=body.grace_hours) if body.grace_hours else None
        row.former_secret_sealed = row.secret_sealed if until else None
        row.former_secret_until = until
        row.secret_sealed = context.sealer.seal(secret, webhook_id)
        note(session, now, principal.id, "webhook-secret", target=row.id, address=address_of(request))
        return NewWebhook(webhook=webhook_view(row), secret=secret)


@router.get("/webhook-subscriptions/{webhook_id}/deliveries", name="list_deliveries")
def list_deliveries(
    webhook_id: Id,
    context: InContext,
    state: DeliveryState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Deliveries:
    """The newest deliveries, of the last 30 days."""
    with reading(context.deps.database) as session:
        if session.get(WebhookRow, webhook_id) is None:
            raise NotFoundError
        return Deliveries(deliveries=newest_deliveries(session, webhook_id, limit, state or ""))


@router.post(
    "/webhook-subscriptions/{webhook_id}/deliveries/{delivery_id}/resend",
    name="resend_delivery",
    status_code=202,
)
async def resend_delivery(
    webhook_id: Id, delivery_id: Id, request: Request, principal: SignedIn, context: InContext
) -> Delivery:
    """Send it now and once more, whatever became of it, under the same ``webhook-id``."""

    def again(session: Session) -> Delivery:
        webhook = _found(session, webhook_id)
        row = session.get(DeliveryRow, delivery_id, with_for_update=True)
        if row is None or row.webhook_id != webhook.id:
            raise NotFoundError
        if not webhook.enabled:
            raise StateError("turn the webhook on first")
        now = context.now()
        row.state, row.next_try_at = "pending", now
        note(session, now, principal.id, "webhook-resend", target=delivery_id, address=address_of(request))
        return _delivery(row)

    sent = await context.write(again)
    context.deliveries_written.set()
    return sent


def _found(session: Session, webhook_id: str) -> WebhookRow:
    row = session.get(WebhookRow, webhook_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    return row


def all_webhooks(session: Session) -> list[WebhookRow]:
    """All of them, the oldest first."""
    return [*session.scalars(select(WebhookRow).order_by(WebhookRow.created_at, WebhookRow.id))]


def webhook_view(row: WebhookRow) -> Webhook:
    """A webhook without its secret."""
    return Webhook(
        id=row.id,
        url=row.url,
        events=row.events,
        enabled=row.enabled,
        failing_since=row.failing_since,
        former_secret_until=row.former_secret_until,
        created_at=row.created_at,
    )


def newest_deliveries(session: Session, webhook_id: str, most: int, state: str = "") -> list[Delivery]:
    """A webhook's newest deliveries, those of one state if one is named."""
    query = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
    if state:
        query = query.where(DeliveryRow.state == state)
    rows = session.scalars(query.order_by(DeliveryRow.created_at.desc(), DeliveryRow.id).limit(most))
    return [_delivery(row) for row in rows]


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery.model_validate(
        {
            "id": row.id,
            "event": row.event,
            "state": row.state,
            "tries": row.tries,
            "status": row.status,
            "error": row.error,
            "created_at": row.created_at,
            "answered_at": row.answered_at,
            "next_try_at": row.next_try_at if row.state == "pending" else None,
        }
    )
