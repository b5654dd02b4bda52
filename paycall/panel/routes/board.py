"""The board: the calls, and the one in front with its payment.

The same templates make the whole page and the parts that the page's script puts in place when something
happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.call import CallState
from paycall.domain.fields import DEFAULT_FIELDS
from paycall.domain.fields import Field as CardField
from paycall.domain.money import CURRENCIES, exponent
from paycall.panel.access import InContext, SignedIn
from paycall.panel.languages import LANGUAGES
from paycall.panel.pages import Page, render, site_name
from paycall.panel.roles import Principal
from paycall.panel.schemas import Call, Payment
from paycall.panel.services.context import Context
from paycall.panel.services.kept_cards import KeptCardService
from paycall.panel.services.operations import limits_minor
from paycall.panel.services.records import IN_THE_MIDDLE, has_number
from paycall.panel.services.views import call_views, localise_payment
from paycall.panel.services.visibility import calls_of
from paycall.panel.services.waiting import count_waiting
from paycall.store.database import reading
from paycall.store.tables import CallRow, PaymentRow

router = APIRouter(include_in_schema=False)
_PAST_PAYMENTS = 4


@dataclass(frozen=True)
class PastPayment:
    """An earlier payment of the same caller."""

    id: str
    state: str
    amount_minor: int
    currency: str
    reference: str
    description: str
    created_at_ms: int
    brand: str | None
    last4: str | None
    expiry: str | None
    kept_token: str | None


@dataclass(frozen=True)
class Board(Page):
    """The calls that one may see, the one in front, its payment, and the caller's past."""

    template: ClassVar[str] = "board.html"
    calls: list[Call]
    front: Call | None
    payment: Payment | None
    past: list[PastPayment]
    last_event_id: str
    now_ms: int
    currencies: list[tuple[str, int]]
    default_fields: tuple[CardField, ...]
    all_fields: tuple[CardField, ...]
    caller_languages: dict[str, str]
    test_calls: bool
    dialling: bool
    may_keep_cards: bool
    keeps_cards: bool
    waiting: int
    limits: dict[str, int]


@dataclass(frozen=True)
class EmbeddedBoard(Board):
    """The board without the panel's own frame, to stand in a CRM's."""

    template: ClassVar[str] = "embed.html"


@dataclass(frozen=True)
class BoardFragment(Board):
    """The parts of the board that change."""

    template: ClassVar[str] = "board_parts.html"


@router.get("/", name="board_page")
def board_page(request: Request, principal: SignedIn, context: InContext, call: str = "") -> HTMLResponse:
    """The page."""
    return render(_board(Board, request, principal, context, call))


@router.get("/embed", name="embed_page")
def embed_page(request: Request, principal: SignedIn, context: InContext, call: str = "") -> HTMLResponse:
    """The board for a CRM's frame, where the setting ``frame_ancestors`` allows it."""
    return render(_board(EmbeddedBoard, request, principal, context, call))


@router.get("/fragments/board", name="board_fragment")
def board_fragment(
    request: Request, principal: SignedIn, context: InContext, call: str = "", follow: bool = True
) -> HTMLResponse:
    """The parts, for the page's script. ``follow``: a new call may come to the front."""
    return render(_board(BoardFragment, request, principal, context, call, follow=follow))


