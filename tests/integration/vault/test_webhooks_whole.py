"""Webhooks over real HTTP: the simulator signs and sends them, the panel passes them on, the vault knows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from gateway_adapters.sandbox.ledger import Ledger
from gateway_adapters.sandbox.server import create_app
from gateway_adapters.sandbox.wires.adyen import MERCHANT_ACCOUNT, webhook_hmac_key
from gateway_adapters.sandbox.wires.stripe import webhook_secret
from paycall.domain.ids import new_id
from paycall.panel.vault_client import HttpPaymentVault
from paycall.settings import SiteSettings, VaultSettings
from paycall.vault.app import create_apps
from paycall.vault.keys import create_key_file
from tests.fakes.panel_world import PanelWorld
from tests.fakes.vault_harness import Client

KEY = "webhook-test-key"


@dataclass
class Site:
    """Simulator, vault and panel, each behind a server of its own."""

    ledger: Ledger
    vault: Client
    panel: httpx.AsyncClient

    async def until_delivered(self, wire: str, count: int) -> None:
        async with asyncio.timeout(40):
            while True:
                sent = self.ledger.webhooks(wire)
                if len(sent) >= count and all(webhook.delivered for webhook in sent):
                    return
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving(app: FastAPI, where: socket.socket) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    task = asyncio.create_task(server.serve([where]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _bound() -> tuple[socket.socket, str]:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound, f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.asynccontextmanager
async def site(folder: Path, acquirer: str) -> AsyncIterator[Site]:
    at_simulator, simulator_url = _bound()
    at_panel, panel_url = _bound()
    at_vault = socket.socket(socket.AF_UNIX)
    at_vault.bind(str(folder / "vault.sock"))
    hooks = {name: f"{panel_url}/api/v1/webhooks/{name}" for name in ("adyen", "stripe")}
    simulator = create_app(folder / "ledger.sqlite3", KEY, webhook_urls=hooks)
    (folder / "vault").mkdir()
    create_key_file(folder / "vault" / "keys.json")
    tables: dict[str, dict[str, Any]] = {
        "adyen": {
            "url": f"{simulator_url}/adyen/v71",
            "api_key": KEY,
            "merchant_account": MERCHANT_ACCOUNT,
            "webhook_hmac_key": webhook_hmac_key(KEY),
        },
        "stripe": {"url": f"{simulator_url}/stripe", "api_key": KEY, "webhook_secret": webhook_secret(KEY)},
    }
    settings = VaultSettings(
        key_file=folder / "vault" / "keys.json",
        database_url=SecretStr(f"sqlite:///{folder / 'vault' / 'vault.sqlite3'}"),
        acquirer=acquirer,
        acquirers={acquirer: tables[acquirer]},
    )
    apps = create_apps(settings, SiteSettings())
    await apps.start()
    world = PanelWorld(folder)
    client = HttpPaymentVault(f"unix:{folder / 'vault.sock'}")
    world.vault = client  # type: ignore[assignment]  # the real one
    panel = world._make()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(world.database.dispose)
        stack.push_async_callback(apps.stop)
        stack.push_async_callback(client.close)
        stack.callback(simulator.state.simulator.ledger.close)
        for app, bound in ((simulator, at_simulator), (apps.panel, at_vault), (panel, at_panel)):
            await stack.enter_async_context(serving(app, bound))
        transports = (httpx.ASGITransport(apps.cell), httpx.ASGITransport(apps.panel))
        cell, to_vault = [
            await stack.enter_async_context(httpx.AsyncClient(transport=t, base_url="http://vault"))
            for t in transports
        ]
        outside = httpx.AsyncClient(base_url=panel_url, timeout=40, trust_env=False)
        await stack.enter_async_context(outside)
        yield Site(simulator.state.simulator.ledger, Client(apps, cell, to_vault), outside)


async def _until_done(vault: Client, attempt_id: str, kind: str, operation_id: str) -> None:
    async with asyncio.timeout(40):
        while (await vault.operate(attempt_id, kind, operation_id)).json()["outcome"] != "done":
            await asyncio.sleep(0.05)


def test_adyen_settles_and_refunds_by_webhook(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, "adyen") as here:
            payment_id, token = await here.vault.capture()
            attempt_id = new_id("att")
            answer = await here.vault.authorize(payment_id, token, attempt_id)
            assert answer.json()["outcome"] == "approved"
            for kind in ("settle", "refund"):
                operation_id = new_id("op")
                answer = await here.vault.operate(attempt_id, kind, operation_id)
                assert answer.json()["outcome"] in ("pending", "done"), "Adyen only says that it received it"
                await _until_done(here.vault, attempt_id, kind, operation_id)
            await here.until_delivered("adyen", 3)
            sent = here.ledger.webhooks("adyen")[0].body
            again = await here.panel.post("/api/v1/webhooks/adyen", content=sent)
            assert (again.status_code, again.text) == (200, "[accepted]")
            forged = await here.panel.post(
                "/api/v1/webhooks/adyen", content=sent.replace('"value": 4200', '"value": 1')
            )
            assert (forged.status_code, forged.json()["code"]) == (403, "not-allowed")
            nonsense = await here.panel.post("/api/v1/webhooks/adyen", content=b"nonsense")
            assert nonsense.status_code == 422
            for nobody in ("stripe", "sandbox"):
                answer = await here.panel.post(f"/api/v1/webhooks/{nobody}", content=sent)
                assert answer.status_code == 404
            huge = await here.panel.post("/api/v1/webhooks/adyen", content=b"x" * 70_000)
            assert huge.status_code == 413

    asyncio.run(main())


def test_stripes_events_are_taken_and_an_old_one_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, "stripe") as here:
            payment_id, token = await here.vault.capture()
            attempt_id = new_id("att")
            answer = await here.vault.authorize(payment_id, token, attempt_id)
            assert answer.json()["outcome"] == "approved"
            for kind in ("settle", "refund"):
                await _until_done(here.vault, attempt_id, kind, new_id("op"))
            await here.until_delivered("stripe", 3)
            old = {"stripe-signature": "t=1700000000,v1=00"}
            sent = here.ledger.webhooks("stripe")[0].body
            refused = await here.panel.post("/api/v1/webhooks/stripe", content=sent, headers=old)
            assert refused.status_code == 403

    asyncio.run(main())
