"""The panel on PostgreSQL: the same tables, the same payment, two requests at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from paycall.panel.roles import Role
from paycall.store.tables import Base
from tests.fakes.panel_world import APPROVED, DECLINED, PanelWorld, new_payment, until


def _url(plain: str) -> str:
    return plain.replace("postgresql://", "postgresql+psycopg://", 1)


def test_a_payment_from_decline_to_refund(tmp_path: Path, postgres_url: str) -> None:
    async def scenario() -> None:
        async with PanelWorld(tmp_path, url=_url(postgres_url)) as world:
            world.add("boss", Role.SUPERVISOR)
            boss = await world.signed_in("boss")
            call_id = await world.cell.call_in()
            payment = await new_payment(boss, call_id, amount_minor=10**11, reference="big")
            await world.cell.key(call_id, DECLINED, "1230", "123")
            await until(boss, payment["id"], "ready")
            await boss.post(f"/api/v1/payments/{payment['id']}/authorize")
            declined = await until(boss, payment["id"], "declined")
            step = next(step for step in declined["next_steps"] if step["step"] == "other_card")
            await boss.post(f"/api/v1/payments/{payment['id']}/capture", json={"fields": step["fields"]})
            await world.cell.key(call_id, APPROVED, "1230", "123")
            await until(boss, payment["id"], "ready")
            # The same button twice at the same moment: one authorization.
            url = f"/api/v1/payments/{payment['id']}/authorize"
            answers = await asyncio.gather(*[boss.post(url) for _ in range(4)])
            assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
            await until(boss, payment["id"], "settled")
            assert len(world.vault.authorizations) == 2
            await boss.post(f"/api/v1/payments/{payment['id']}/refund")
            await until(boss, payment["id"], "refunded")
            for path in ("/history?q=big", "/reports", f"/payments/{payment['id']}", "/history/payments.csv"):
                assert (await boss.get(path, headers={"accept": "text/html"})).status_code == 200
            await world.restart()
            assert (await boss.get("/health")).status_code == 200

    asyncio.run(scenario())


def test_the_same_key_at_the_same_moment_makes_one_payment(tmp_path: Path, postgres_url: str) -> None:
    async def scenario() -> None:
        async with PanelWorld(tmp_path, url=_url(postgres_url)) as world:
            world.add("anna")
            anna = await world.signed_in("anna")
            call_id = await world.cell.call_in()
            made = await asyncio.gather(*[new_payment(anna, call_id, key="once") for _ in range(4)])
            assert len({payment["id"] for payment in made}) == 1

    asyncio.run(scenario())


def test_the_migrations_make_exactly_the_tables(tmp_path: Path, postgres_url: str) -> None:
    world = PanelWorld(tmp_path, url=_url(postgres_url))
    with world.database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    world.database.dispose()