def _board(
    kind: type[Board],
    request: Request,
    principal: Principal,
    context: Context,
    wanted: str,
    *,
    follow: bool = False,
) -> Board:
    # Read before the database: what happens in between is then told again, and telling twice is harmless.
    last_event_id = context.stream.last_id
    with reading(context.deps.database) as session:
        rows = session.scalars(
            select(CallRow)
            .where(calls_of(principal), CallRow.state != CallState.ENDED.value)
            .order_by(CallRow.started_at)
        ).all()
        front = _front(session, principal, [*rows], wanted, follow=follow)
        payment = _payment(session, context, principal, front)
        shown = [*rows, front] if front is not None and front not in rows else rows
        views = {view["id"]: Call(**view) for view in call_views(session, shown)}
        may_keep_cards = KeptCardService(context).may(principal)
        return kind(
            principal=principal,
            language=principal.language,
            site_name=site_name(request),
            here="calls",
            calls=[views[row.id] for row in rows],
            front=views[front.id] if front else None,
            payment=payment,
            past=_past(session, principal, front),
            last_event_id=last_event_id,
            now_ms=int(context.now().timestamp() * 1000),
            currencies=_currencies(context.deps.site.currency),
            default_fields=DEFAULT_FIELDS,
            all_fields=tuple(CardField),
            caller_languages=LANGUAGES if context.deps.settings.caller_languages else {},
            test_calls=context.deps.test_calls is not None,
            dialling=context.deps.calls.can_dial_out(),
            waiting=count_waiting(session, principal),
            limits=limits_minor(context.deps.settings, principal, payment.currency) if payment else {},
            may_keep_cards=may_keep_cards,
            keeps_cards=may_keep_cards and front is not None and has_number(front),
        )


def _front(
    session: Session, principal: Principal, rows: list[CallRow], wanted: str, *, follow: bool
) -> CallRow | None:
    """Which call is in front: the one that is looked at, unless it is over and a new one is there.

    On a page that was just opened, a payment that is in the middle goes before a newer call.
    """
    chosen = session.get(CallRow, wanted) if wanted else None
    if chosen is not None and not (principal.sees_all or chosen.operator_id in (None, principal.operator_id)):
        chosen = None
    if chosen is not None and (not follow or chosen.state != CallState.ENDED.value):
        return chosen
    if chosen is not None and _busy(session, [chosen]):
        return chosen
    mine = [row for row in rows if row.operator_id == principal.operator_id]
    free = [row for row in rows if row.operator_id is None]
    candidates = mine or free
    return next(reversed(_busy(session, candidates) or candidates), chosen)


def _busy(session: Session, calls: list[CallRow]) -> list[CallRow]:
    """Those calls whose payment still needs somebody's eyes."""
    query = select(PaymentRow.call_id).where(
        PaymentRow.call_id.in_([call.id for call in calls]),
        PaymentRow.state.in_(IN_THE_MIDDLE),
        PaymentRow.set_aside_at.is_(None),
    )
    found = set(session.scalars(query))
    return [call for call in calls if call.id in found]


def _payment(
    session: Session, context: Context, principal: Principal, call: CallRow | None
) -> Payment | None:
    if call is None:
        return None
    row = session.scalars(
        select(PaymentRow)
        .where(PaymentRow.call_id == call.id)
        .order_by(PaymentRow.created_at.desc())
        .limit(1)
    ).first()
    if row is None or not (principal.sees_all or row.operator_id == principal.operator_id):
        return None
    return Payment(**localise_payment(context.view_of_payment(session, row), principal.language))


def _past(session: Session, principal: Principal, call: CallRow | None) -> list[PastPayment]:
    """What the same number paid before, as far as this person may see it."""
    if call is None or not call.caller:
        return []
    query = (
        select(PaymentRow)
        .join(CallRow, CallRow.id == PaymentRow.call_id)
        .where(CallRow.caller == call.caller, CallRow.id != call.id)
        .order_by(PaymentRow.created_at.desc())
        .limit(_PAST_PAYMENTS)
    )
    if not principal.sees_all:
        query = query.where(PaymentRow.operator_id == principal.operator_id)
    return [
        PastPayment(
            id=row.id,
            state=row.state,
            amount_minor=row.amount_minor,
            currency=row.currency,
            reference=row.reference,
            description=row.description,
            created_at_ms=int(row.created_at.timestamp() * 1000),
            brand=row.brand,
            last4=row.last4,
            expiry=row.expiry,
            kept_token=row.kept_token,
        )
        for row in session.scalars(query)
    ]


def _currencies(first: str) -> list[tuple[str, int]]:
    """Every currency with its decimals, the site's first."""
    return [(name, exponent(name)) for name in [first, *sorted(CURRENCIES - {first})]]
