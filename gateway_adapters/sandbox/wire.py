"""The simulator's own wire, as pure mapping: from our requests to its JSON, from its JSON to our results.

Only words that we know count: an authorization with any other status is unknown.
"""

from __future__ import annotations

from typing import Any

from gateway_adapters.http import int_of, text_of
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card
from paycall.domain.decline_codes import ISO8583
from paycall.domain.declines import decline_for

NAME = "sandbox"


def authorization_body(request: AuthorizationRequest, card: Card) -> dict[str, Any]:
    """The JSON that asks for an authorization."""
    fields: dict[str, Any] = {"number": card.pan.expose()}  # the acquirer needs it: that is the charge
    if card.expiry is not None:
        fields |= {"expiry_month": card.expiry.month, "expiry_year": card.expiry.year}
    if card.security_code is not None:
        fields["security_code"] = card.security_code.expose()  # sent once, kept by nobody
    if card.postal_code is not None:
        fields["postal_code"] = card.postal_code
    return {
        "reference": request.attempt_id,
        "payment": request.payment_id,
        "amount_minor": request.money.amount_minor,
        "currency": request.money.currency,
        "moto": True,
        "card": fields,
        "on_file": request.on_file.value if request.on_file else None,
        "previous": request.first_reference,
        "order_reference": request.reference,
        "description": request.description,
    }


def authorization_result(body: dict[str, Any]) -> AuthorizationResult:
    """What the simulator's answer says about an authorization."""
    reference = text_of(body, "id")
    code = text_of(body, "response_code")
    outcome = {
        "approved": Outcome.APPROVED,
        "partly_approved": Outcome.APPROVED,
        "declined": Outcome.DECLINED,
        "reversed": Outcome.REVERSED,
    }.get(text_of(body, "status") or "", Outcome.UNKNOWN)
    approved_minor = int_of(body, "approved_minor")
    if reference is None or code is None or (outcome is Outcome.APPROVED and not approved_minor):
        return AuthorizationResult(Outcome.UNKNOWN, NAME)
    declined = outcome is Outcome.DECLINED
    return AuthorizationResult(
        outcome=outcome,
        acquirer=NAME,
        acquirer_reference=reference,
        authorization_code=text_of(body, "authorization_code"),
        avs_result=text_of(body, "avs_result"),
        code_result=text_of(body, "code_result"),
        decline=decline_for(ISO8583, code, text_of(body, "advice_code")) if declined else None,
        approved_minor=approved_minor if outcome is Outcome.APPROVED else None,
    )


def operation_result(body: dict[str, Any]) -> OperationResult:
    """What the simulator's answer says about a settlement, void, refund or reversal."""
    outcome = {
        "done": OperationOutcome.DONE,
        "failed": OperationOutcome.FAILED,
        "pending": OperationOutcome.PENDING,
    }.get(text_of(body, "status") or "", OperationOutcome.UNKNOWN)
    return OperationResult(outcome, text_of(body, "id"), text_of(body, "response_code"))
