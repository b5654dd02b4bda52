"""Calls and payments as the API, the pages and the stream show them: plain dictionaries, language-neutral.

``localise`` adds the two sentences of a decline in the reader's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.call import CallState
from paycall.domain.declines import NextStep, Retry, decline_from_json
from paycall.domain.fields import Field
from paycall.domain.payment import PaymentEvent, PaymentState, allows
from paycall.panel.live import LiveCapture, field_view
from paycall.panel.services.duplicates import paid_again
from paycall.panel.services.records import caller_is_gone, in_order, missing_fields
from paycall.store.tables import AttemptRow, CallRow, CustomerRow, OperationRow, OperatorRow, PaymentRow

# In place of an error, of an attempt or operation that nobody but people can find out.
NEEDS_REVIEW = "needs-review"
_CODE = Field.SECURITY_CODE.value
_STEP_FIELDS: dict[NextStep, list[str]] = {
    NextStep.RETRY: [],
    NextStep.KEY_CODE_AGAIN: [_CODE],
    NextStep.KEY_EXPIRY_AGAIN: [Field.EXPIRY.value],
    NextStep.KEY_NUMBER_AGAIN: [Field.CARD_NUMBER.value],
    NextStep.KEY_POSTAL_CODE_AGAIN: [Field.POSTAL_CODE.value],
}
# A number that was keyed wrongly was another card's, or nobody's: keying it anew is not one of these.
_SAME_CARD = frozenset(_STEP_FIELDS) - {NextStep.KEY_NUMBER_AGAIN}


def call_view(session: Session, row: CallRow) -> dict[str, Any]:
    """A call."""
    return call_views(session, [row])[0]


def call_views(session: Session, rows: Sequence[CallRow]) -> list[dict[str, Any]]:
    """Calls in the given order; what else is known of them is read in one query, however many they are."""
    payment_id = (
        select(PaymentRow.id)
        .where(PaymentRow.call_id == CallRow.id)
        .order_by(PaymentRow.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(CallRow.id, OperatorRow.display_name, CustomerRow.name, CustomerRow.note, payment_id)
        .outerjoin(OperatorRow, OperatorRow.id == CallRow.operator_id)
        .outerjoin(CustomerRow, CustomerRow.number == CallRow.caller)
        .where(CallRow.id.in_([row.id for row in rows]))
    )
    known = {call_id: rest for call_id, *rest in session.execute(query)} if rows else {}
    return [_call_view(row, *known[row.id]) for row in rows]


def _call_view(
    row: CallRow, operator: str | None, name: str | None, note: str | None, payment_id: str | None
) -> dict[str, Any]:
    return {
        "id": row.id,
        "state": row.state,
        "direction": row.direction,
        "caller": row.caller,
        "called": row.called,
        "agent_uri": row.agent_uri,
        "masked": row.masked,
        "recording": row.recording,
        "alarm": row.alarm,
        "agent_leg_keys": row.agent_leg_keys,
        "test": row.test_call_id is not None,
        "operator": operator,
        "operator_id": row.operator_id,
        "customer_name": name or "",
        "customer_note": note or "",
        "payment_id": payment_id,
        "started_at": _time(row.started_at),
        "connected_at": _time(row.connected_at),
        "ended_at": _time(row.ended_at),
        "end_reason": row.end_reason,
    }


def payment_view(
    session: Session, row: PaymentRow, live: LiveCapture | None, now: datetime, now_s: float
) -> dict[str, Any]:
    """A payment with its fields, attempts and operations."""
    attempts = session.scalars(
        select(AttemptRow).where(AttemptRow.payment_id == row.id).order_by(AttemptRow.number)
    ).all()
    operations = session.scalars(
        select(OperationRow).where(OperationRow.payment_id == row.id).order_by(OperationRow.created_at)
    ).all()
    operator = session.get(OperatorRow, row.operator_id) if row.operator_id else None
    call = session.get(CallRow, row.call_id)
    call_open = call is not None and call.state != CallState.ENDED.value
    code_left = None
    if row.code_expires_at is not None and _CODE in row.stored:
        code_left = round(max(0.0, (row.code_expires_at - now).total_seconds()), 1)
    latest = attempts[-1] if attempts else None
    retry = _retry(row.card_retry, now)
    chargeable = may_authorize(row, latest, call, now) and (retry is None or retry["allowed"])
    card = {"brand": row.brand, "last4": row.last4, "expiry": row.expiry} if row.last4 else None
    return {
        "id": row.id,
        "call_id": row.call_id,
        "state": row.state,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "reference": row.reference,
        "description": row.description,
        "operator": operator.display_name if operator else None,
        "operator_id": row.operator_id,
        "fields": [
            field_view(name, name in row.stored, live, now_s) | {"may_drop": may_drop(row, name)}
            for name in row.fields
        ],
        "missing": missing_fields(row),
        "capture_open": live is not None,
        "collecting": live.collecting.value if live and live.collecting else None,
        "masked": call.masked if call else False,
        "call_open": call_open,
        "brand": (live.brand if live and live.brand else None) or row.brand,
        "card": card,
        "token": row.token,
        "token_type": row.token_type,
        "kept_token": row.kept_token,
        "security_code_seconds_left": code_left,
        "retry": retry,
        "attempts": [_attempt_view(attempt) for attempt in attempts],
        "operations": [_operation_view(operation) for operation in operations],
        "settled_minor": row.settled_minor,
        "refunded_minor": row.refunded_minor,
        "settles_part": latest is not None and latest.settles_part,
        "decision_deadline": _time(row.decision_deadline),
        "set_aside": row.set_aside_at is not None,
        "paid_again": row.decision_deadline is not None and paid_again(session, row, call),
        "actions": actions(row, call_open, chargeable),
        "needs_review": _needs_review(attempts, operations),
        "next_steps": next_steps(row, latest, call_open, chargeable, retry),
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
    }


def _attempt_view(row: AttemptRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "number": row.number,
        "state": row.state,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "acquirer": row.acquirer,
        "acquirer_reference": row.acquirer_reference,
        "authorization_code": row.authorization_code,
        "avs_result": row.avs_result,
        "code_result": row.code_result,
        "decline": row.decline,
        "reversal_due": row.reversal_due,
        "error": row.error,
        "started_at": _time(row.started_at),
        "answered_at": _time(row.answered_at),
    }


def _operation_view(row: OperationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "acquirer_reference": row.acquirer_reference,
        "error": row.error,
        "created_at": _time(row.created_at),
        "finished_at": _time(row.finished_at),
    }


def _needs_review(attempts: Sequence[AttemptRow], operations: Sequence[OperationRow]) -> str | None:
    """What waits for people: ``authorization``, ``reversal`` of a part, or the kind of an operation."""
    if any(row.state == "unknown" and row.error == NEEDS_REVIEW for row in attempts):
        return "authorization"
    if any(row.reversal_due and row.error == NEEDS_REVIEW for row in attempts):
        return "reversal"
    kinds = (row.kind for row in operations if row.state == "pending" and row.error == NEEDS_REVIEW)
    return next(kinds, None)


def may_drop(row: PaymentRow, name: str) -> bool:
    """Whether the payment could do without this field, which the vault does not have yet."""
    optional = name in (_CODE, Field.POSTAL_CODE.value)
    return optional and name in missing_fields(row) and row.state == PaymentState.CAPTURING.value


def fields_to_take(row: PaymentRow, wanted: list[str]) -> list[str]:
    """What has to be keyed when these fields are asked for.

    A new number makes the vault forget the security code, and an answered authorization has used it up: in both
    cases the code is asked for too, if the payment uses one.
    """
    fields = list(wanted)
    used_up = row.state == PaymentState.DECLINED.value or row.state == PaymentState.REVERSED.value
    if _CODE in row.fields and (Field.CARD_NUMBER.value in fields or used_up):
        fields.append(_CODE)
    return in_order(fields)


def may_authorize(row: PaymentRow, attempt: AttemptRow | None, call: CallRow | None, now: datetime) -> bool:
    """Whether the card as it is in the vault may be charged now: not long after the caller hung up."""
    if call is None or caller_is_gone(call, now):
        return False
    if row.state == PaymentState.READY.value:
        return True
    if row.state != PaymentState.DECLINED.value or attempt is None or attempt.decline is None:
        return False
    return _CODE not in row.fields and decline_from_json(attempt.decline).retry is Retry.NOW


def _retry(kept: dict[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """How often the card may be tried still, as it is now: a time that has come allows it again."""
    if kept is None or kept["allowed"] or not kept["again_at"]:
        return kept
    return {**kept, "allowed": datetime.fromisoformat(kept["again_at"]) <= now}


def actions(row: PaymentRow, call_open: bool, chargeable: bool) -> list[str]:
    """The API's calls that make sense in this state."""
    state = PaymentState(row.state)
    found = []
    if call_open and allows(state, PaymentEvent.CAPTURE_STARTED):
        found.append("capture")
    if chargeable:
        found.append("authorize")
    if state is PaymentState.UNKNOWN:
        found += ["enquire"] if row.set_aside_at is not None else ["enquire", "set-aside"]
    for name, event in (
        ("cancel", PaymentEvent.CANCELLED),
        ("settle", PaymentEvent.SETTLE_REQUESTED),
        ("void", PaymentEvent.VOID_REQUESTED),
        ("refund", PaymentEvent.REFUND_REQUESTED),
    ):
        if allows(state, event):
            found.append(name)
    return found


