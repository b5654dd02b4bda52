"""Twilio's generic pay connector as pure mapping: the charge request and its answer.

Rules: a charge id without an error is an approval, an error without a charge id a decline, anything else unknown.
Source: Twilio's "Generic Pay Connector" page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_adapters.http import text_of
from paycall.domain.authorization import AuthorizationRequest, AuthorizationResult, Outcome
from paycall.domain.card_ports import Card
from paycall.domain.declines import CodeKind, System, decline_for, is_known, kind_of

NAME = "generic"
_NO_ERROR = (None, "", "null", "0")


def charge_body(request: AuthorizationRequest, card: Card, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The JSON that charges at once. Amounts are decimals in major units."""
    body: dict[str, Any] = {
        "method": "charge",
        "payment_method": "credit-card",
        "transaction_id": request.attempt_id,
        "cardnumber": card.pan.expose(),  # the endpoint needs it: that is the charge
        "amount": str(request.money.decimal),
        "currency_code": request.money.currency.lower(),
        "description": request.description,
        "parameters": dict(parameters) | {"payment_id": request.payment_id, "reference": request.reference},
    }
    if card.expiry is not None:
        body |= {
            "expiry_month": f"{card.expiry.month:02d}",
            "expiry_year": f"{card.expiry.year % 100:02d}",
        }
    if card.security_code is not None:
        body["cvv"] = card.security_code.expose()  # sent once, kept by nobody
    if card.postal_code is not None:
        body["postal_code"] = card.postal_code
    return body


def charge_result(
    body: Mapping[str, Any], request: AuthorizationRequest, codes: System
) -> AuthorizationResult:
    """What the answer says; ``codes`` is whose error codes the endpoint uses."""
    charge_id, error = text_of(body, "charge_id"), text_of(body, "error_code")
    unreadable = error is None and body.get("error_code") not in _NO_ERROR
    if charge_id not in (None, "null") and error in _NO_ERROR and not unreadable:
        return AuthorizationResult(
            Outcome.APPROVED, NAME, charge_id, approved_minor=request.money.amount_minor
        )
    # "Too late", "system error" say that there was an error, not that there was no charge.
    declines = error is not None and (
        not is_known(codes, error) or kind_of(codes, error) is CodeKind.DECLINED
    )
    if charge_id in (None, "null") and error not in _NO_ERROR and error is not None and declines:
        return AuthorizationResult(Outcome.DECLINED, NAME, decline=decline_for(codes, error))
    return AuthorizationResult(Outcome.UNKNOWN, NAME)
