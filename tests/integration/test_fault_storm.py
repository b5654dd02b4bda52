"""A storm of faults over vault and acquirer: whatever breaks, every payment is charged once or not at all.

Authorizations, settlements, voids and refunds go through the real vault process to the real simulator while
answers are dropped before and after booking, turned into garbage, into 500 and 429, delayed past the time-out
before and after booking, declined and partly approved; connections are refused and cut; and the vault is killed
(SIGKILL) and started again. At the end the two ledgers must agree to the cent, with nothing unknown.

``PAYCALL_STORM`` sets the number of payments (2000 for the whole storm; the default keeps the suite short),
``PAYCALL_STORM_ACQUIRERS`` the wires, separated by commas.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from gateway_adapters.sandbox.ledger import Ledger
from gateway_adapters.sandbox.server import create_app
from paycall.domain.ids import new_id
from tests.contract.conftest import API_KEY, WIRES
from tests.phones.rtp import free_port

PAYMENTS = int(os.environ.get("PAYCALL_STORM", "120"))
WORKERS = 12
KILLS = max(2, PAYMENTS // 250)
# One after the other; ``make storm`` names them all.
ACQUIRERS = os.environ.get("PAYCALL_STORM_ACQUIRERS", "sandbox").split(",")
# Where nothing holds a request back and errors forget their key, what is not there is believed after minutes only.
PATIENCE_S = {"checkout_com": 900.0}
CARDS = ("4242424242424242", "4111111111111111", "5555555555554444")
FINAL = ("approved", "declined", "reversed")
RULES = """
seed = 20261122
[[rule]]
chance = 0.06
fault = "drop_after_booking"
[[rule]]
chance = 0.06
fault = "drop_before_booking"
[[rule]]
chance = 0.05
fault = "garbage"
[[rule]]
chance = 0.05
fault = "server_error"
[[rule]]
chance = 0.05
fault = "too_many_requests"
[[rule]]
chance = 0.03
delay_s = 1.6
[[rule]]
chance = 0.03
booking_delay_s = 1.6
[[rule]]
chance = 0.03
code = "51"
fault = "drop_after_booking"
[[rule]]
chance = 0.10
code = "05"
[[rule]]
chance = 0.05
code = "10"
"""

pytestmark = pytest.mark.timeout(2400)


class Door:
    """A TCP door before the simulator: it can be shut (connections are refused) and it cuts some at random."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self._inside = port
        self._rng = rng
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen, on the same port every time: one that nobody else takes while the door is shut."""
        if self._server is None:
            self.port = self.port or free_port()
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut_after = self._rng.randrange(200, 2000) if self._rng.random() < 0.1 else None
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._inside)
        except OSError:
            writer.close()
            return
        pumps = {
            asyncio.create_task(_pump(reader, inner_writer, None)),
            asyncio.create_task(_pump(inner_reader, writer, cut_after)),
        }
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, inner_writer):
            end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_after: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            passed += len(data)
            if cut_after is not None and passed > cut_after:
                return
            writer.write(data)
            await writer.drain()


class Vault:
    """The vault's process, killed and started again."""

    def __init__(self, folder: Path, acquirer: str, acquirer_port: int) -> None:
        self.folder = folder
        self.config = folder / "paycall.toml"
        settings = WIRES[acquirer].settings(acquirer_port) | {"read_s": 1.0}
        table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
        self.config.write_text(
            f"""
            [site]
            var = "{folder}/var"
            log_level = "warning"
            [vault]
            acquirer = "{acquirer}"
            acquirer_timeout_s = 3.0
            [vault.acquirers.{acquirer}]
            {table}
            [sandbox]
            enabled = false
            """
        )
        self._run("prepare")
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        with (self.folder / "vault.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "paycall", "vault", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(60)

    def _run(self, command: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "paycall", command, "--config", str(self.config)],
            check=True,
            cwd=self.folder,
            capture_output=True,
            timeout=60,
        )

    def client(self, role: str) -> httpx.AsyncClient:
        socket = self.folder / "var" / "run" / f"vault-{role}.sock"
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        return httpx.AsyncClient(transport=transport, base_url="http://vault", timeout=40.0)


@dataclass
class Payment:
    """What the panel would know of a payment."""

    payment_id: str
    amount_minor: int
    card: str
    attempts: list[str] = field(default_factory=list)
    outcome: str = "none"
    settled: str = ""
    refunded_minor: int = 0
    voided: str = ""


