"""The panel's audit: a chain in which a change is found and named, and which tells all that PCI DSS 10.2 asks for."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import paycall.store.database as database
from paycall import audit_command
from paycall.audit import Entry
from paycall.control.messages import RecordingHandled
from paycall.domain.ids import new_id
from paycall.panel.roles import Role
from paycall.panel.services.accounts import MAX_TRIES
from paycall.store.tables import AUDIT
from tests.fakes.panel_world import APPROVED, PASSWORD, PanelWorld, card_ready, charge, until

Run = Callable[..., None]


def told(world: PanelWorld) -> list[tuple[str, str, str]]:
    """Actor, action and result of every entry, oldest first."""
    table = AUDIT.table
    with database.reading(world.database) as session:
        rows = session.execute(sa.select(table).order_by(table.c.seq))
        return [(row.actor, row.action, row.result) for row in rows]


def verify(url: str, folder: Path) -> int:
    config = folder / "audit.toml"
    config.write_text(f'[site]\nvar = "{folder}/none"\n[panel]\ndatabase_url = "{url}"\n')
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=config)
    audit_command.add_arguments(parser)
    return audit_command.run(parser.parse_args(["verify", "--zone", "panel"]))


def test_who_exported_or_deleted_a_recording_is_told(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        recording_id, by = new_id("rec"), "cli uid=1000"
        for action, result in (("exported", "done"), ("exported", "failed"), ("deleted", "done")):
            await world.cell.say(
                RecordingHandled.model_validate(
                    {
                        "recording_id": recording_id,
                        "action": action,
                        "result": result,
                        "by": by,
                        "host": "media-1",
                    }
                )
            )
        table = AUDIT.table
        with database.reading(world.database) as session:
            rows = session.execute(sa.select(table).where(table.c.subject == recording_id)).all()
        assert {(row.actor, row.source) for row in rows} == {(by, "media-1")}
        assert [(row.action, row.result) for row in rows] == [
            ("recording-exported", "done"),
            ("recording-exported", "failed"),
            ("recording-deleted", "done"),
        ]

    run(scenario)


def test_a_payment_is_told_with_who_did_what(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        boss_id = world.add("boss", Role.SUPERVISOR)
        boss = await world.signed_in("boss")
        _, payment = await card_ready(world, boss, APPROVED)
        await charge(boss, payment["id"], "settled")
        await boss.post(f"/api/v1/payments/{payment['id']}/refund")
        await until(boss, payment["id"], "refunded")
        entries = told(world)
        for action in ("created", "authorize_requested", "refund_requested"):
            assert (boss_id, f"payment-{action}", "done") in entries
        for action in (
            "capture_started",
            "approved",
            "settle_requested",
            "settled",
            "refunded",
            "capture_ended",
        ):
            assert ("panel", f"payment-{action}", "done") in entries
        assert entries[0] == ("panel", "log started", "done")
        assert (boss_id, "sign-in", "done") in entries
        world.add("lex", Role.AUDITOR)
        page = (await (await world.signed_in("lex")).get("/audit")).text
        assert "Sign-in" in page and "The bank approved" not in page  # that is on the payment's own page

    run(scenario)


def test_a_lock_out_and_a_change_of_role_are_told(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna_id, root_id = world.add("ann"), world.add("root", Role.ADMINISTRATOR)
        client = world.client()
        for _ in range(MAX_TRIES + 1):
            await client.post("/api/v1/session", json={"name": "ann", "password": PASSWORD + "x"})
        await client.post("/api/v1/session", json={"name": "there is no such", "password": PASSWORD})
        root = await world.signed_in("root")
        await root.patch(f"/api/v1/operators/{anna_id}", json={"role": "supervisor"})
        await root.patch(f"/api/v1/operators/{anna_id}", json={"locked": True})
        entries = told(world)
        assert entries.count((anna_id, "sign-in", "refused")) == MAX_TRIES
        assert ("panel", "operator-lock", "locked") in entries and (anna_id, "sign-in", "locked") in entries
        assert ("nobody", "sign-in", "refused") in entries
        assert (root_id, "operator-role", "supervisor") in entries
        assert (root_id, "operator-lock", "done") in entries

    run(scenario)


def test_who_is_turned_away_is_told(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        ann_id = world.add("ann")
        ann = await world.signed_in("ann")
        assert (await ann.get("/api/v1/operators")).status_code == 403
        assert (ann_id, "access", "refused") in told(world)

    run(scenario)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE audit SET actor = 'somebody else' WHERE seq = 3", "entry 3 was changed"),
        ("DELETE FROM audit WHERE seq = 2", "entry 2 is missing"),
        ("DELETE FROM audit WHERE seq > 3", "the entries after 3 are missing"),
        (
            "INSERT INTO audit SELECT 6, at, actor, source, action, subject, result, hash, hash"
            " FROM audit WHERE seq = 5",
            "entry 6 was changed",
        ),
    ],
)
def test_tampering_with_the_panel_s_audit_is_found_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str, named: str
) -> None:
    path = tmp_path / "panel.sqlite3"
    engine = database.open_database(f"sqlite:///{path}")
    _write(engine, 5)
    assert verify(f"sqlite:///{path}", tmp_path) == 0  # and is itself written down: entry 6
    with database.writing(engine) as session:
        session.execute(sa.text("DELETE FROM audit WHERE seq = 6"))
        session.execute(
            sa.text("UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)")
        )
        session.execute(sa.text(statement))
    engine.dispose()
    capsys.readouterr()
    assert verify(f"sqlite:///{path}", tmp_path) == 1
    assert named in capsys.readouterr().out


def _write(engine: sa.Engine, count: int) -> None:
    for number in range(count):
        with database.writing(engine) as session:
            entry = Entry("oper_a", "export", f"number {number}", "done", "10.0.0.1")
            database.audit(session, entry, datetime.now(UTC))


def test_a_transaction_that_fails_leaves_no_entry(tmp_path: Path) -> None:
    engine = database.open_database(f"sqlite:///{tmp_path / 'panel.sqlite3'}")
    _write(engine, 1)
    with pytest.raises(RuntimeError), database.writing(engine) as session:
        database.audit(session, Entry("a", "b", "c", "d"), datetime.now(UTC))
        raise RuntimeError
    with engine.connect() as connection:
        assert AUDIT.verify(connection).entries == 1
    engine.dispose()


def test_an_audit_of_before_is_chained_as_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "panel.sqlite3"
    engine = database.make_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.execution_options(paycall_write=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    with sqlite3.connect(path) as old:
        old.executemany(
            "INSERT INTO audit (at, operator_id, action, target, result, address) VALUES (?, ?, ?, ?, ?, ?)",
            [
                ("2026-11-01 10:00:00.000000", "oper_a", "sign-in", "", "done", "10.0.0.1"),
                ("2026-11-01 10:00:05.000000", None, "sign-in", "", "refused", "10.0.0.2"),
            ],
        )
    old.close()
    database.migrate(engine)
    with database.reading(engine) as session:
        rows = session.execute(sa.select(AUDIT.table).order_by(AUDIT.table.c.seq)).all()
    assert [(row.at, row.actor, row.result, row.source) for row in rows] == [
        ("2026-11-01T10:00:00+00:00", "oper_a", "done", "10.0.0.1"),
        ("2026-11-01T10:00:05+00:00", "nobody", "refused", "10.0.0.2"),
    ]
    assert verify(f"sqlite:///{path}", tmp_path) == 0
    assert "2 entries hold" in capsys.readouterr().out
    engine.dispose()
