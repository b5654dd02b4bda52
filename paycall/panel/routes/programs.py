"""Other programs: their keys, and the webhooks that events are sent to. For administrators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError
from paycall.domain.ids import new_id
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.program_schemas import (
    AddApiKey,
    AddWebhook,
    ApiKey,
    ApiKeys,
    ChangeWebhook,
    Deliveries,
    Delivery,
    NewApiKey,
    NewWebhook,
    Webhook,
    Webhooks,
)
from paycall.panel.roles import Scope
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of
from paycall.panel.schemas import Id
from paycall.panel.services import api_keys, webhook_events, webhook_sender
from paycall.panel.services.audit import note
from paycall.panel.services.webhook_address import check_url
from paycall.store.database import reading, writing
from paycall.store.tables import ApiKeyRow, DeliveryRow, WebhookRow

router = APIRouter(prefix="/api/v1", tags=["programs"], responses=PROBLEMS)
pages = APIRouter(include_in_schema=False)
_DELIVERIES_SHOWN = 50
_ON_THE_PAGE = 8


@dataclass(frozen=True)
class WebhookOnPage:
    """A webhook with its newest deliveries."""

    webhook: Webhook
    deliveries: list[Delivery]


@dataclass(frozen=True)
class ProgramsPage(Page):
    """Keys and webhooks."""

    template: ClassVar[str] = "programs.html"
    keys: list[ApiKey]
    webhooks: list[WebhookOnPage]
    scopes: tuple[str, ...]
    now_ms: int


@pages.get("/programs", name="programs_page")
def programs_page(request: Request, principal: SignedIn, context: InContext) -> HTMLResponse:
    """The page."""
    with reading(context.deps.database) as session:
        return render(
            ProgramsPage(
                principal=principal,
                language=principal.language,
                site_name=site_name(request),
                here="programs",
                keys=_keys(session),
                webhooks=[
                    WebhookOnPage(_webhook(row), _deliveries(session, row.id, _ON_THE_PAGE))
                    for row in _webhooks(session)
                ],
                scopes=tuple(scope.value for scope in Scope),
                now_ms=int(context.now().timestamp() * 1000),
            )
        )


@router.get("/api-keys", name="list_api_keys")
def list_api_keys(context: InContext) -> ApiKeys:
    """All keys, revoked ones too; never the keys themselves."""
    with reading(context.deps.database) as session:
        return ApiKeys(keys=_keys(session))


@router.post("/api-keys", name="add_api_key", status_code=201)
def add_api_key(body: AddApiKey, request: Request, principal: SignedIn, context: InContext) -> NewApiKey:
    """Make a key for a program. It is in this answer and nowhere else."""
    now = context.now()
    expires_at = now + timedelta(days=body.expires_in_days) if body.expires_in_days else None
    with writing(context.deps.database) as session:
        row, key = api_keys.make_key(session, body.name, body.scopes, expires_at, principal.id, now)
        note(session, now, principal.id, "api-key-add", target=row.id, address=address_of(request))
        return NewApiKey(api_key=_key(row), key=key)


@router.delete("/api-keys/{key_id}", name="revoke_api_key", status_code=204)
def revoke_api_key(key_id: Id, request: Request, principal: SignedIn, context: InContext) -> Response:
    """Take a key out of use, at once and for good."""
    now = context.now()
    with writing(context.deps.database) as session:
        api_keys.revoke_key(session, key_id, now)
        note(session, now, principal.id, "api-key-revoke", target=key_id, address=address_of(request))
    return Response(status_code=204)


@router.get("/webhook-subscriptions", name="list_webhooks")
def list_webhooks(context: InContext) -> Webhooks:
    """Where events are sent."""
    with reading(context.deps.database) as session:
        return Webhooks(webhooks=[_webhook(row) for row in _webhooks(session)])


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
        return NewWebhook(webhook=_webhook(row), secret=secret)


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
        return _webhook(row)


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


@router.get("/webhook-subscriptions/{webhook_id}/deliveries", name="list_deliveries")
def list_deliveries(webhook_id: Id, context: InContext) -> Deliveries:
    """The newest deliveries."""
    with reading(context.deps.database) as session:
        if session.get(WebhookRow, webhook_id) is None:
            raise NotFoundError
        return Deliveries(deliveries=_deliveries(session, webhook_id, _DELIVERIES_SHOWN))


def _found(session: Session, webhook_id: str) -> WebhookRow:
    row = session.get(WebhookRow, webhook_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    return row


def _keys(session: Session) -> list[ApiKey]:
    rows = session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id))
    return [_key(row) for row in rows]


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        start=row.start,
        scopes=[Scope(scope) for scope in row.scopes],
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


def _webhooks(session: Session) -> list[WebhookRow]:
    return [*session.scalars(select(WebhookRow).order_by(WebhookRow.created_at, WebhookRow.id))]


def _webhook(row: WebhookRow) -> Webhook:
    return Webhook(
        id=row.id,
        url=row.url,
        events=row.events,
        enabled=row.enabled,
        failing_since=row.failing_since,
        created_at=row.created_at,
    )


def _deliveries(session: Session, webhook_id: str, most: int) -> list[Delivery]:
    rows = session.scalars(
        select(DeliveryRow)
        .where(DeliveryRow.webhook_id == webhook_id)
        .order_by(DeliveryRow.created_at.desc(), DeliveryRow.id)
        .limit(most)
    )
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
