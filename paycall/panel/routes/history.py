"""Payments and calls of the past, one payment's whole story, the sums of days, and the table for a spreadsheet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from paycall.domain.errors import StateError
from paycall.domain.free_text import holds_card_number
from paycall.panel.access import InContext, SignedIn
from paycall.panel.pages import Page, render, site_name
from paycall.panel.program_schemas import OutcomeCount, Report, Taken
from paycall.panel.routes.calls import PROBLEMS, CardNumberInTextError
from paycall.panel.routes.session import address_of
from paycall.panel.schemas import Call, Customer, Id, Payment
from paycall.panel.services import history
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.history import Search
from paycall.panel.services.operations import limits_minor
from paycall.panel.services.records import call_of
from paycall.panel.services.views import call_view, call_views, localise_payment
from paycall.panel.services.visibility import call_for, payment_for
from paycall.store.database import reading, writing
from paycall.store.tables import CustomerRow

router = APIRouter(prefix="/api/v1", tags=["history"], responses=PROBLEMS)
pages = APIRouter(include_in_schema=False)
_EXPORTED = 50_000


@dataclass(frozen=True)
class HistoryPage(Page):
    """What was found. ``kind`` is payments or calls."""

    template: ClassVar[str] = "history.html"
    kind: str
    payments: list[Payment]
    calls: list[Call]
    search: Search
    found: int
    page_count: int
    query: str


@dataclass(frozen=True)
class PaymentPage(Page):
    """One payment and its story."""

    template: ClassVar[str] = "payment.html"
    payment: Payment
    front: Call
    story: list[dict[str, Any]]
    limits: dict[str, int]
    now_ms: int


@dataclass(frozen=True)
class ReportsPage(Page):
    """The sums of a span of days."""

    template: ClassVar[str] = "reports.html"
    totals: history.Totals
    search: Search


def _search(
    q: Annotated[str, Query(max_length=100)] = "",
    state: Annotated[str, Query(max_length=30)] = "",
    first: str = "",
    last: str = "",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Search:
    if holds_card_number(q):
        raise CardNumberInTextError
    return Search(q.strip(), state, _day(first), _day(last), page)


InSearch = Annotated[Search, Depends(_search)]


@pages.get("/history", name="history_page")
def history_page(
    request: Request, principal: SignedIn, context: InContext, search: InSearch, kind: str = "payments"
) -> HTMLResponse:
    """The list."""
    of_calls = kind == "calls"
    with reading(context.deps.database) as session:
        query: Any = (
            history.calls_query(search, principal) if of_calls else history.payments_query(search, principal)
        )
        found = history.count(session, query)
        rows = session.scalars(history.one_page(query, search)).all()
        payments = [] if of_calls else [
            Payment(**localise_payment(context.view_of_payment(session, row), principal.language))
            for row in rows
        ]  # fmt: skip
        calls = [Call(**view) for view in call_views(session, rows)] if of_calls else []
    return render(
        HistoryPage(
            principal=principal,
            language=principal.language,
            site_name=site_name(request),
            here="history",
            kind="calls" if of_calls else "payments",
            payments=payments,
            calls=calls,
            search=search,
            found=found,
            page_count=max(1, -(-found // history.PAGE_SIZE)),
            query=_query(search),
        )
    )


@pages.get("/history/payments.csv", name="export_payments")
def export_payments(principal: SignedIn, context: InContext, search: InSearch) -> Response:
    """The same payments for a spreadsheet."""
    with writing(context.deps.database) as session:
        note(session, context.now(), principal.operator_id, "export", target="payments")
    with reading(context.deps.database) as session:
        text = history.as_csv(session, history.payments_query(search, principal).limit(_EXPORTED))
    return Response(
        "\ufeff" + text,  # with its mark, spreadsheets read it as UTF-8
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="payments.csv"'},
    )


@pages.get("/payments/{payment_id}", name="payment_page")
def payment_page(payment_id: Id, request: Request, principal: SignedIn, context: InContext) -> HTMLResponse:
    """One payment's whole story."""
    with reading(context.deps.database) as session:
        row = payment_for(session, payment_id, principal)
        call = call_of(session, row)  # whoever may see a payment may see its call
        return render(
            PaymentPage(
                principal=principal,
                language=principal.language,
                site_name=site_name(request),
                here="history",
                payment=Payment(
                    **localise_payment(context.view_of_payment(session, row), principal.language)
                ),
                front=Call(**call_view(session, call)),
                story=history.story(session, payment_id),
                limits=limits_minor(context.deps.settings, principal, row.currency),
                now_ms=int(context.now().timestamp() * 1000),
            )
        )


@pages.get("/reports", name="reports_page")
def reports_page(
    request: Request, principal: SignedIn, context: InContext, first: str = "", last: str = ""
) -> HTMLResponse:
    """The sums of a span of days; by default of today."""
    search = _span(context, _day(first), _day(last))
    with reading(context.deps.database) as session:
        return render(
            ReportsPage(
                principal=principal,
                language=principal.language,
                site_name=site_name(request),
                here="reports",
                totals=history.totals(session, search, principal, principal.language),
                search=search,
            )
        )


@router.get("/reports", name="get_report")
def get_report(
    principal: SignedIn, context: InContext, first: date | None = None, last: date | None = None
) -> Report:
    """The sums of a span of days, by default of today; of at most a year."""
    search = _span(context, first, last)
    with reading(context.deps.database) as session:
        totals = history.totals(session, search, principal, principal.language)
    return Report(
        first_day=str(search.first_day),
        last_day=str(search.last_day),
        payments=totals.payments,
        taken=[Taken(currency=name, amount_minor=sum_, payments=times) for name, sum_, times in totals.taken],
        outcomes=[OutcomeCount(name=bar.name, count=bar.count) for bar in totals.outcomes],
    )


@router.put("/calls/{call_id}/customer", name="set_customer")
async def set_customer(
    call_id: Id, body: Customer, request: Request, principal: SignedIn, context: InContext
) -> Customer:
    """Write down who calls from this call's number."""

    def write_down(session: Session) -> None:
        call = call_for(session, call_id, principal)
        if not call.caller:
            raise StateError("the caller's number is withheld")
        session.merge(
            CustomerRow(number=call.caller, name=body.name, note=body.note, updated_at=context.now())
        )
        note(
            session,
            context.now(),
            principal.operator_id,
            "customer-change",
            target=call_id,
            address=address_of(request),
        )

    await context.write(write_down)
    await context.show_call(call_id, "call.updated")
    return body


def _span(context: Context, first: date | None, last: date | None) -> Search:
    first = _within(first or context.now().astimezone().date())
    last = _within(last or first)
    return Search(first_day=max(first, last - timedelta(days=366)), last_day=last)


def _within(day: date) -> date:
    """The day, or the nearest one that can be counted from: the calendar's own ends cannot."""
    return min(max(day, date(1971, 1, 1)), date(2999, 12, 31))


def _day(text: str) -> date | None:
    try:
        return _within(date.fromisoformat(text))
    except ValueError:
        return None


def _query(search: Search) -> str:
    """The search as a query string, without its page."""
    given = {
        "q": search.text,
        "state": search.state,
        "first": search.first_day.isoformat() if search.first_day else "",
        "last": search.last_day.isoformat() if search.last_day else "",
    }
    return urlencode({name: value for name, value in given.items() if value})
