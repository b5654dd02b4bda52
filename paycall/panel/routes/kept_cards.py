"""The cards that a caller let be kept for later payments: what there is, and forgetting one."""

from __future__ import annotations

from fastapi import APIRouter, Request

from paycall.panel.access import SignedIn
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of
from paycall.panel.schemas import Id, KeptCards
from paycall.panel.schemas import KeptCard as KeptCardView
from paycall.panel.services.services import InServices

router = APIRouter(prefix="/api/v1", tags=["payments"], responses=PROBLEMS)


@router.get("/calls/{call_id}/kept-cards", name="list_kept_cards")
async def list_kept_cards(call_id: Id, principal: SignedIn, services: InServices) -> KeptCards:
    """The cards that are kept for this call's customer; charge one with ``kept_card`` of a new payment."""
    cards = await services.kept_cards.of_call(call_id, principal)
    return KeptCards(kept_cards=[KeptCardView(**vars(card)) for card in cards])


@router.delete("/calls/{call_id}/kept-cards/{token}", name="delete_kept_card", status_code=204)
async def delete_kept_card(
    call_id: Id, token: Id, request: Request, principal: SignedIn, services: InServices
) -> None:
    """Forget a kept card, and what payments have of it."""
    await services.kept_cards.delete(call_id, token, principal, address_of(request))
