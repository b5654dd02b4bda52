"""The composition root: the only module that knows every other. Puts each process together and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from paycall.clock import SystemClock
from paycall.domain.errors import SettingsError
from paycall.logs import configure_logs
from paycall.metrics import serving_metrics
from paycall.private_socket import private_socket
from paycall.process import end_with_parent, restart_with, serve_until_signal, web_server
from paycall.settings import Settings
from paycall.settings_file import load_settings
from paycall.tls import client_context, server_context

if TYPE_CHECKING:
    from paycall.control.messages import Event

log = structlog.get_logger(__name__)


def _begin(config: Path | None) -> Settings:
    """What every single process does first."""
    settings = load_settings(config)
    os.umask(0o077)  # whatever we write is for this user only
    if os.environ.get("PAYCALL_SUPERVISED"):
        end_with_parent()
    configure_logs(settings.site.log_level)
    return settings


def run_panel(config: Path | None) -> int:
    """The panel and the hub that cells dial."""
    from paycall.control.hub import Hub
    from paycall.panel.app import create_app
    from paycall.panel.dependencies import PanelDependencies
    from paycall.panel.vault_client import HttpPaymentVault
    from paycall.store.database import open_database

    settings = _begin(config)
    panel = settings.panel
    app: Any = None

    async def handle(sender_id: str, event: Event) -> None:
        await app.state.handle_event(sender_id, event)

    hub = Hub(handle)
    certs = settings.site.certificates
    hub_tls = vault_tls = None
    if panel.control_address.startswith("tls:"):
        hub_tls = server_context(certs / "hub.pem", certs / "hub.key", certs / "ca-cell.pem")
    if not panel.vault_address.startswith("unix:"):
        vault_tls = client_context(certs / "panel.pem", certs / "panel.key", certs / "ca-server.pem")
    database = open_database(panel.database_url.get_secret_value())
    deps = PanelDependencies(
        settings=panel,
        site=settings.site,
        database=database,
        calls=hub,
        vault=HttpPaymentVault(panel.vault_address, vault_tls),
        test_calls=_test_calls(settings),
        clock=SystemClock(),
    )
    app = create_app(deps)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(asgi: Any) -> AsyncIterator[Any]:
        async with inner(asgi) as state, hub.serve(panel.control_address, hub_tls):
            yield state

    app.router.lifespan_context = lifespan
    server = web_server(app, host=panel.host, port=panel.port)
    registry = app.state.context.metrics.registry
    with serving_metrics("panel", panel.metrics_port, panel.metrics_address, registry):
        asyncio.run(serve_until_signal([(server, None)], app.state.close_streams))
    database.dispose()
    return 0


def run_vault(config: Path | None) -> int:
    """The vault: two apps, one for each role, each on its own listener."""
    from paycall.vault.hardening import ENVIRONMENT, harden

    settings = _begin(config)  # first: a wrong setting is told by the process that was started
    restart_with(ENVIRONMENT)
    from paycall.vault.app import create_apps

    for measure in harden():
        log.warning("hardening_refused", reason=measure)
    vault = settings.vault.model_copy(update={"acquirers": resolve_files(settings.vault.acquirers)})

    async def run() -> None:
        apps = create_apps(vault, settings.site)
        await apps.start()
        registry = apps.services.metrics.registry
        try:
            with serving_metrics("vault", vault.metrics_port, vault.metrics_address, registry):
                await serve_until_signal(
                    [
                        (
                            web_server(door.app, **door.options),
                            private_socket(door.path) if door.path else None,
                        )
                        for door in apps.doors()
                    ]
                )
        finally:
            await apps.stop()

    asyncio.run(run())
    return 0


def run_media(config: Path | None) -> int:
    """A media node with its cells."""
    from paycall.media.hardening import ENVIRONMENT

    settings = _begin(config)
    restart_with(ENVIRONMENT)
    from paycall.media.node import run_node

    return run_node(settings.media, settings.site)


def run_sandbox(config: Path | None) -> int:
    """The acquirer simulator."""
    from gateway_adapters.sandbox.server import create_app

    settings = _begin(config)
    sandbox = settings.sandbox
    key = read_secret(sandbox.api_key_file)
    sandbox.ledger.parent.mkdir(parents=True, exist_ok=True)
    app = create_app(
        sandbox.ledger,
        key,
        rules=sandbox.rules,
        webhook_urls=sandbox.webhook_urls,
        iso8583_port=sandbox.iso8583_port,
    )
    server = web_server(app, host=sandbox.host, port=sandbox.port)
    asyncio.run(serve_until_signal([(server, None)]))
    return 0


def read_secret(path: Path) -> str:
    """A secret that lies in a file of its own.

    Raises
    ------
    SettingsError
        If it can't be read; the path is named, never the content.
    """
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"the secret file {path} cannot be read; `paycall prepare` makes the first ones"
        ) from None


def resolve_files(acquirers: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings of acquirers with each ``name_file`` replaced by ``name``, read from that file."""
    return {
        acquirer: {
            (key.removesuffix("_file") if key.endswith("_file") else key): (
                read_secret(Path(value)) if key.endswith("_file") else value
            )
            for key, value in table.items()
        }
        for acquirer, table in acquirers.items()
    }


def _test_calls(settings: Settings) -> Any:
    if not settings.panel.test_calls:
        return None
    from paycall.demo.test_calls import ScriptedTestCalls

    media = settings.media
    uris = [f"sip:shop@{media.address}:{media.first_sip_port + n}" for n in range(media.cells)]
    return ScriptedTestCalls(uris, media.address)
