"""A card that no payment needs goes after its time, with an entry in the audit log."""

from __future__ import annotations

import asyncio
import sqlite3

from paycall.domain.ids import new_id
from tests.fakes.vault_harness import VaultHarness


def rows(vault: VaultHarness, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_a_card_is_deleted_after_a_day_with_proof(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            _, old_token = await client.capture()
            vault.clock.ahead_s += 23 * 3600
            assert client.apps.services.tokenizer.delete_expired() == 0
            _, young_token = await client.capture()
            vault.clock.ahead_s += 2 * 3600
            assert client.apps.services.tokenizer.delete_expired() == 1
            assert rows(vault, "SELECT token FROM cards") == [(young_token,)]
            proof = rows(vault, "SELECT subject, result FROM audit WHERE action = 'delete card'")
            assert proof == [(old_token, "expired")]

    asyncio.run(main())


def test_a_token_is_refused_when_its_day_is_over_even_before_it_is_deleted(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture(code=None)
            vault.clock.ahead_s += 25 * 3600
            assert (await client.authorize(payment_id, token)).status_code in (404, 409)
        assert vault.acquirer.calls == []

    asyncio.run(main())


def test_a_card_with_an_open_authorization_stays_until_it_is_known(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-answer"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            vault.acquirer.down = True
            vault.clock.ahead_s += 25 * 3600
            assert client.apps.services.tokenizer.delete_expired() == 0
            await client.panel.delete(f"/v1/payments/{payment_id}")
            assert len(rows(vault, "SELECT 1 FROM cards")) == 1
            vault.acquirer.down = False
            vault.clock.ahead_s += 120
            await client.until(attempt_id, lambda body: body["outcome"] == "approved")
            assert client.apps.services.tokenizer.delete_expired() == 1

    asyncio.run(main())


def test_a_one_time_token_is_good_for_one_approval(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture(code=None)
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"
            again = await client.authorize(payment_id, token)
            assert (again.status_code, again.json()["code"]) == (409, "wrong-state")
            other, _ = await client.capture(code=None)
            stolen = await client.authorize(other, token)  # another payment's token
            assert (stolen.status_code, stolen.json()["code"]) == (404, "not-found")
        assert vault.acquirer.calls == ["authorize"]

    asyncio.run(main())


def test_what_is_deleted_is_overwritten_in_the_database_file(vault: VaultHarness) -> None:
    async def main() -> bytes:
        async with vault.running() as client:
            payment_id, _ = await client.capture()
            (value,) = rows(vault, "SELECT pan FROM cards")[0]
            assert isinstance(value, bytes)
            await client.panel.delete(f"/v1/payments/{payment_id}")
            return value

    ciphertext = asyncio.run(main())
    for file in (vault.directory / "vault").iterdir():  # after the stop the journal is gone too
        assert ciphertext not in file.read_bytes()
