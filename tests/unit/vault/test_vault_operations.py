"""Settle, void, refund: once for each operation id, never both ends, never more than there is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from paycall.domain.ids import new_id
from tests.fakes.vault_harness import Client, VaultHarness


async def approved(client: Client) -> str:
    payment_id, token = await client.capture()
    attempt_id = new_id("att")
    assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "approved"
    return attempt_id


def test_a_settle_is_carried_out_once(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id, operation_id = await approved(client), new_id("op")
            for _ in range(2):
                answer = await client.operate(
                    attempt_id, "settle", operation_id, amount_minor=4200, currency="EUR"
                )
                assert answer.json() == {
                    "outcome": "done",
                    "acquirer_reference": "ref-1-settle",
                    "raw_code": "00",
                    "needs_review": False,
                }
            assert (await client.operate(attempt_id, "settle")).json()["code"] == "wrong-state"
            assert (await client.operate(attempt_id, "void")).json()["code"] == "wrong-state"
            other = await client.operate(attempt_id, "settle", operation_id, amount_minor=1, currency="EUR")
            assert other.json()["code"] == "wrong-state"
        assert vault.acquirer.calls.count("settle") == 1

    asyncio.run(main())


def test_a_race_of_settle_and_void_has_one_winner(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id = await approved(client)
            kinds = ("settle", "void") * 4
            answers = await asyncio.gather(*(client.operate(attempt_id, kind) for kind in kinds))
            assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        assert vault.acquirer.calls.count("settle") + vault.acquirer.calls.count("void") == 1

    asyncio.run(main())


def test_refunds_never_exceed_what_was_settled(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id = await approved(client)
            early = await client.operate(attempt_id, "refund", amount_minor=100, currency="EUR")
            assert early.json()["code"] == "wrong-state"
            await client.operate(attempt_id, "settle", amount_minor=4000, currency="EUR")
            one = {"amount_minor": 1500, "currency": "EUR"}
            answers = await asyncio.gather(*(client.operate(attempt_id, "refund", **one) for _ in range(4)))
            assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409]
            rest = await client.operate(attempt_id, "refund", amount_minor=1000, currency="EUR")
            assert rest.json()["outcome"] == "done"
        assert next(iter(vault.acquirer.ledger.values())).refunded_minor == 4000

    asyncio.run(main())


def test_an_operation_without_an_answer_is_found_out_with_the_same_key(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id, operation_id = await approved(client), new_id("op")
            vault.acquirer.trouble = {"settle"}
            assert (await client.operate(attempt_id, "settle", operation_id)).json()["outcome"] == "unknown"
            assert (await client.operate(attempt_id, "void")).json()["code"] == "wrong-state"
        vault.acquirer.trouble = set()
        async with vault.running() as client:  # across a restart
            async with asyncio.timeout(40):
                while (await client.operate(attempt_id, "settle", operation_id)).json()["outcome"] != "done":
                    await asyncio.sleep(0.05)
        assert next(iter(vault.acquirer.ledger.values())).settled_minor == 4200

    asyncio.run(main())


def test_not_sent_frees_the_operation(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id = await approved(client)
            vault.acquirer.down = True
            assert (await client.operate(attempt_id, "settle")).json()["code"] == "not-sent"
            vault.acquirer.down = False
            assert (await client.operate(attempt_id, "void")).json()["outcome"] == "done"

    asyncio.run(main())


def test_more_than_authorized_another_currency_and_unknown_attempts_are_refused(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id = await approved(client)
            for body in ({"amount_minor": 4201, "currency": "EUR"}, {"amount_minor": 1, "currency": "USD"}):
                answer = await client.operate(attempt_id, "settle", **body)
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input")
            assert (await client.operate(new_id("att"), "void")).status_code == 404
            assert (await client.operate(attempt_id, "erase")).status_code == 422

    asyncio.run(main())


def test_a_part_is_settled_only_where_the_acquirer_can(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id = await approved(client)
            vault.acquirer.traits = replace(vault.acquirer.traits, settles_part=False)
            part = {"amount_minor": 100, "currency": "EUR"}
            assert (await client.operate(attempt_id, "settle", **part)).json()["code"] == "invalid-input"
            assert vault.acquirer.calls.count("settle") == 0
            assert (await client.operate(attempt_id, "settle")).json()["outcome"] == "done"

    asyncio.run(main())
