"""Looking for payments and calls of the past, counting them, and a payment's whole story."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from paycall.domain.declines import decline_from_json
from paycall.domain.money import Money
from paycall.domain.payment import PaymentState
from paycall.panel.roles import Principal
from paycall.panel.services.visibility import calls_of, payments_of
from paycall.panel.services.waiting import WAITING, waits
from paycall.store.tables import (
    ApiKeyRow,
    AttemptRow,
    CallRow,
    CustomerRow,
    OperatorRow,
    PaymentRow,
    StoryRow,
)

PAGE_SIZE = 50
# Approved, and on its way to be settled: counted as taken until the acquirer says otherwise.
_TO_BE_SETTLED = (PaymentState.APPROVED, PaymentState.SETTLING)

_RESERVED = (PaymentState.APPROVED, PaymentState.SETTLE_FAILED, PaymentState.VOID_FAILED)


@dataclass(frozen=True)
class Search:
    """What is looked for; empty means everything."""

    text: str = ""
    state: str = ""
    first_day: date | None = None
    last_day: date | None = None
    page: int = 1


def payments_query(search: Search, principal: Principal) -> Select[PaymentRow]:
    """The payments that fit and may be seen, the newest first."""
    query = (
        select(PaymentRow)
        .join(CallRow, CallRow.id == PaymentRow.call_id)
        .where(payments_of(principal))
        .order_by(PaymentRow.created_at.desc(), PaymentRow.id)
    )
    if search.state:
        query = query.where(waits() if search.state == WAITING else PaymentRow.state == search.state)
    if search.text:
        like = _like(search.text)
        attempts = select(AttemptRow.payment_id).where(AttemptRow.authorization_code.ilike(like, escape="\\"))
        callers = select(CustomerRow.number).where(CustomerRow.name.ilike(like, escape="\\"))
        people = select(OperatorRow.id).where(OperatorRow.display_name.ilike(like, escape="\\"))
        query = query.where(
            or_(
                PaymentRow.reference.ilike(like, escape="\\"),
                PaymentRow.description.ilike(like, escape="\\"),
                CallRow.caller.ilike(like, escape="\\"),
                PaymentRow.last4 == search.text,
                PaymentRow.id.in_(attempts),
                CallRow.caller.in_(callers),
                PaymentRow.operator_id.in_(people),
            )
        )
    return _between(query, PaymentRow.created_at, search)


def calls_query(search: Search, principal: Principal) -> Select[CallRow]:
    """The calls that fit and may be seen, the newest first."""
    query = select(CallRow).where(calls_of(principal)).order_by(CallRow.started_at.desc(), CallRow.id)
    if search.state:
        query = query.where(CallRow.state == search.state)
    if search.text:
        like = _like(search.text)
        named = select(CustomerRow.number).where(CustomerRow.name.ilike(like, escape="\\"))
        query = query.where(
            or_(
                CallRow.caller.ilike(like, escape="\\"),
                CallRow.called.ilike(like, escape="\\"),
                CallRow.caller.in_(named),
            )
        )
    return _between(query, CallRow.started_at, search)


def count(session: Session, query: Select[Any]) -> int:
    """How many rows the query has in all."""
    return session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0


def one_page(query: Select[Any], search: Search) -> Select[Any]:
    """The part of it that is shown."""
    return query.limit(PAGE_SIZE).offset((search.page - 1) * PAGE_SIZE)


def story(session: Session, payment_id: str) -> list[dict[str, Any]]:
    """Everything that happened to a payment, in order: when, what, who, details."""
    names = names_of_all(session)
    rows = session.scalars(select(StoryRow).where(StoryRow.payment_id == payment_id).order_by(StoryRow.id))
    return [
        {"at": row.at, "what": row.what, "who": names.get(row.operator_id or "", ""), "detail": row.detail}
        for row in rows
    ]


def as_csv(session: Session, query: Select[PaymentRow]) -> str:
    """The payments as a table for a spreadsheet. A cell that a spreadsheet would take for a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        "time id state amount currency settled refunded brand last4 authorization_code decline_reason caller "
        "reference description operator".split()
    )
    names = names_of_all(session)
    for row in session.scalars(query):
        call = session.get(CallRow, row.call_id)
        attempt = session.scalars(
            select(AttemptRow).where(AttemptRow.payment_id == row.id).order_by(AttemptRow.number.desc())
        ).first()
        reason = attempt.decline["reason"] if attempt and attempt.decline else ""
        writer.writerow(
            _harmless(value)
            for value in (
                row.created_at.isoformat(timespec="seconds"),
                row.id,
                row.state,
                Money(row.amount_minor, row.currency).decimal,
                row.currency,
                _decimal(row.settled_minor, row.currency),
                _decimal(row.refunded_minor, row.currency),
                row.brand or "",
                row.last4 or "",
                (attempt.authorization_code if attempt else None) or "",
                reason,
                call.caller if call else "",
                row.reference,
                row.description,
                names.get(row.operator_id or "", ""),
            )
        )
    return out.getvalue()


