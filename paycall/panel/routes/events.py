"""Server-sent events: ``call.*``, ``capture.*``, ``payment.*``, with ids to resume from."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from paycall.panel.access import InContext, SignedIn
from paycall.panel.roles import Permission
from paycall.panel.routes.calls import PROBLEMS
from paycall.panel.services.api_keys import is_still_good
from paycall.panel.services.sessions import find_principal
from paycall.panel.stream import Viewer
from paycall.store.database import reading

router = APIRouter(prefix="/api/v1", tags=["events"], responses=PROBLEMS)


@router.get(
    "/events",
    name="follow_events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow_events(
    principal: SignedIn,
    context: InContext,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    after: Annotated[str | None, Query(max_length=100, description="like Last-Event-ID")] = None,
) -> StreamingResponse:
    """Follow what happens. Resume with ``Last-Event-ID``; a ``reset`` event means: load the state anew."""
    viewer = Viewer(
        principal.operator_id or "",
        principal.sees_all,
        principal.language,
        sees_payments=principal.may(Permission.SEE_PAYMENTS),
    )

    def is_valid() -> bool:
        if principal.session_hash is None:
            with reading(context.deps.database) as session:
                return is_still_good(session, principal.id, context.now())
        idle = timedelta(minutes=context.deps.settings.idle_minutes)
        with reading(context.deps.database) as session:
            return find_principal(session, principal.session_hash, context.now(), idle) is not None

    async def still_valid() -> bool:
        return await asyncio.to_thread(is_valid)

    return StreamingResponse(
        context.stream.follow(viewer, last_event_id or after, still_valid),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},
    )
