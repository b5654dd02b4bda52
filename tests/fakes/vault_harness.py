"""A vault in this process, spoken to through its two applications as a cell and a panel would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from pydantic import SecretStr

from paycall.domain.card_ports import Acquirer
from paycall.domain.ids import new_id
from paycall.settings import SiteSettings, VaultSettings
from paycall.vault.app import VaultApps, create_apps
from paycall.vault.keys import create_key_file
from tests.fakes.fake_acquirer import FakeAcquirer

NUMBER = "4242424242424242"
OTHER_NUMBER = "5555555555554444"
CODE = "739"


@dataclass
class ShiftedClock:
    """The machine's clock, moved ahead by the test."""

    ahead_s: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return monotonic() + self.ahead_s


@dataclass
class VaultHarness:
    """One vault; ``running`` starts and stops it, and may be used again on the same files."""

    directory: Path
    database_url: str = ""
    mode: str = "sandbox"
    acquirer: FakeAcquirer = field(default_factory=FakeAcquirer)
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    changes: dict[str, Any] = field(default_factory=dict)
    others: dict[str, FakeAcquirer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key_file = self.directory / "vault" / "keys.json"
        if not self.key_file.exists():
            create_key_file(self.key_file)
        self.database_url = self.database_url or f"sqlite:///{self.directory / 'vault' / 'vault.sqlite3'}"

    @property
    def settings(self) -> VaultSettings:
        values = {"key_file": self.key_file, "database_url": SecretStr(self.database_url)} | self.changes
        return VaultSettings(**values)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Client]:
        site = SiteSettings(mode=self.mode)  # type: ignore[arg-type]  # a test's word
        adapters: dict[str, Acquirer] = {"sandbox": self.acquirer, **self.others}
        apps = create_apps(self.settings, site, adapters=adapters, clock=self.clock)
        await apps.start()
        try:
            async with (
                httpx.AsyncClient(transport=httpx.ASGITransport(apps.cell), base_url="http://cell") as cell,
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(apps.panel), base_url="http://panel"
                ) as panel,
            ):
                yield Client(apps, cell, panel)
        finally:
            await apps.stop()

    async def hanging(
        self, client: Client, payment_id: str, token: str, attempt_id: str
    ) -> asyncio.Task[httpx.Response]:
        """An authorization that has reached the acquirer, which answers when ``acquirer.release`` is set."""
        self.acquirer.script = ["hang"]
        asking = asyncio.create_task(client.authorize(payment_id, token, attempt_id))
        async with asyncio.timeout(40):
            while not self.acquirer.calls:
                await asyncio.sleep(0.01)
        return asking


@dataclass
class Client:
    """The two roles' clients, and the usual requests in one word each."""

    apps: VaultApps
    cell: httpx.AsyncClient
    panel: httpx.AsyncClient

    async def put(self, payment_id: str, field_name: str, value: object) -> httpx.Response:
        return await self.cell.put(f"/v1/payments/{payment_id}/fields/{field_name}", json={"value": value})

    async def capture(
        self, number: str = NUMBER, code: str | None = CODE, payment_id: str = ""
    ) -> tuple[str, str]:
        """A whole card; gives payment and token."""
        payment_id = payment_id or new_id("pay")
        answer = await self.put(payment_id, "payment-card-number", number)
        assert answer.status_code == 200, answer.text
        assert (await self.put(payment_id, "expiration-date", "1231")).status_code == 200
        if code:
            assert (await self.put(payment_id, "security-code", code)).status_code == 200
        return payment_id, answer.json()["token"]

    async def authorize(
        self,
        payment_id: str,
        token: str,
        attempt_id: str = "",
        amount_minor: int = 4200,
        keep_for: str | None = None,
    ) -> httpx.Response:
        body = {
            "attempt_id": attempt_id or new_id("att"),
            "payment_id": payment_id,
            "token": token,
            "amount_minor": amount_minor,
            "currency": "EUR",
            "reference": "order-17",
            "description": "Two tickets",
            "keep_for": keep_for,
        }
        return await self.panel.post("/v1/authorizations", json=body)

    async def operate(
        self, attempt_id: str, kind: str, operation_id: str = "", **body: Any
    ) -> httpx.Response:
        body = {"operation_id": operation_id or new_id("op"), **body}
        return await self.panel.post(f"/v1/authorizations/{attempt_id}/{kind}", json=body)

    async def attempt(self, attempt_id: str) -> dict[str, Any]:
        answer = await self.panel.get(f"/v1/authorizations/{attempt_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def until(
        self, attempt_id: str, good: Callable[[dict[str, Any]], bool], limit_s: float = 40
    ) -> dict[str, Any]:
        """Ask until the attempt is as wanted."""
        async with asyncio.timeout(limit_s):
            while not good(body := await self.attempt(attempt_id)):
                await asyncio.sleep(0.05)
        return body