def next_steps(
    row: PaymentRow,
    attempt: AttemptRow | None,
    call_open: bool,
    chargeable: bool,
    retry: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """After a decline: the steps that it and the card's network allow, each with the fields that it takes."""
    if row.state != PaymentState.DECLINED.value or attempt is None or attempt.decline is None:
        return []
    steps: list[dict[str, Any]] = []
    for step in decline_from_json(attempt.decline).next_steps:
        if step in _SAME_CARD and retry is not None and not retry["allowed"]:
            continue
        if step is NextStep.OTHER_CARD:
            fields = list(row.fields)
        elif step in _STEP_FIELDS:
            fields = fields_to_take(row, _STEP_FIELDS[step])
        else:
            fields = []
        possible = call_open if fields else chargeable or step is not NextStep.RETRY
        if possible:
            steps.append({"step": step.value, "fields": fields})
    return steps


def localise(data: dict[str, Any], language: str) -> dict[str, Any]:
    """The same data with the sentences of declines in this language."""
    payment = data.get("payment")
    return {**data, "payment": localise_payment(payment, language)} if payment else data


def localise_payment(payment: dict[str, Any], language: str) -> dict[str, Any]:
    """The payment with the sentences of its declines in this language."""
    return {**payment, "attempts": [_localise_attempt(attempt, language) for attempt in payment["attempts"]]}


def _localise_attempt(attempt: dict[str, Any], language: str) -> dict[str, Any]:
    if attempt["decline"] is None:
        return attempt
    text = decline_from_json(attempt["decline"]).text(language)
    return {**attempt, "decline": {**attempt["decline"], "happened": text.happened, "say": text.say}}


def _time(value: datetime | None) -> str | None:
    return value.isoformat(timespec="milliseconds") if value else None