class Storm:
    """The panel's side: what it asks of the vault, and how it goes on when nobody answers."""

    def __init__(self, vault: Vault, rng: random.Random, patience_s: float) -> None:
        self._rng = rng
        self._patience_s = patience_s
        self.cell, self.panel = vault.client("cell"), vault.client("panel")
        self.seen: Counter[str] = Counter()

    async def ask(
        self, client: httpx.AsyncClient, method: str, path: str, body: Any = None
    ) -> httpx.Response:
        """Ask until somebody answers: while the vault is down, its clients wait."""
        while True:
            try:
                answer = await client.request(method, path, json=body)
                if answer.status_code != 503 or answer.json().get("code") != "vault-unavailable":
                    return answer
                self.seen["vault-unavailable"] += 1
            except httpx.HTTPError as error:
                self.seen[f"vault {type(error).__name__}"] += 1
            await asyncio.sleep(0.2)

    async def pay(self, payment: Payment) -> None:
        """Capture, authorize until it is known that it was sent, and sometimes go on."""
        token = await self.capture(payment)
        attempt = new_id("att")
        payment.attempts.append(attempt)
        body = {
            "attempt_id": attempt,
            "payment_id": payment.payment_id,
            "token": token,
            "amount_minor": payment.amount_minor,
            "currency": "EUR",
        }
        # The breaker leaves the acquirer alone for a quarter of a minute at a time.
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            answer = await self.ask(self.panel, "POST", "/v1/authorizations", body)
            code = answer.json().get("code", answer.json().get("outcome"))
            self.seen[str(code)] += 1
            if answer.status_code == 200:
                payment.outcome = answer.json()["outcome"]
                break
            if code == "security-code-gone":
                await self.key(payment, "security-code", "737")
            elif code == "not-sent":
                await asyncio.sleep(self._rng.uniform(0.2, 1.5))
            else:
                raise AssertionError(f"the vault answered {answer.status_code} {code}")
        if payment.outcome == "approved":
            await self.go_on(payment)

    async def capture(self, payment: Payment) -> str:
        token = await self.key(payment, "payment-card-number", payment.card)
        await self.key(payment, "expiration-date", "0431")
        if self._rng.random() < 0.8:
            await self.key(payment, "security-code", "737")
        return token

    async def key(self, payment: Payment, name: str, value: str) -> str:
        path = f"/v1/payments/{payment.payment_id}/fields/{name}"
        answer = await self.ask(self.cell, "PUT", path, {"value": value})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def go_on(self, payment: Payment) -> None:
        draw = self._rng.random()
        if draw < 0.15:
            payment.voided = await self.operate(payment, "void", payment.amount_minor)
        elif draw < 0.6:
            payment.settled = await self.operate(payment, "settle", payment.amount_minor)
            if payment.settled == "done" and draw < 0.3:
                part = payment.amount_minor // 3
                if await self.operate(payment, "refund", part) == "done":
                    payment.refunded_minor = part

    async def operate(self, payment: Payment, kind: str, amount_minor: int) -> str:
        """Ask with the same operation id until its outcome is known."""
        path = f"/v1/authorizations/{payment.attempts[-1]}/{kind}"
        body = {"operation_id": new_id("op"), "amount_minor": amount_minor, "currency": "EUR"}
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            answer = await self.ask(self.panel, "POST", path, body)
            outcome = str(answer.json().get("outcome", answer.json().get("code")))
            self.seen[f"{kind} {outcome}"] += 1
            if outcome in ("done", "failed"):
                return outcome
            assert outcome in ("unknown", "not-sent", "pending"), outcome
            await asyncio.sleep(0.3)
        raise AssertionError(f"a {kind} never became known")

    async def settle_down(self, payment: Payment) -> None:
        """Wait until the vault knows what became of the payment."""
        while payment.outcome == "unknown":
            answer = await self.ask(self.panel, "GET", f"/v1/authorizations/{payment.attempts[-1]}")
            payment.outcome = answer.json()["outcome"]
            if payment.outcome == "unknown":
                await asyncio.sleep(0.5)


