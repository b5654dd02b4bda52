"""The vault reads no request longer than any of its routes may need: whoever has a door cannot fill its memory.

Routes that take bytes as they come have narrower limits of their own.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Twice an acquirer's longest webhook; everything else is a few hundred bytes of JSON.
MAX_BODY_BYTES = 128 << 10


class BodyLimit:
    """Refuses a body that is too long, by what it says of itself or by what has come of it (413)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "0")
        too_long = not said.isdecimal() or int(said) > MAX_BODY_BYTES
        came_bytes = 0

        async def counted() -> Message:
            nonlocal came_bytes
            message = await receive() if not too_long else {"type": "http.request", "body": b""}
            came_bytes += len(message.get("body", b""))
            if too_long or came_bytes > MAX_BODY_BYTES:
                # Whatever still comes of it is not waited for.
                raise HTTPException(413, headers={"connection": "close"})
            return message

        await self._app(scope, counted, send)
