"""What both interfaces share: the services behind a request, who sent it, identifiers in paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from paycall.domain.ids import ID_PATTERN
from paycall.vault.services import Services
from paycall.vault.tokenizer import Actor

Identifier = Annotated[str, Path(pattern=ID_PATTERN)]


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _actor(request: Request) -> Actor:
    source = f"{request.client.host}:{request.client.port}" if request.client else "unix"
    return Actor(role=request.app.state.role, source=source)


ServicesDependency = Annotated[Services, Depends(_services)]
ActorDependency = Annotated[Actor, Depends(_actor)]
