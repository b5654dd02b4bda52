"""What programs are told by webhook, written down in the very transaction that it tells of.

Rules: an event can neither be lost nor be sent of something that was rolled back, because its deliveries are rows of
the same transaction. Of a card there is the brand and the last four, nothing else.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.ids import new_id
from paycall.domain.payment import PaymentState
from paycall.store.tables import (
    AttemptRow,
    CallRow,
    CustomerRow,
    DeliveryRow,
    OperatorRow,
    PaymentRow,
    WebhookRow,
)

TEST_EVENT = "webhook.test"
CALL_EVENTS = ("call.arrived", "call.connected", "call.ended", "call.alarm")
PAYMENT_EVENTS = tuple(f"payment.{state.value}" for state in PaymentState)
EVENTS = ("payment.*", *PAYMENT_EVENTS, "call.*", *CALL_EVENTS)
_NOTED = "webhook_events"


def note_payment(session: Session, payment_id: str) -> None:
    """The payment is in another state at the end of this transaction."""
    session.info.setdefault(_NOTED, {})[payment_id] = None


def note_call(session: Session, call_id: str, name: str) -> None:
    """This happened to the call. ``name`` is one of ``CALL_EVENTS``."""
    session.info.setdefault(_NOTED, {})[call_id, name] = None


def write_deliveries(session: Session, now: datetime) -> bool:
    """Turn what was noted into deliveries to every webhook that wants it; whether there are any."""
    noted: dict[str | tuple[str, str], None] = session.info.pop(_NOTED, {})
    if not noted:
        return False
    webhooks = session.scalars(select(WebhookRow).where(WebhookRow.enabled)).all()
    if not webhooks:
        return False
    session.flush()
    written = False
    for what in noted:
        name, data = _payment(session, what) if isinstance(what, str) else _call(session, *what)
        for webhook in webhooks:
            if wants(webhook.events, name):
                session.add(delivery(webhook.id, name, data, now))
                written = True
    return written


def delivery(webhook_id: str, name: str, data: dict[str, Any], now: datetime) -> DeliveryRow:
    """An event for a webhook, to be sent at once."""
    body = {"type": name, "timestamp": now.isoformat(timespec="milliseconds"), "data": data}
    return DeliveryRow(
        id=new_id("msg"),
        webhook_id=webhook_id,
        event=name,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        state="pending",
        tries=0,
        next_try_at=now,
        created_at=now,
    )


def wants(events: list[str], name: str) -> bool:
    """Whether a webhook with these events wants this one."""
    return name in events or f"{name.partition('.')[0]}.*" in events


def _payment(session: Session, payment_id: str) -> tuple[str, dict[str, Any]]:
    row = session.get_one(PaymentRow, payment_id)
    attempt = session.scalars(
        select(AttemptRow)
        .where(AttemptRow.payment_id == payment_id)
        .order_by(AttemptRow.number.desc())
        .limit(1)
    ).first()
    decline = attempt.decline if attempt else None
    data = {
        "id": row.id,
        "call_id": row.call_id,
        "state": row.state,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "settled_minor": row.settled_minor,
        "refunded_minor": row.refunded_minor,
        "reference": row.reference,
        "description": row.description,
        "operator": _operator(session, row.operator_id),
        "card": {"brand": row.brand, "last4": row.last4} if row.last4 else None,
        "authorization_code": attempt.authorization_code if attempt else None,
        "decline": {key: decline[key] for key in ("reason", "declined_by", "retry")} if decline else None,
        "created_at": row.created_at.isoformat(timespec="milliseconds"),
        "updated_at": row.updated_at.isoformat(timespec="milliseconds"),
    }
    return f"payment.{row.state}", data


def _call(session: Session, call_id: str, name: str) -> tuple[str, dict[str, Any]]:
    row = session.get_one(CallRow, call_id)
    customer = session.get(CustomerRow, row.caller)
    data = {
        "id": row.id,
        "state": row.state,
        "direction": row.direction,
        "caller": row.caller,
        "called": row.called,
        "customer_name": customer.name if customer else "",
        "operator": _operator(session, row.operator_id),
        "alarm": row.alarm,
        "started_at": row.started_at.isoformat(timespec="milliseconds"),
        "ended_at": row.ended_at.isoformat(timespec="milliseconds") if row.ended_at else None,
        "end_reason": row.end_reason,
    }
    return name, data


def _operator(session: Session, operator_id: str | None) -> str | None:
    row = session.get(OperatorRow, operator_id) if operator_id else None
    return row.display_name if row else None
