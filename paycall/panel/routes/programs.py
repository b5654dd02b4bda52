"""Other programs: their keys, and the page of all that is set up for them. For administrators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.program_schemas import AddApiKey, ApiKey, ApiKeys, Delivery, NewApiKey, Webhook
from paycall.panel.roles import Scope
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of
from paycall.panel.routes.subscriptions import all_webhooks, newest_deliveries, webhook_view
from paycall.panel.schemas import Id
from paycall.panel.services import api_keys
from paycall.panel.services.audit import note
from paycall.store.database import reading, writing
from paycall.store.tables import ApiKeyRow

router = APIRouter(prefix="/api/v1", tags=["programs"], responses=PROBLEMS)
pages = APIRouter(include_in_schema=False)
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
                    WebhookOnPage(webhook_view(row), newest_deliveries(session, row.id, _ON_THE_PAGE))
                    for row in all_webhooks(session)
                ],
                scopes=tuple(scope.value for scope in Scope),
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
