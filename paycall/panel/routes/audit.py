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
from paycall.store.database import writing
from paycall.store.tables import AuditRow, OperatorRow

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
        session.flush()
        names = {row.id: row.display_name for row in session.scalars(select(OperatorRow))}
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(_SHOWN)).all()
        lines = [
            AuditLine(
                at=row.at,
                who=names.get(row.operator_id or "", ""),
                action=row.action,
                target=names.get(row.target, row.target),
                result=row.result,
                address=row.address,
            )
            for row in rows
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
