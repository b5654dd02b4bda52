"""Retry budgets: counted by the card over all payments, told before the attempt, refused before sending."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.vault_harness import OTHER_NUMBER, Client, VaultHarness

DAY_S = 86400


@pytest.fixture
def vault(tmp_path: Path) -> VaultHarness:
    return VaultHarness(tmp_path, changes={"retry_limits": "always"})


async def retry_of(client: Client, payment_id: str) -> dict[str, Any]:
    answer = (await client.panel.get(f"/v1/payments/{payment_id}/card")).json()
    return dict(answer["retry"])


async def declined(client: Client, vault: VaultHarness, number: str) -> None:
    vault.acquirer.script.append("decline")
    payment_id, token = await client.capture(number, code=None)
    assert (await client.authorize(payment_id, token)).json()["outcome"] == "declined"


def test_a_mastercard_is_tried_ten_times_a_day_and_no_more(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            for _ in range(10):
                await declined(client, vault, OTHER_NUMBER)
            payment_id, token = await client.capture(OTHER_NUMBER)
            told = await retry_of(client, payment_id)
            assert (told["allowed"], told["left"]) == (False, 0)
            assert told["again_at"] is not None
            sent = vault.acquirer.calls.count("authorize")
            refused = await client.authorize(payment_id, token)
            assert (refused.status_code, refused.json()["code"]) == (409, "retry-budget")
            assert vault.acquirer.calls.count("authorize") == sent, "nothing was sent"
            vault.clock.ahead_s = DAY_S + 60
            payment_id, token = await client.capture(OTHER_NUMBER)
            assert (await retry_of(client, payment_id))["allowed"]
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"

    asyncio.run(main())


def test_another_card_has_a_budget_of_its_own(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            await declined(client, vault, OTHER_NUMBER)
            visa, _ = await client.capture()
            same, _ = await client.capture(OTHER_NUMBER)
            assert await retry_of(client, visa) == {"allowed": True, "left": 20, "again_at": None}
            assert await retry_of(client, same) == {"allowed": True, "left": 9, "again_at": None}

    asyncio.run(main())


def test_test_cards_of_a_sandbox_site_are_not_counted(tmp_path: Path) -> None:
    async def main() -> None:
        vault = VaultHarness(tmp_path)
        async with vault.running() as client:
            for _ in range(11):
                await declined(client, vault, OTHER_NUMBER)
            payment_id, _ = await client.capture(OTHER_NUMBER)
            assert (await retry_of(client, payment_id))["allowed"]

    asyncio.run(main())


def test_payments_at_the_same_time_share_what_is_left(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            for _ in range(9):
                await declined(client, vault, OTHER_NUMBER)
            cards = [await client.capture(OTHER_NUMBER, code=None) for _ in range(4)]
            vault.acquirer.script += ["hang"]
            asked = [asyncio.create_task(client.authorize(*card)) for card in cards]
            await asyncio.wait(asked, timeout=1.0, return_when=asyncio.FIRST_EXCEPTION)
            vault.acquirer.release.set()
            codes = sorted(answer.json().get("code", "sent") for answer in await asyncio.gather(*asked))
            assert codes == ["retry-budget"] * 3 + ["sent"]

    asyncio.run(main())


def test_a_final_decline_is_remembered_after_its_month(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            vault.acquirer.decline_code = "41"
            await declined(client, vault, OTHER_NUMBER)
            vault.clock.ahead_s = 40 * DAY_S
            payment_id, _ = await client.capture(OTHER_NUMBER)
            assert await retry_of(client, payment_id) == {"allowed": False, "left": 0, "again_at": None}

    asyncio.run(main())
