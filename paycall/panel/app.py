"""The panel's app: ``create_app(dependencies)`` builds it, nothing happens at import.

``app.state.handle_event`` is the hub's handler, ``app.state.close_streams()`` ends the event streams, which
would otherwise keep a server from stopping, ``app.state.context.metrics.registry`` what it counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.staticfiles import StaticFiles

from paycall.metrics import new_registry
from paycall.panel import problems
from paycall.panel.access import ACCESS, gate
from paycall.panel.dependencies import PanelDependencies
from paycall.panel.headers import RequestGuard, SecurityHeaders
from paycall.panel.live import LiveCaptures
from paycall.panel.metrics import PanelMetrics, PanelState
from paycall.panel.pages import page_handlers
from paycall.panel.rate_limit import RateLimit
from paycall.panel.roles import SCOPES
from paycall.panel.routes import (
    account,
    audit,
    board,
    calls,
    docs,
    events,
    history,
    kept_cards,
    oidc,
    passkeys,
    payments,
    people,
    phone,
    programs,
    session,
    sign_in,
    subscriptions,
    webhooks,
)
from paycall.panel.services.audit import keep_witness
from paycall.panel.services.context import Context
from paycall.panel.services.oidc import OidcProvider
from paycall.panel.services.sealed import Sealer
from paycall.panel.services.services import Services, wire
from paycall.panel.services.views import localise
from paycall.panel.services.webhook_sender import WebhookSender
from paycall.panel.sign_in_gate import SignInGate
from paycall.panel.stream import EventStream
from paycall.panel.tasks import BackgroundTasks

ROUTERS: tuple[APIRouter, ...] = (
    session.router,
    calls.router,
    phone.router,
    payments.router,
    kept_cards.router,
    events.router,
    webhooks.router,
    history.router,
    account.router,
    people.router,
    docs.router,
    sign_in.router,
    oidc.router,
    board.router,
    history.pages,
    account.pages,
    people.pages,
    audit.pages,
    passkeys.router,
    programs.router,
    programs.pages,
    subscriptions.router,
    subscriptions.pages,
)
# Each behind the gate. Put together once a process: hundreds of tests make an app of their own.
_ROUTES = APIRouter(dependencies=[Depends(gate)])
for _router in ROUTERS:
    _ROUTES.include_router(_router)
_STATIC = Path(__file__).parent / "static"


def create_app(deps: PanelDependencies) -> FastAPI:
    """The panel as an ASGI app."""
    metrics = PanelMetrics(new_registry())
    stream = EventStream(localise, metrics.dot_shown)
    sealer = Sealer(deps.settings.secret_file)
    context = Context(deps, stream, LiveCaptures(), BackgroundTasks(), sealer, metrics)
    metrics.registry.register(PanelState(stream, deps.database, context.now))
    services = wire(context)
    app = FastAPI(
        title="paycall",
        version=version("paycall"),
        summary="Card payments in the middle of a phone call",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(gate)],  # for what would be added to the app itself
        lifespan=_lifespan(context, services),
    )
    app.state.context = context
    app.state.scopes = _scopes()
    app.state.services = services
    app.state.handle_event = services.events.handle
    app.state.close_streams = context.stream.close
    app.state.webhook_limit = RateLimit(burst=200, per_second=20)
    app.state.oidc = OidcProvider(deps.settings.oidc) if deps.settings.oidc else None
    app.state.sign_in_limit = RateLimit(burst=30, per_second=1)
    app.state.sign_in_gate = SignInGate()
    app.state.key_limit = RateLimit(burst=100, per_second=20)
    app.router.routes.extend(_ROUTES.routes)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    problems.add_handlers(app)
    page_handlers(app)
    app.add_middleware(RequestGuard)
    app.add_middleware(
        SecurityHeaders,
        frame_ancestors=deps.settings.frame_ancestors,
        https=deps.settings.public_url.startswith("https:"),
    )
    return app


def _scopes() -> dict[str, list[str]]:
    """By the id of an operation that is not open to everybody: the scopes that open it to a program."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return {
        route.unique_id: [scope.value for scope, gives in SCOPES.items() if needed in gives]
        for route in routes
        if (needed := ACCESS[route.name]) is not None
    }


def _lifespan(context: Context, services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(_app: FastAPI) -> AsyncIterator[None]:
        context.tasks.start(services.caretaker.run(), "caretaker")
        context.tasks.start(keep_witness(context.deps.database, context.deps.clock), "audit")
        context.tasks.start(WebhookSender(context).run(), "webhooks")
        try:
            yield
        finally:
            context.stream.close()
            await context.tasks.stop()

    return run