async def pass_on(run: Storm, acquirer: str, ledger: Ledger) -> None:
    """The acquirer's webhooks, each again until the vault takes it, as a panel passes them on."""
    while True:
        for sent in await asyncio.to_thread(ledger.webhooks, acquirer, undelivered_only=True):
            path, headers = f"/v1/webhooks/{acquirer}", json.loads(sent.headers)
            with contextlib.suppress(httpx.HTTPError):
                answer = await run.panel.post(path, content=sent.body.encode(), headers=headers)
                if answer.is_success:
                    await asyncio.to_thread(ledger.webhook_delivered, sent.id)
        await asyncio.sleep(0.3)


@contextlib.asynccontextmanager
async def weather(vault: Vault, door: Door, rng: random.Random, done: Counter[str]) -> AsyncIterator[None]:
    """Shut the door for moments, and kill the vault every so many payments."""

    async def shut_the_door() -> None:
        while True:
            await asyncio.sleep(rng.uniform(1.0, 3.0))
            door.shut()
            await asyncio.sleep(rng.uniform(0.05, 0.4))
            await door.open()

    async def kill_the_vault() -> None:
        for number in range(1, KILLS + 1):
            while done["payments"] < number * PAYMENTS // (KILLS + 1):
                await asyncio.sleep(0.02)
            vault.kill()
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            vault.start()

    tasks = [asyncio.create_task(shut_the_door()), asyncio.create_task(kill_the_vault())]
    try:
        yield
        await asyncio.wait_for(tasks[1], 60)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await door.open()


@pytest.mark.parametrize("acquirer", ACQUIRERS)
def test_nothing_is_charged_twice_and_nothing_stays_unknown(tmp_path: Path, acquirer: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    app = create_app(tmp_path / "ledger.sqlite3", API_KEY, rules=rules)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    folder = tmp_path / "v"
    folder.mkdir()
    try:
        ledger = app.state.simulator.ledger
        payments, seen, starts = asyncio.run(storm(folder, acquirer, port, ledger))
    finally:
        server.should_exit = True
        thread.join(60)
    assert starts == KILLS + 1
    outcomes = Counter(payment.outcome for payment in payments)
    print(f"outcomes {dict(outcomes)}\nseen {dict(seen)}")
    check_ledgers(payments, ledger)
    assert not set(outcomes) - set(FINAL), "nothing is unknown, nothing was given up"
    assert outcomes["approved"] > PAYMENTS // 2


async def storm(
    folder: Path, acquirer: str, port: int, ledger: Ledger
) -> tuple[list[Payment], Counter[str], int]:
    rng = random.Random(20261122)
    door = Door(port, rng)
    await door.open()
    vault = Vault(folder, acquirer, door.port)
    vault.start()
    payments = [
        Payment(new_id("pay"), rng.randrange(100, 9_000) * 1000 + 500, rng.choice(CARDS))
        for _ in range(PAYMENTS)
    ]
    todo = iter(payments)
    done: Counter[str] = Counter()
    patience_s = PATIENCE_S.get(acquirer, 240.0)
    run = Storm(vault, rng, patience_s)
    telling = asyncio.create_task(pass_on(run, acquirer, ledger))

    async def worker() -> None:
        for payment in todo:
            await run.pay(payment)
            done["payments"] += 1

    try:
        async with weather(vault, door, rng, done), asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(worker())
        async with asyncio.timeout(patience_s + 60):
            await asyncio.gather(*(run.settle_down(payment) for payment in payments))
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        vault.kill()
        door.shut()
        await run.cell.aclose()
        await run.panel.aclose()
    return payments, run.seen, vault.starts


def check_ledgers(payments: list[Payment], ledger: Any) -> None:
    """The simulator's books against what the vault told the panel, payment by payment, to the cent."""
    rows: dict[str, list[Any]] = {}
    for row in ledger.authorizations():
        if not row.last4:  # what Stripe's adapter takes a key with; it charges nothing
            continue
        rows.setdefault(row.payment, []).append(row)
    theirs_total = ours_total = 0
    for payment in payments:
        booked = rows.pop(payment.payment_id, [])
        charges = [row for row in booked if row.charged_minor]
        assert len(charges) <= 1, f"{payment.payment_id} was charged {len(charges)} times"
        ours = 0
        if payment.outcome == "approved" and payment.voided != "done":
            ours = payment.amount_minor - payment.refunded_minor
        theirs = sum(row.charged_minor for row in charges)
        assert theirs == ours, f"{payment}: {[(row.state, row.response_code) for row in booked]}"
        ours_total += ours
        theirs_total += theirs
    assert not rows, "the simulator booked something that nobody asked for"
    assert theirs_total == ours_total > 0
