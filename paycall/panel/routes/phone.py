"""The operator's phone: link codes for a phone behind a PBX, and calls dialled from the panel."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from paycall.panel.access import InContext, SignedIn
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of
from paycall.panel.schemas import Call, DialOut, LinkCode
from paycall.panel.services.services import InServices
from paycall.panel.services.views import call_view
from paycall.panel.services.visibility import call_for

_TOO_MANY: dict[int | str, dict[str, Any]] = {429: {"description": "too often; wait a minute"}}
router = APIRouter(prefix="/api/v1", tags=["calls"], responses={**PROBLEMS, **_TOO_MANY})


@router.post("/link-codes", name="create_link_code", status_code=201)
async def create_link_code(request: Request, principal: SignedIn, services: InServices) -> LinkCode:
    """A code that makes the call on your phone yours when you key ``*9`` and it there; ``call.linked`` follows.

    For phones behind a PBX's queue, where paycall cannot know who has answered. A code is good once and for as many
    seconds as the answer says; the one that you had before is good no more.
    """
    code, seconds = await services.linking.issue(principal, address_of(request))
    return LinkCode(code=code, seconds=seconds)


@router.post("/calls", name="dial_out", status_code=202)
async def dial_out(
    body: DialOut, request: Request, principal: SignedIn, context: InContext, services: InServices
) -> Call:
    """Ring your phone, then call this number; ``call.connected`` or ``call.ended`` with its reason follows.

    Refused with ``no-trunk`` where calls cannot be dialled out, ``no-phone`` where your account names no phone,
    ``number-not-allowed`` by the trunk's settings, ``wrong-state`` while every line is busy.
    """
    call_id = await services.dialling.dial(body.to, principal, address_of(request))
    return Call(
        **await context.read(lambda session: call_view(session, call_for(session, call_id, principal)))
    )
