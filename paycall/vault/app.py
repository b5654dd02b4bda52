"""The vault's service: two applications, one for each role, over one state.

Rules: a role is a listener; an application has its role's routes and no others. No documentation routes, no
answer that repeats what was sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI

from gateway_adapters.registry import make_acquirer
from paycall.clock import SystemClock
from paycall.domain.card_ports import Acquirer
from paycall.domain.errors import SettingsError
from paycall.domain.ports import Clock
from paycall.metrics import new_registry
from paycall.settings import SiteSettings, VaultSettings
from paycall.tls import server_context
from paycall.vault import problems
from paycall.vault.listener import protocol_for
from paycall.vault.metrics import VaultMetrics
from paycall.vault.routes import cell, panel
from paycall.vault.services import Services

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Door:
    """Where an application is served: the address, and the options for ``uvicorn.Config``."""

    app: FastAPI
    address: str
    options: Mapping[str, Any] = field(repr=False)

    @property
    def path(self) -> Path | None:
        """The Unix socket, or None for a door on the network."""
        return Path(self.address.removeprefix("unix:")) if self.address.startswith("unix:") else None


@dataclass(frozen=True)
class VaultApps:
    """The two applications. Serve them between ``start`` and ``stop``, in one event loop."""

    cell: FastAPI
    panel: FastAPI
    services: Services = field(repr=False)
    settings: VaultSettings = field(repr=False)

    def doors(self) -> tuple[Door, Door]:
        """How each application is to be served, so that each role's door lets its own role in only.

        Raises
        ------
        SettingsError
            If a certificate is missing.
        """
        settings = self.settings
        return (
            self._door(self.cell, settings.cell_address, settings.cell_ca),
            self._door(self.panel, settings.panel_address, settings.panel_ca),
        )

    def _door(self, app: FastAPI, address: str, client_ca: Path) -> Door:
        def refused(source: str) -> None:
            note = partial(self.services.note_refused, app.state.role, source, "connect")
            asyncio.get_running_loop().run_in_executor(None, note)

        protocol = protocol_for(frozenset({os.getuid(), *self.settings.allowed_uids}), refused)
        options: dict[str, Any] = {"http": protocol}
        if not address.startswith("unix:"):
            tls = server_context(self.settings.tls_certificate, self.settings.tls_key, client_ca)
            host, _, port = address.partition("://" if "://" in address else ":")[2].rpartition(":")
            options |= {"host": host, "port": int(port), "ssl_context_factory": lambda *_: tls}
        return Door(app, address, options)

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
    metrics = VaultMetrics(new_registry())
    adapters = adapters or _adapters(settings, site, metrics)
    services = Services(settings, site, adapters, clock or SystemClock(), metrics)
    apps = {}
    for role, router in (("cell", cell.router), ("panel", panel.router)):
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.state.services = services
        app.state.role = role
        problems.install(app)
        app.include_router(router)
        app.add_api_route("/health", _health, methods=["GET"])
        apps[role] = app
    return VaultApps(cell=apps["cell"], panel=apps["panel"], services=services, settings=settings)


async def _health() -> dict[str, str]:
    return {"status": "ok"}


def _adapters(settings: VaultSettings, site: SiteSettings, metrics: VaultMetrics) -> dict[str, Acquirer]:
    adapters: dict[str, Acquirer] = {}
    for name in {settings.acquirer, *settings.acquirers}:
        table = settings.acquirers.get(name, {})
        adapters[name] = make_acquirer(name, table, _log.warning, metrics.asked)
        missing = sorted(adapters[name].traits.live_settings - table.keys())
        if missing and site.mode == "live":
            raise SettingsError(f"setting vault.acquirers.{name}.{missing[0]}: a live site cannot do without")
    return adapters
