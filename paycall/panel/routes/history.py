"""Payments of the past, and one payment's whole story."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.schemas import Payment
from paycall.panel.services.views import localise_payment
from paycall.panel.services.visibility import payments_of
from paycall.store.database import reading
from paycall.store.tables import PaymentRow

router = APIRouter(include_in_schema=False)
_SHOWN = 100


@dataclass(frozen=True)
class HistoryPage(Page):
    """The newest payments."""

    template: ClassVar[str] = "history.html"
    payments: list[Payment]


@router.get("/history", name="history_page")
def history_page(request: Request, principal: SignedIn, context: InContext) -> HTMLResponse:
    """The list."""
    query = (
        select(PaymentRow).where(payments_of(principal)).order_by(PaymentRow.created_at.desc()).limit(_SHOWN)
    )
    with reading(context.deps.database) as session:
        payments = [
            Payment(**localise_payment(context.view_of_payment(session, row), principal.language))
            for row in session.scalars(query)
        ]
    return render(
        HistoryPage(
            principal=principal,
            language=principal.language,
            site_name=site_name(request),
            here="history",
            payments=payments,
        )
    )
