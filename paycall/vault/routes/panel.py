"""What the panel may do: see what is not secret of a card, authorize, settle, void, refund, look up, drop.

It passes acquirers' webhooks on, unread.

No route returns a card number, and none takes one.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    CardSummary,
    KeptCard,
)
from paycall.domain.declines import decline_to_json
from paycall.domain.free_text import holds_card_number
from paycall.domain.ids import ID_PATTERN
from paycall.domain.money import Money
from paycall.vault.attempts import Attempt
from paycall.vault.reviews import Verdict
from paycall.vault.routes.common import ActorDependency, Identifier, ServicesDependency, raw_body
from paycall.vault.services import Services

router = APIRouter()
_MAX_WEBHOOK_BYTES = 65536
_AcquirerName = Annotated[str, Path(pattern=r"^[a-z0-9_]{1,32}$")]
_Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


def _no_card_number(text: str) -> str:
    """Refuse what somebody typed into the wrong field: it would be stored in clear and sent on."""
    if holds_card_number(text):
        raise ValueError("looks like a card number")
    return text


_FreeText = Annotated[str, AfterValidator(_no_card_number)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class AuthorizationBody(_Body):
    """What an authorization needs to know."""

    attempt_id: _Id
    payment_id: _Id
    token: _Id
    amount_minor: int
    currency: str
    reference: _FreeText = Field(default="", max_length=64)
    description: _FreeText = Field(default="", max_length=256)
    keep_for: _Id | None = None


class KeptCardBody(_Body):
    """Which of whose kept cards a payment is to be charged to."""

    token: _Id
    customer: _Id


class OperationBody(_Body):
    """What a settle, void or refund needs to know; without an amount it is the whole."""

    operation_id: _Id
    amount_minor: int | None = None
    currency: str | None = None


class ReviewBody(_Body):
    """What people found: of an attempt ``approved`` or ``reversed``, of an operation ``done`` or ``failed``."""

    verdict: Verdict
    acquirer_reference: _FreeText | None = Field(default=None, min_length=1, max_length=128)


@router.get("/v1/payments/{payment_id}/card")
async def card(payment_id: Identifier, services: ServicesDependency) -> CardSummary:
    """Brand, last four, expiry, how long the security code still lives, how often the card may be tried."""
    summary = await asyncio.to_thread(services.tokenizer.summary, payment_id)
    return replace(summary, retry=await asyncio.to_thread(services.budgets.told, payment_id))


@router.put("/v1/payments/{payment_id}/card", status_code=204)
async def use_kept_card(
    payment_id: Identifier, body: KeptCardBody, services: ServicesDependency, actor: ActorDependency
) -> Response:
    """Charge a customer's kept card with this payment: the payment gets a token of its own for it."""
    await asyncio.to_thread(services.kept_cards.use, payment_id, body.token, body.customer, actor)
    return Response(status_code=204)


@router.get("/v1/customers/{customer}/cards")
async def kept_cards(customer: Identifier, services: ServicesDependency) -> dict[str, list[KeptCard]]:
    """The cards that are kept for a customer."""
    return {"cards": await asyncio.to_thread(services.kept_cards.of, customer)}


@router.delete("/v1/customers/{customer}/cards/{token}", status_code=204)
async def delete_kept_card(
    customer: Identifier, token: Identifier, services: ServicesDependency, actor: ActorDependency
) -> Response:
    """Forget a kept card."""
    await asyncio.to_thread(services.kept_cards.delete, customer, token, actor)
    return Response(status_code=204)


@router.delete("/v1/payments/{payment_id}", status_code=204)
async def drop(payment_id: Identifier, services: ServicesDependency, actor: ActorDependency) -> Response:
    """The payment is over: forget its security code and its card."""
    await asyncio.to_thread(services.tokenizer.drop, payment_id, actor)
    return Response(status_code=204)


