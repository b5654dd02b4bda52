"""The vault's service: two applications, one for each role, over one state.

Rules: a role is a listener; an application has its role's routes and no others. No documentation routes, no
answer that repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI

from gateway_adapters.registry import make_acquirer
from paycall.clock import SystemClock
from paycall.domain.card_ports import Acquirer
from paycall.domain.ports import Clock
from paycall.settings import SiteSettings, VaultSettings
from paycall.vault import problems
from paycall.vault.routes import cell, panel
from paycall.vault.services import Services


@dataclass(frozen=True)
class VaultApps:
    """The two applications. Serve them between ``start`` and ``stop``, in one event loop."""

    cell: FastAPI
    panel: FastAPI
    services: Services = field(repr=False)

    async def start(self) -> None:
        """Open database and keys, start the background work."""
        await self.services.start()

    async def stop(self) -> None:
        """Finish what is on its way and close."""
        await self.services.stop()


def create_apps(
    settings: VaultSettings,
    site: SiteSettings,
    *,
    adapters: Mapping[str, Acquirer] | None = None,
    clock: Clock | None = None,
) -> VaultApps:
    """Put the vault together.

    Parameters
    ----------
    adapters
        The acquirers by name; None builds those that the settings name from the registry.
    clock
        The time; None takes the machine's.

    Raises
    ------
    SettingsError
        If keys or acquirers are not set up.
    """
    services = Services(settings, site, adapters or _adapters(settings), clock or SystemClock())
    apps = {}
    for role, router in (("cell", cell.router), ("panel", panel.router)):
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.state.services = services
        app.state.role = role
        problems.install(app)
        app.include_router(router)
        app.add_api_route("/health", _health, methods=["GET"])
        apps[role] = app
    return VaultApps(cell=apps["cell"], panel=apps["panel"], services=services)


async def _health() -> dict[str, str]:
    return {"status": "ok"}


def _adapters(settings: VaultSettings) -> dict[str, Acquirer]:
    names = {settings.acquirer, *settings.acquirers}
    return {name: make_acquirer(name, settings.acquirers.get(name, {})) for name in names}
