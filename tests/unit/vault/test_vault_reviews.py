"""What waits for people: when, who may close what, and what is told of it."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from paycall.domain.card_ports import Traits
from paycall.domain.ids import new_id
from paycall.vault.tables import audit
from tests.fakes.vault_harness import Client, VaultHarness


async def unanswered_settle(vault: VaultHarness, client: Client) -> tuple[str, str]:
    """A settlement without an answer, at an acquirer that cannot be asked about it."""
    payment_id, token = await client.capture()
    attempt_id, operation_id = new_id("att"), new_id("op")
    await client.authorize(payment_id, token, attempt_id)
    vault.acquirer.trouble = {"settle"}
    assert (await client.operate(attempt_id, "settle", operation_id)).json()["outcome"] == "unknown"
    return attempt_id, operation_id


async def close(client: Client, subject: str, verdict: str) -> int:
    """Ask until nobody else is asking the acquirer."""
    async with asyncio.timeout(40):
        while True:
            answer = await client.panel.post(f"/v1/reviews/{subject}", json={"verdict": verdict})
            if answer.json()["code"] != "wrong-state" if answer.content else True:
                return answer.status_code
            await asyncio.sleep(0.05)


def test_an_operation_waits_for_people_after_an_hour_and_is_closed_once(vault: VaultHarness) -> None:
    vault.acquirer.traits = Traits(key_life_s=60, reads_operations=False)

    async def main() -> None:
        async with vault.running() as client:
            attempt_id, operation_id = await unanswered_settle(vault, client)
            early = await client.panel.post(f"/v1/reviews/{operation_id}", json={"verdict": "done"})
            assert early.json()["code"] == "wrong-state"
            vault.clock.ahead_s += 3700
            told = (await client.operate(attempt_id, "settle", operation_id)).json()
            assert (told["outcome"], told["needs_review"]) == ("unknown", True)
            assert await close(client, operation_id, "approved") == 422
            assert await close(client, operation_id, "done") == 204
            told = (await client.operate(attempt_id, "settle", operation_id)).json()
            assert (told["outcome"], told["needs_review"]) == ("done", False)
            again = await client.panel.post(f"/v1/reviews/{operation_id}", json={"verdict": "failed"})
            assert again.json()["code"] == "wrong-state"
            unknown = await client.panel.post(f"/v1/reviews/{new_id('op')}", json={"verdict": "done"})
            assert unknown.status_code == 404
            with client.apps.services.store.reading() as connection:
                rows = connection.execute(sa.select(audit.table.c.subject, audit.table.c.result)).all()
            assert (operation_id, "done") in [tuple(row) for row in rows]

    asyncio.run(main())


def test_past_its_keys_life_an_operation_is_not_sent_again(vault: VaultHarness) -> None:
    vault.acquirer.traits = Traits(key_life_s=60, reads_operations=False)

    async def main() -> None:
        async with vault.running() as client:
            _, operation_id = await unanswered_settle(vault, client)
            vault.clock.ahead_s += 61
            sent = vault.acquirer.calls.count("settle")
            async with asyncio.timeout(40):
                while vault.acquirer.calls.count("look_up_operation") < 2:
                    vault.clock.ahead_s += 600
                    await asyncio.sleep(0.4)
            assert vault.acquirer.calls.count("settle") <= sent + 1, "one may have been on its way"
            assert operation_id

    asyncio.run(main())