@router.post("/v1/authorizations")
async def authorize(
    body: AuthorizationBody, services: ServicesDependency, actor: ActorDependency
) -> dict[str, Any]:
    """Authorize, once for each attempt id."""
    request = AuthorizationRequest(
        attempt_id=body.attempt_id,
        payment_id=body.payment_id,
        money=Money(body.amount_minor, body.currency),
        reference=body.reference,
        description=body.description,
        keep_for=body.keep_for or "",
    )
    return _result(await services.authorizer.authorize(request, body.token, actor), services)


@router.get("/v1/authorizations/{attempt_id}")
async def attempt(attempt_id: Identifier, services: ServicesDependency) -> dict[str, Any]:
    """What is known of an attempt now, what is done to find it out, and whether it waits for people."""
    return _known(await asyncio.to_thread(services.authorizer.find, attempt_id), services)


@router.post("/v1/authorizations/{attempt_id}/abandon")
async def abandon(
    attempt_id: Identifier, services: ServicesDependency, actor: ActorDependency
) -> dict[str, Any]:
    """The same of an attempt that nobody waits for any more; 404 makes sure that it is never sent."""
    return _known(await asyncio.to_thread(services.authorizer.abandon, attempt_id, actor), services)


@router.post("/v1/authorizations/{attempt_id}/enquire")
async def enquire(attempt_id: Identifier, services: ServicesDependency) -> dict[str, Any]:
    """The same of an attempt, after the acquirer was asked what it has: nothing is sent that could charge."""
    await services.resolver.enquire(attempt_id, services.authorizer)
    return _known(await asyncio.to_thread(services.authorizer.find, attempt_id), services)


@router.post("/v1/reviews/{subject}", status_code=204)
async def close_by_hand(
    subject: Identifier, body: ReviewBody, services: ServicesDependency, actor: ActorDependency
) -> Response:
    """Close an attempt or operation that waits for people, as they found it at the acquirer."""
    await asyncio.to_thread(services.reviews.close, subject, body.verdict, body.acquirer_reference, actor)
    return Response(status_code=204)


@router.post("/v1/authorizations/{attempt_id}/{kind}")
async def operate(
    attempt_id: Identifier,
    kind: Literal["settle", "void", "refund"],
    body: OperationBody,
    services: ServicesDependency,
    actor: ActorDependency,
) -> dict[str, Any]:
    """Settle, void or refund, once for each operation id."""
    money = None
    if body.amount_minor is not None or body.currency is not None:
        money = Money(body.amount_minor or 0, body.currency or "")
    result = await services.operations.carry_out(kind, body.operation_id, attempt_id, money, actor)
    return {
        "outcome": result.outcome.value,
        "acquirer_reference": result.acquirer_reference,
        "raw_code": result.raw_code,
        "needs_review": await asyncio.to_thread(services.reviews.operation_waits, body.operation_id),
    }


@router.post("/v1/webhooks/{acquirer}")
async def webhook(acquirer: _AcquirerName, request: Request, services: ServicesDependency) -> dict[str, Any]:
    """What an acquirer tells us later, and the operations that failed by it; 403 unless it is signed."""
    body = bytes(await raw_body(request, _MAX_WEBHOOK_BYTES))
    return {"failed": await asyncio.to_thread(services.webhooks.take, acquirer, dict(request.headers), body)}


def _known(found: Attempt, services: Services) -> dict[str, Any]:
    search = services.resolver.search(found)
    return _result(found.result(), services) | {
        "needs_review": services.reviews.waits(found, found.acquirer),
        "search": asdict(search) if search else None,
    }


def _result(result: AuthorizationResult, services: Services) -> dict[str, Any]:
    traits = services.acquirers.traits_of(result.acquirer)
    return {
        "outcome": result.outcome.value,
        "acquirer": result.acquirer,
        "acquirer_reference": result.acquirer_reference,
        "authorization_code": result.authorization_code,
        "avs_result": result.avs_result,
        "code_result": result.code_result,
        "approved_minor": result.approved_minor,
        "decline": decline_to_json(result.decline) if result.decline else None,
        "needs_review": False,
        "search": None,
        "settles_part": traits is not None and traits.settles_part,
        "reversal_due": result.reversal_due,
    }