def _decimal(amount_minor: int, currency: str) -> object:
    return Money(amount_minor, currency).decimal if amount_minor else 0


@dataclass(frozen=True)
class Bar:
    """A line of a chart: a name, how many, and its share of the longest in per cent."""

    name: str
    count: int
    percent: float


@dataclass(frozen=True)
class Totals:
    """The sums of a span of days."""

    payments: int
    taken: list[tuple[str, int, int]]  # currency, amount_minor, how many
    outcomes: list[Bar]
    reasons: list[Bar]
    operators: list[Bar]
    unsettled: list[PaymentRow]


def totals(session: Session, search: Search, principal: Principal, language: str) -> Totals:
    """Count a span of days."""
    rows = session.scalars(payments_query(search, principal)).all()
    names = names_of_all(session)
    taken: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for row in rows:
        amount = row.amount_minor if row.state in _TO_BE_SETTLED else row.settled_minor - row.refunded_minor
        if amount:
            taken[row.currency] += amount
            times[row.currency] += 1
    reasons, words = _reasons(session, [row.id for row in rows], language)
    return Totals(
        payments=len(rows),
        taken=[(currency, amount, times[currency]) for currency, amount in sorted(taken.items())],
        outcomes=_bars(Counter(row.state for row in rows)),
        reasons=[Bar(words[bar.name], bar.count, bar.percent) for bar in _bars(reasons)],
        operators=_bars(Counter(names.get(row.operator_id or "", "–") for row in rows)),
        unsettled=[row for row in rows if row.state in _RESERVED],
    )


def names_of_all(session: Session) -> dict[str, str]:
    """People and programs, by their ids."""
    people = {row.id: row.display_name for row in session.scalars(select(OperatorRow))}
    return people | {row.id: row.name for row in session.scalars(select(ApiKeyRow))}


def _reasons(session: Session, payment_ids: list[str], language: str) -> tuple[Counter[str], dict[str, str]]:
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}
    for start in range(0, len(payment_ids), 500):
        part = payment_ids[start : start + 500]
        for decline in session.scalars(select(AttemptRow.decline).where(AttemptRow.payment_id.in_(part))):
            if decline is not None:
                counts[decline["reason"]] += 1
                words.setdefault(decline["reason"], decline_from_json(decline).text(language).happened)
    return counts, words


def _bars(counts: Counter[str]) -> list[Bar]:
    longest = max(counts.values(), default=1)
    return [Bar(name, number, round(100 * number / longest, 1)) for name, number in counts.most_common(12)]


def _between(query: Select[Any], column: Any, search: Search) -> Select[Any]:
    if search.first_day is not None:
        query = query.where(column >= _midnight(search.first_day))
    if search.last_day is not None:
        query = query.where(column < _midnight(search.last_day + timedelta(days=1)))
    return query


def _midnight(day: date) -> datetime:
    """The day's first moment, in the site's own zone."""
    return datetime.combine(day, time()).astimezone()


def _like(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{plain}%"


# At the beginning, or where a spreadsheet of a country with decimal commas begins another cell.
_FORMULA = re.compile(r"(^|[;\t\r\n])(\s*)([=+\-@\uff1d\uff0b\uff0d\uff20])")


def _harmless(value: object) -> str:
    return _FORMULA.sub(r"\1\2'\3", str(value))
