"""The vault on PostgreSQL: the same promises where transactions really run side by side."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from paycall.domain.errors import SettingsError
from paycall.domain.ids import new_id
from paycall.vault.providers.file import FileKeys
from paycall.vault.tables import audit, cards
from tests.fakes.vault_harness import CODE, NUMBER, OTHER_NUMBER, VaultHarness
from tests.postgres import Cluster


def test_a_payment_from_its_first_field_to_its_refund(vault: VaultHarness) -> None:
    vault.acquirer.script = ["decline"]

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "declined"
            new = (await client.put(payment_id, "payment-card-number", OTHER_NUMBER)).json()["token"]
            await client.put(payment_id, "security-code", CODE)
            attempt_id = new_id("att")
            assert (await client.authorize(payment_id, new, attempt_id)).json()["outcome"] == "approved"
            assert (await client.operate(attempt_id, "settle")).json()["outcome"] == "done"
            refund = await client.operate(attempt_id, "refund", amount_minor=200, currency="EUR")
            assert refund.json()["outcome"] == "done"
            assert (await client.panel.delete(f"/v1/payments/{payment_id}")).status_code == 204

    asyncio.run(main())


def test_races_have_one_winner(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id = new_id("pay")
            fields = (("expiration-date", "1231"), ("postal-code", "1051"), ("payment-card-number", NUMBER))
            stored = await asyncio.gather(
                *(client.put(payment_id, name, value) for name, value in fields * 3)
            )
            assert {answer.status_code for answer in stored} == {200}
            card = (await client.panel.get(f"/v1/payments/{payment_id}/card")).json()
            assert (card["last4"], card["expiry"]) == ("4242", "12/31")
            ids = [new_id("att") for _ in range(12)]
            answers = await asyncio.gather(*(client.authorize(payment_id, card["token"], i) for i in ids))
            assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
            attempt_id = next(i for i, answer in zip(ids, answers, strict=True) if answer.status_code == 200)
            kinds = ("settle", "void") * 4
            ends = await asyncio.gather(*(client.operate(attempt_id, kind) for kind in kinds))
            assert sorted(answer.status_code for answer in ends) == [200] + [409] * 7
            with client.apps.services.store.begin() as connection:
                assert audit.verify(connection).problem is None
        assert len(vault.acquirer.ledger) == 1

    asyncio.run(main())


def test_a_second_vault_on_the_same_database_is_refused(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            with pytest.raises(SettingsError, match="another vault works on this database"):
                async with vault.running():
                    pass
            payment_id, token = await client.capture()
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"
        async with vault.running():
            pass

    asyncio.run(main())


def test_refunds_at_once_never_exceed_what_was_settled(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            await client.operate(attempt_id, "settle")
            one = {"amount_minor": 1500, "currency": "EUR"}
            answers = await asyncio.gather(*(client.operate(attempt_id, "refund", **one) for _ in range(6)))
            assert sorted(answer.status_code for answer in answers) == [200] * 2 + [409] * 4

    asyncio.run(main())


def test_rotation_under_load_fails_nothing(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            keys = FileKeys(vault.key_file)
            answers: list[str] = []

            async def charge() -> None:
                for _ in range(15):
                    answers.append(
                        (await client.authorize(*await client.capture())).json().get("outcome", "?")
                    )

            async def rotate() -> None:
                for _ in range(3):
                    await asyncio.to_thread(keys.rotate)
                    while await asyncio.to_thread(client.apps.services.renew_keys):
                        await asyncio.sleep(0)

            await asyncio.gather(charge(), charge(), rotate())
            assert answers == ["approved"] * 30
            while await asyncio.to_thread(client.apps.services.renew_keys):
                pass
            with client.apps.services.store.begin() as connection:
                assert set(connection.execute(sa.select(cards.c.kek_version)).scalars()) == {4}

    asyncio.run(main())


def test_a_crash_of_the_database_loses_nothing_and_is_outlived(
    vault: VaultHarness, postgres_cluster: Cluster
) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture(code=None)
            lost_id, lost_token = await client.capture(code=None)
            vault.acquirer.script = ["lost-answer"]
            lost = new_id("att")
            assert (await client.authorize(lost_id, lost_token, lost)).json()["outcome"] == "unknown"
            postgres_cluster.stop()
            try:
                answer = await client.authorize(payment_id, token)
                assert (answer.status_code, answer.json()["code"]) == (503, "vault-unavailable")
            finally:
                postgres_cluster.start()
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"
            known = await client.until(lost, lambda body: body["outcome"] != "unknown")
            assert known["outcome"] == "approved"

    asyncio.run(main())
