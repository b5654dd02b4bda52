"""The vault's doors: credentials on the Unix socket, one authority a role on the network."""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from paycall import certs_command
from paycall.domain.errors import SettingsError
from paycall.domain.ids import new_id
from paycall.private_socket import private_socket
from paycall.process import web_server
from paycall.settings import SiteSettings, VaultSettings
from paycall.tls import client_context
from paycall.vault.app import VaultApps, create_apps
from paycall.vault.tables import audit
from tests.fakes.vault_harness import NUMBER, VaultHarness
from tests.phones.rtp import free_port
from tests.phones.site import PATIENCE_S


@pytest.fixture
def vault(tmp_path: Path) -> VaultHarness:
    return VaultHarness(tmp_path)


@asynccontextmanager
async def served(vault: VaultHarness, **settings: Any) -> AsyncIterator[tuple[VaultApps, dict[str, int]]]:
    """The vault behind its real listeners; gives the applications and the TLS ports by role."""
    values = vault.settings.model_dump() | settings
    apps = create_apps(
        VaultSettings(**values), SiteSettings(), adapters={"sandbox": vault.acquirer}, clock=vault.clock
    )
    await apps.start()
    servers: list[uvicorn.Server] = []
    tasks = []
    for door in apps.doors():
        server = web_server(door.app, **door.options)
        unix = [private_socket(door.path)] if door.path else None
        servers.append(server)
        tasks.append(asyncio.create_task(server.serve(sockets=unix)))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not all(server.started for server in servers):
                await asyncio.sleep(0.01)
        ports = {}
        for role, server in zip(("cell", "panel"), servers, strict=True):
            where = server.servers[0].sockets[0].getsockname()
            ports[role] = where[1] if isinstance(where, tuple) else 0
        yield apps, ports
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        await apps.stop()


def told(apps: VaultApps) -> list[tuple[str, str, str, str]]:
    with apps.services.store.begin() as connection:
        columns = (audit.table.c.actor, audit.table.c.action, audit.table.c.result, audit.table.c.source)
        return [tuple(row) for row in connection.execute(audit.table.select().with_only_columns(*columns))]


def unix_client(path: Path) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    return httpx.AsyncClient(transport=transport, base_url="http://vault", timeout=PATIENCE_S)


async def store(client: httpx.AsyncClient) -> httpx.Response:
    url = f"/v1/payments/{new_id('pay')}/fields/payment-card-number"
    return await client.put(url, json={"value": NUMBER})


def test_the_peer_of_a_unix_socket_is_known_and_another_role_s_route_is_written_down(
    vault: VaultHarness, tmp_path: Path
) -> None:
    sockets = {"cell_address": f"unix:{tmp_path / 'c'}", "panel_address": f"unix:{tmp_path / 'p'}"}

    async def main() -> None:
        async with served(vault, **sockets) as (apps, _):
            async with unix_client(tmp_path / "c") as cell, unix_client(tmp_path / "p") as panel:
                assert (await store(cell)).status_code == 200
                assert (await store(panel)).status_code == 404
            me = f"uid={os.getuid()} pid={os.getpid()}"
            assert ("cell", "store payment-card-number", "stored", me) in told(apps)
            assert ("panel", "ask for an unknown route", "refused", me) in told(apps)

    asyncio.run(main())


def test_another_user_is_turned_away_before_anything_is_read(
    vault: VaultHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = {"cell_address": f"unix:{tmp_path / 'c'}", "panel_address": f"unix:{tmp_path / 'p'}"}
    uid = os.getuid()

    async def main() -> None:
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)  # the vault's own user is another one
        async with served(vault, **sockets) as (apps, _):
            async with unix_client(tmp_path / "c") as cell:
                with pytest.raises(httpx.TransportError):
                    await store(cell)
            async with asyncio.timeout(PATIENCE_S):
                while not any(entry[1:3] == ("connect", "refused") for entry in told(apps)):
                    await asyncio.sleep(0.02)
        async with served(vault, **sockets, allowed_uids=(uid,)) as _, unix_client(tmp_path / "c") as cell:
            assert (await store(cell)).status_code == 200

    asyncio.run(main())


def tls(folder: Path, name: str, authority: str = "server") -> ssl.SSLContext:
    return client_context(folder / f"{name}.pem", folder / f"{name}.key", folder / f"ca-{authority}.pem")


def certs(folder: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    certs_command.add_arguments(parser)
    return certs_command.run(parser.parse_args(["--folder", str(folder), *words]))


def network(folder: Path) -> dict[str, Any]:
    return {
        "cell_address": f"https://127.0.0.1:{free_port()}",
        "panel_address": f"https://127.0.0.1:{free_port()}",
        "tls_certificate": folder / "vault.pem",
        "tls_key": folder / "vault.key",
        "cell_ca": folder / "ca-cell.pem",
        "panel_ca": folder / "ca-panel.pem",
    }


async def answer(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> int:
    url = f"https://{host}:{port}"
    async with httpx.AsyncClient(verify=context, base_url=url, timeout=PATIENCE_S) as client:
        return (await store(client)).status_code


def test_each_door_opens_to_its_own_role_s_certificate_only(vault: VaultHarness, tmp_path: Path) -> None:
    folder, other = tmp_path / "certs", tmp_path / "other"
    assert certs(folder, "init") == certs(other, "init") == 0

    async def main() -> None:
        async with served(vault, **network(folder)) as (apps, ports):
            assert await answer(ports["cell"], tls(folder, "cell")) == 200
            assert await answer(ports["panel"], tls(folder, "panel")) == 404  # its door, not its route
            sources = [source for _, action, _, source in told(apps) if action.startswith("store")]
            assert sources[0].startswith("paycall cell 127.0.0.1:")
            strangers = other / "mixed.pem", other / "cell.key"
            strangers[0].write_bytes((other / "cell.pem").read_bytes())
            nobody = ssl.create_default_context(cafile=str(folder / "ca-server.pem"))
            foreign = client_context(*strangers, folder / "ca-server.pem")
            refused = (
                (ports["cell"], tls(folder, "panel")),
                (ports["panel"], tls(folder, "cell")),
                (ports["cell"], nobody),
                (ports["cell"], foreign),
                (ports["cell"], tls(folder, "vault")),
            )
            for port, context in refused:
                with pytest.raises(httpx.TransportError):
                    await answer(port, context)
            with pytest.raises(httpx.ConnectError):  # a server of another site
                await answer(
                    ports["cell"],
                    client_context(folder / "cell.pem", folder / "cell.key", other / "ca-server.pem"),
                )
            with pytest.raises(httpx.ConnectError):  # a name that the certificate does not have
                await answer(ports["cell"], tls(folder, "cell"), host="127.0.0.2")

    asyncio.run(main())


def test_certificates_are_kept_renewed_and_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "certs"
    assert certs(folder, "init", "--host", "vault.example", "--host", "10.0.0.7") == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert certs(folder, "init") == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert certs(folder, "renew") == 0
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {
        f"{name}.{kind}" for name in ("vault", "hub", "cell", "panel") for kind in ("pem", "key")
    }
    capsys.readouterr()
    (folder / "cell.pem").unlink()
    assert certs(folder, "status") == 1 and "cell       is missing" in capsys.readouterr().out
    (folder / "ca-cell.key").unlink()
    with pytest.raises(SettingsError, match="ca-cell"):
        certs(folder, "init")


def test_a_missing_certificate_stops_the_start_with_one_line(vault: VaultHarness, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(SettingsError, match="cannot be used"):
            async with served(vault, **network(tmp_path / "none")):
                pass

    asyncio.run(main())
