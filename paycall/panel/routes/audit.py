"""The panel's audit, to be read by auditors and administrators. Reading it is a line in it (PCI DSS 10.2.1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.routes.session import address_of
from paycall.panel.services.audit import note
from paycall.panel.services.history import names_of_all
from paycall.store.database import reading, writing
from paycall.store.tables import AUDIT

pages = APIRouter(include_in_schema=False)
_SHOWN = 200


@dataclass(frozen=True)
class AuditLine:
    """A line: names instead of ids where there are names."""

    at: datetime
    who: str
    action: str
    target: str
    result: str
    address: str


@dataclass(frozen=True)
class AuditPage(Page):
    """The newest lines."""

    template: ClassVar[str] = "audit.html"
    lines: list[AuditLine]


@pages.get("/audit", name="audit_page")
def audit_page(request: Request, principal: SignedIn, context: InContext) -> HTMLResponse:
    """The page."""
    with writing(context.deps.database) as session:
        note(session, context.now(), principal.operator_id, "audit-read", address=address_of(request))
    with reading(context.deps.database) as session:
        names = names_of_all(session)
        # A payment's entries are on its own page, as its story; here they would hide the others.
        others = select(AUDIT.table).where(AUDIT.table.c.action.not_like("payment-%"))
        newest = others.order_by(AUDIT.table.c.seq.desc()).limit(_SHOWN)
        lines = [
            AuditLine(
                at=datetime.fromisoformat(row.at),
                who=names.get(row.actor, row.actor),
                action=row.action,
                target=names.get(row.subject, row.subject),
                result=row.result,
                address=row.source,
            )
            for row in session.execute(newest)
        ]
    return render(
        AuditPage(
            principal=principal,
            language=principal.language,
            site_name=site_name(request),
            here="audit",
            lines=lines,
        )
    )
