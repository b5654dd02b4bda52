"""A panel with everything around it: a vault, cells and a clock that work, only smaller than the real ones."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, QueuePool

from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.panel.app import create_app
from paycall.panel.dependencies import PanelDependencies
from paycall.panel.roles import Role
from paycall.panel.services.accounts import add_operator, hash_password
from paycall.settings import PanelSettings, SiteSettings
from paycall.store.database import make_engine, open_database, writing
from tests.fakes.fake_cell import FakeCell
from tests.fakes.fake_vault import APPROVED, DECLINED, NO_ANSWER, PARTIAL, WRONG_CODE, FakeClock, FakeVault

PASSWORD = "correct-horse-battery-9"


class FakeTestCalls:
    """Implements ``TestCalls`` by remembering what it was asked."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.asked_for: list[tuple[str, tuple[Field, ...]]] = []
        self.stopped: list[str] = []

    async def start(self, test_call_id: str) -> str:
        self.started.append(test_call_id)
        return "sip:scripted@127.0.0.1:5999"

    async def asked(self, test_call_id: str, fields: Sequence[Field]) -> None:
        self.asked_for.append((test_call_id, tuple(fields)))

    async def stop(self, test_call_id: str) -> None:
        self.stopped.append(test_call_id)


@cache
def _new_database() -> bytes:
    """A panel's empty SQLite file: hundreds of worlds need not bring one up to date each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panel.sqlite3"
        open_database(f"sqlite:///{path}").dispose()
        return path.read_bytes()


class PanelWorld:
    """A panel, its database and its surroundings. ``restart`` makes another panel over the same ones."""

    def __init__(
        self, directory: Path, settings: PanelSettings | None = None, url: str | None = None
    ) -> None:
        self.clock = FakeClock()
        self.vault = FakeVault(self.clock)
        self.cell = FakeCell(self.vault)
        self.test_calls = FakeTestCalls()
        self.settings = (settings or PanelSettings()).model_copy(update={"secret_file": directory / "secret"})
        path = directory / "panel.sqlite3"
        if url is None and not path.exists():
            path.write_bytes(_new_database())
        self.url = url or f"sqlite:///{path}"
        self.database: Engine = open_database(url) if url else make_engine(self.url)
        self.app: FastAPI = self._make()
        self._running: Any = None

    def _make(self) -> FastAPI:
        app = create_app(
            PanelDependencies(
                settings=self.settings,
                site=SiteSettings(),
                database=self.database,
                calls=self.cell,
                vault=self.vault,
                test_calls=self.test_calls,
                clock=self.clock,
            )
        )
        self.cell.handler = app.state.handle_event
        return app

    @classmethod
    def again(cls, former: PanelWorld) -> PanelWorld:
        """Another panel over the same database, with the same vault, cell and clock."""
        world = cls.__new__(cls)
        world.__dict__.update(former.__dict__)
        world.app = world._make()
        return world

    def add(self, name: str, role: Role = Role.OPERATOR, **more: Any) -> str:
        """An account with the known password; gives its id."""
        password = hash_password(PASSWORD)
        with writing(self.database) as session:
            return add_operator(
                session, name, role, self.clock.now(), password=password, must_change_password=False, **more
            )

    async def start(self) -> None:
        self._running = self.app.router.lifespan_context(self.app)
        await self._running.__aenter__()

    async def stop(self) -> None:
        await self._running.__aexit__(None, None, None)

    async def restart(self) -> None:
        """The panel dies and another one comes up; cells and vault never noticed."""
        await self.stop()
        self.app = self._make()
        await self.start()

    async def __aenter__(self) -> PanelWorld:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        async with asyncio.timeout(40):  # a thread whose task was cancelled ends its transaction all the same
            while isinstance(self.database.pool, QueuePool) and self.database.pool.checkedout():
                await asyncio.sleep(0.01)
        self.database.dispose()

    def client(self) -> httpx.AsyncClient:
        """A program that nobody has signed in yet."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://panel.test")

    async def signed_in(self, name: str) -> httpx.AsyncClient:
        client = self.client()
        answer = await client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return client


async def until(
    client: httpx.AsyncClient, payment_id: str, *states: str, seconds: float = 40
) -> dict[str, Any]:
    """The payment as the API shows it, once it is in one of these states."""
    deadline = time.monotonic() + seconds
    while True:
        payment = (await client.get(f"/api/v1/payments/{payment_id}")).json()
        if payment.get("state") in states:
            return dict(payment)
        assert time.monotonic() < deadline, (states, payment)
        await asyncio.sleep(0.02)


async def new_payment(
    client: httpx.AsyncClient, call_id: str, key: str | None = None, **body: Any
) -> dict[str, Any]:
    """A payment of EUR 19.99 on the call."""
    answer = await client.post(
        f"/api/v1/calls/{call_id}/payments",
        json={"amount_minor": 1999, "currency": "EUR", **body},
        headers={"idempotency-key": key or new_id("key")},
    )
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


async def card_ready(
    world: PanelWorld, client: httpx.AsyncClient, number: str, code: str = "123", **body: Any
) -> tuple[str, dict[str, Any]]:
    """A call and its payment whose card, good until 12/30, is keyed and waits for the charge."""
    call_id = await world.cell.call_in()
    payment_id = (await new_payment(client, call_id, **body))["id"]
    await world.cell.key(call_id, number, "1230", code)
    return call_id, await until(client, payment_id, "ready")


async def charge(client: httpx.AsyncClient, payment_id: str, *states: str) -> dict[str, Any]:
    """Charge the card; the payment once it is in one of these states."""
    await client.post(f"/api/v1/payments/{payment_id}/authorize")
    return await until(client, payment_id, *states)


__all__ = [
    "APPROVED",
    "DECLINED",
    "NO_ANSWER",
    "PARTIAL",
    "PASSWORD",
    "WRONG_CODE",
    "FakeCell",
    "FakeClock",
    "FakeVault",
    "PanelWorld",
    "card_ready",
    "charge",
    "new_payment",
    "until",
]
