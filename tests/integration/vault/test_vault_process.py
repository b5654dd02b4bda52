"""The vault as a process of its own, with the acquirer simulator as another: killed in the middle, and searched."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from paycall.domain.ids import new_id
from paycall.vault.hardening import ENVIRONMENT
from paycall.vault.keys import create_key_file
from tests.integration.vault.test_vault_doors import unix_client
from tests.phones.rtp import free_port
from tests.process_memory import around, blocks

AMEX, CODE = "378282246310005", "7391"
SLOW, BOOKED_THEN_DROPPED = "4000000000000259", "4000000000000341"
# The vault without the one measure that keeps a test from looking at it.
OPEN_VAULT = (
    "import sys; from pathlib import Path; import paycall.vault.hardening as hardening; "
    "hardening.harden = lambda: (); from paycall.bootstrap import run_vault; run_vault(Path(sys.argv[1]))"
)


class Site:
    """Vault and simulator as processes, on files of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "paycall.toml"
        self.ledger = folder / "ledger.sqlite3"
        port = free_port()
        (folder / "key").write_text("a-key-for-the-simulator")
        self.config.write_text(f"""
[site]
var = "{folder}"
log_level = "debug"
[vault]
cell_address = "unix:{folder}/c"
panel_address = "unix:{folder}/p"
database_url = "sqlite:///{folder}/vault.sqlite3"
key_file = "{folder}/keys.json"
[vault.acquirers.sandbox]
url = "http://127.0.0.1:{port}"
api_key_file = "{folder}/key"
[sandbox]
port = {port}
api_key_file = "{folder}/key"
ledger = "{self.ledger}"
""")
        create_key_file(folder / "keys.json")

    @contextmanager
    def process(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen(
            [sys.executable, *words], stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait()
                log.close()

    def simulator(self) -> Any:
        return self.process("-m", "paycall", "sandbox", "--config", str(self.config))

    def vault(self) -> Any:
        return self.process("-m", "paycall", "vault", "--config", str(self.config))

    async def card(self, number: str, code: str) -> tuple[str, str]:
        payment_id = new_id("pay")
        async with unix_client(self.folder / "c") as cell:
            await up(cell)
            token = ""
            for name, value in (
                ("payment-card-number", number),
                ("expiration-date", "1231"),
                ("security-code", code),
            ):
                answer = await cell.put(f"/v1/payments/{payment_id}/fields/{name}", json={"value": value})
                assert answer.status_code == 200, answer.text
                token = answer.json()["token"]
        return payment_id, token

    async def authorize(self, payment_id: str, token: str, attempt_id: str) -> httpx.Response:
        body = {
            "attempt_id": attempt_id,
            "payment_id": payment_id,
            "token": token,
            "amount_minor": 4200,
            "currency": "EUR",
        }
        async with unix_client(self.folder / "p") as panel:
            return await panel.post("/v1/authorizations", json=body, timeout=60)

    async def known(self, attempt_id: str) -> dict[str, Any]:
        async with unix_client(self.folder / "p") as panel:
            await up(panel)
            async with asyncio.timeout(60):
                while True:
                    body: dict[str, Any] = (await panel.get(f"/v1/authorizations/{attempt_id}")).json()
                    if body.get("outcome") != "unknown":
                        return body
                    await asyncio.sleep(0.05)


async def up(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                assert (await client.get("/health")).status_code == 200
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with made.simulator():
        yield made


def booked(site: Site, attempt_id: str) -> int:
    connection = sqlite3.connect(site.ledger)
    try:
        query = "SELECT count(*) FROM authorizations WHERE reference = ?"
        return int(connection.execute(query, (attempt_id,)).fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("number", [SLOW, BOOKED_THEN_DROPPED])
def test_kill_9_in_the_middle_of_an_authorization_ends_in_the_truth(site: Site, number: str) -> None:
    attempt_id = new_id("att")

    async def kill_in_the_middle(process: subprocess.Popen[bytes]) -> None:
        payment_id, token = await site.card(number, "739")
        asking = asyncio.create_task(site.authorize(payment_id, token, attempt_id))
        async with asyncio.timeout(60):
            while not booked(site, attempt_id) and not asking.done():
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        await asyncio.gather(asking, return_exceptions=True)

    with site.vault() as process:
        asyncio.run(kill_in_the_middle(process))
    with site.vault():
        known = asyncio.run(site.known(attempt_id))
    assert known["outcome"] in ("approved", "reversed")
    assert booked(site, attempt_id) == 1


def versions(site: Site) -> set[int]:
    connection = sqlite3.connect(site.folder / "vault.sqlite3", timeout=10)
    try:
        return {version for (version,) in connection.execute("SELECT kek_version FROM cards")}
    finally:
        connection.close()


def test_kill_9_in_the_middle_of_a_rotation_loses_no_card(site: Site) -> None:
    async def store(count: int) -> list[str]:
        payments = [new_id("pay") for _ in range(count)]
        async with unix_client(site.folder / "c") as cell:
            await up(cell)
            for payment_id in payments:
                url = f"/v1/payments/{payment_id}/fields/payment-card-number"
                assert (await cell.put(url, json={"value": AMEX})).status_code == 200
        return payments

    async def readable(payments: list[str]) -> list[int]:
        async with unix_client(site.folder / "p") as panel:
            await up(panel)
            return [(await panel.get(f"/v1/payments/{one}/card")).status_code for one in payments]

    def caught(process: subprocess.Popen[bytes]) -> bool:
        """Rotate the keys, and hold the vault when the first row has changed; False if it was through by then."""
        before = versions(site)
        words = [sys.executable, "-m", "paycall", "keys", "--config", str(site.config), "rotate"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        assert any(versions(site) != before or time.sleep(0.002) for _ in range(4000)), "no row was renewed"
        process.send_signal(signal.SIGSTOP)
        if len(versions(site)) == 2:
            return True
        process.send_signal(signal.SIGCONT)
        return False

    with site.vault() as process:
        payments = asyncio.run(store(80))
        # On a busy machine we may get no time to look while a rotation is under way: then it is the next one.
        assert any(caught(process) for _ in range(20))
        process.kill()
        process.wait()
    middle = versions(site)
    assert len(middle) == 2
    with site.vault():
        assert set(asyncio.run(readable(payments))) == {200}
        assert any(versions(site) == {max(middle)} or time.sleep(0.05) for _ in range(400))
        assert set(asyncio.run(readable(payments))) == {200}


def test_the_process_refuses_dumps_and_tracing_and_frees_its_memory_overwritten(site: Site) -> None:
    async def main(pid: int) -> None:
        await site.card(AMEX, CODE)
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits)
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0  # not dumpable: the kernel gives it to root alone
        if os.getuid() == 0:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            for name, value in ENVIRONMENT.items():
                assert f"{name}={value}".encode().replace(b":", b"\0") in environ.replace(b":", b"\0")

    with site.vault() as process:
        asyncio.run(main(process.pid))


def test_nothing_of_the_code_is_left_in_memory_after_the_authorization(site: Site) -> None:
    """The code's own slot, and every request body and copy that a library made of it."""
    found: dict[str, list[bytes]] = {}

    async def main(pid: int) -> None:
        payment_id, token = await site.card(AMEX, CODE)
        found["before"] = list(around(b"".join(blocks(pid)), CODE.encode(), 24, 8))
        answer = await site.authorize(payment_id, token, new_id("att"))
        assert answer.json()["outcome"] == "approved"
        await asyncio.sleep(1.5)  # twice a second the vault lets go of what libraries hold
        content = b"".join(blocks(pid))
        named = re.compile(rb"(?:value|code|cvc|cvv)[^\x00]{1,12}" + CODE.encode())
        found["code"] = [place for place in around(content, CODE.encode(), 56, 8) if named.search(place)]
        after_colon = re.compile(rb":[^\x00]{0,3}" + AMEX.encode())
        found["number"] = [
            place for place in around(content, AMEX.encode(), 28, 0) if after_colon.search(place)
        ]

    with site.process("-c", OPEN_VAULT, str(site.config)) as process:
        asyncio.run(main(process.pid))
    assert found["before"], "the search itself must work"
    assert found["code"] == []
    assert found["number"] == []


def test_no_log_holds_anything_keyed(site: Site) -> None:
    async def main() -> None:
        payment_id, token = await site.card(AMEX, CODE)
        await site.authorize(payment_id, token, new_id("att"))
        async with unix_client(site.folder / "c") as cell:
            for content in (
                b'{"value": "' + AMEX.encode(),
                b'{"value": ' + AMEX.encode() + b"}",
                AMEX.encode(),
            ):
                url = f"/v1/payments/{new_id('pay')}/fields/payment-card-number"
                assert AMEX not in (await cell.put(url, content=content)).text
            await cell.get(f"/v1/{AMEX}")

    with site.vault():
        asyncio.run(main())
    assert AMEX not in (site.folder / "log").read_text()
