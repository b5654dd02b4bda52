"""Routes: which acquirer gets an authorization, and that the next one is asked only where nothing was sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from paycall.domain.errors import SettingsError
from paycall.domain.ids import new_id
from tests.fakes.fake_acquirer import FakeAcquirer
from tests.fakes.vault_harness import OTHER_NUMBER, Client, VaultHarness

ROUTES = (
    {"acquirer": "bank", "brands": ["mastercard"], "currencies": ["EUR"]},
    {"acquirer": "sandbox", "at_most_minor": 5000},
)


@pytest.fixture
def bank() -> FakeAcquirer:
    return FakeAcquirer("bank")


@pytest.fixture
def vault(tmp_path: Path, bank: FakeAcquirer) -> VaultHarness:
    return VaultHarness(tmp_path, changes={"routes": ROUTES}, others={"bank": bank})


async def paid(client: Client, number: str, amount_minor: int = 4200) -> dict[str, Any]:
    payment_id, token = await client.capture(number)
    return dict((await client.authorize(payment_id, token, amount_minor=amount_minor)).json())


def test_brand_and_amount_choose(vault: VaultHarness, bank: FakeAcquirer) -> None:
    async def main() -> None:
        async with vault.running() as client:
            assert (await paid(client, OTHER_NUMBER))["acquirer"] == "bank"
            assert (await paid(client, "4242424242424242"))["acquirer"] == "sandbox"
            nothing_fits = await paid(client, "4242424242424242", 9900)
            assert nothing_fits["acquirer"] == "sandbox", "the site's own acquirer"

    asyncio.run(main())


def test_the_next_is_asked_where_the_first_was_not_reached_and_keeps_the_payment(
    vault: VaultHarness, bank: FakeAcquirer
) -> None:
    async def main() -> None:
        bank.down = True
        async with vault.running() as client:
            payment_id, token = await client.capture(OTHER_NUMBER)
            attempt_id = new_id("att")
            answer = (await client.authorize(payment_id, token, attempt_id)).json()
            assert (answer["outcome"], answer["acquirer"]) == ("approved", "sandbox")
            bank.down = False
            assert (await client.operate(attempt_id, "settle")).json()["outcome"] == "done"
            assert await client.attempt(attempt_id) == answer
        assert not bank.ledger
        assert vault.acquirer.calls == ["authorize", "settle"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("step", "code"), [("lost-request", None), ("decline", None), ("refused", "refused-request")]
)
def test_whatever_else_happens_nobody_else_is_asked(
    vault: VaultHarness, bank: FakeAcquirer, step: str, code: str | None
) -> None:
    async def main() -> None:
        bank.script = [step]
        async with vault.running() as client:
            answer = await paid(client, OTHER_NUMBER)
            assert answer.get("code") == code
        assert vault.acquirer.calls == []

    asyncio.run(main())


def test_all_of_them_out_of_reach_is_not_sent(vault: VaultHarness, bank: FakeAcquirer) -> None:
    async def main() -> None:
        bank.down = vault.acquirer.down = True
        async with vault.running() as client:
            payment_id, token = await client.capture(OTHER_NUMBER)
            attempt_id = new_id("att")
            assert (await client.authorize(payment_id, token, attempt_id)).json()["code"] == "not-sent"
            bank.down = False
            assert (await client.authorize(payment_id, token, attempt_id)).json()["acquirer"] == "bank"

    asyncio.run(main())


def test_a_route_to_nowhere_stops_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with VaultHarness(tmp_path, changes={"routes": ({"acquirer": "paypal"},)}).running():
            pass

    with pytest.raises(SettingsError, match="routes"):
        asyncio.run(main())
