"""Acquirers' webhooks: passed on to the vault as they came, which checks the signature and understands them.

Rules: nobody signs in here and nothing is read here. The body is at most 64 KiB (``headers.RequestGuard``); an
address that sends more than an acquirer would is held back, and an acquirer delivers again what was not taken.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import PlainTextResponse

from paycall.panel.access import InContext
from paycall.panel.rate_limit import RateLimit, TooManyError
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.routes.session import address_of
from paycall.panel.services.services import InServices

router = APIRouter(prefix="/api/v1", tags=["webhooks"], responses=PROBLEMS)
_NOT_PASSED_ON = frozenset({"host", "connection", "content-length", "transfer-encoding", "cookie", "expect"})


@router.post(
    "/webhooks/{acquirer}", name="take_webhook", responses={429: {"description": "wait and send again"}}
)
async def take_webhook(
    acquirer: Annotated[str, Path(pattern=r"^[a-z0-9_]{1,32}$")],
    request: Request,
    context: InContext,
    services: InServices,
) -> PlainTextResponse:
    """What an acquirer answers later. ``[accepted]`` is what Adyen waits for; to others 200 says it."""
    limit: RateLimit = request.app.state.webhook_limit
    if not limit.allows(address_of(request), context.deps.clock.monotonic()):
        raise TooManyError
    headers = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED_ON}
    for operation_id in await context.deps.vault.webhook(acquirer, headers, await request.body()):
        await services.operations.look_again(operation_id)
    return PlainTextResponse("[accepted]")
