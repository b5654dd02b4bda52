"""What both interfaces share: the services behind a request, who sent it, identifiers in paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from paycall.domain.errors import InputError
from paycall.domain.ids import ID_PATTERN
from paycall.vault.services import Services
from paycall.vault.tokenizer import Actor

Identifier = Annotated[str, Path(pattern=ID_PATTERN)]


# Coroutines, both: FastAPI calls a plain function in a thread of its own.


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def actor_of(request: Request) -> Actor:
    """Who sent the request: the listener's role, and what the listener knows of the peer."""
    host, port = request.client if request.client else ("unknown", 0)
    return Actor(role=request.app.state.role, source=f"{host}:{port}" if port else host)


async def _actor(request: Request) -> Actor:
    return actor_of(request)


async def raw_body(request: Request, limit_bytes: int) -> bytearray:
    """The body as it came, read without any library's copy; ``InputError`` if it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise InputError
    return body


ServicesDependency = Annotated[Services, Depends(_services)]
ActorDependency = Annotated[Actor, Depends(_actor)]
