"""The audit log tells who did what; a changed, removed or inserted entry is found and named."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
import structlog

from paycall import audit_command
from paycall.domain.ids import new_id
from tests.fakes.vault_harness import CODE, NUMBER, VaultHarness


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reads the logs under var/, where there are some: not those that `make run` has left here."""
    monkeypatch.chdir(tmp_path)


def audit(vault: VaultHarness, *words: str) -> int:
    config = vault.directory / "paycall.toml"
    config.write_text(f'[vault]\ndatabase_url = "{vault.database_url}"\n')
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, default=config)
    audit_command.add_arguments(parser)
    return audit_command.run(parser.parse_args(words))


def a_payment(vault: VaultHarness) -> str:
    async def main() -> str:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            await client.authorize(payment_id, token)
            await client.panel.delete(f"/v1/payments/{payment_id}")
            return token

    return asyncio.run(main())


def test_a_payment_is_told_from_the_log_s_start_to_its_stop(
    vault: VaultHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    token = a_payment(vault)
    capsys.readouterr()  # the log
    assert audit(vault, "export") == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(e["actor"].split()[0], e["action"], e["result"]) for e in entries]
    assert told == [
        ("vault", "log started", "done"),
        ("cell", "store payment-card-number", "stored"),
        ("cell", "store expiration-date", "stored"),
        ("cell", "store security-code", "stored"),
        ("panel", "authorize", "sending"),
        ("vault", "authorize", "approved"),
        ("panel", "delete card", "dropped"),
        ("vault", "log stopped", "done"),
        ("cli", "export audit log", "done"),
    ]
    assert entries[1]["subject"] == token and entries[1]["source"]
    text = json.dumps(entries)
    assert NUMBER not in text and f'"{CODE}"' not in text


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE audit SET result = 'declined' WHERE seq = 6", "entry 6 was changed"),
        ("UPDATE audit SET at = '2020' WHERE seq = 1", "entry 1 was changed"),
        ("DELETE FROM audit WHERE seq = 3", "entry 3 is missing"),
        ("DELETE FROM audit WHERE seq > 5", "the entries after 5 are missing"),
        ("UPDATE audit SET seq = 100 WHERE seq = 4", "entry 4 is missing"),
        (
            "INSERT INTO audit SELECT 9, at, actor, source, action, subject, result, previous, hash "
            "FROM audit WHERE seq = 8",
            "entry 9 does not follow the one before it",
        ),
        (
            "UPDATE audit_head SET seq = 7, hash = (SELECT hash FROM audit WHERE seq = 7)",
            "entry 8 was put in",
        ),
        ("DELETE FROM audit_head", "entry 1 was put in behind the end"),
        ("UPDATE audit SET previous = hash WHERE seq = 2", "entry 2 does not follow the one before it"),
    ],
)
def test_tampering_is_found_and_named(
    vault: VaultHarness, capsys: pytest.CaptureFixture[str], statement: str, named: str
) -> None:
    a_payment(vault)
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    with connection:
        connection.execute(statement)
    connection.close()
    assert audit(vault, "verify", "--zone", "vault") == 1
    assert named in capsys.readouterr().out


def test_the_log_is_told_of_what_is_new_and_of_nothing_twice(vault: VaultHarness) -> None:
    """So that the witness may look every minute."""

    def told(events: list[structlog.typing.EventDict]) -> list[int]:
        return [event["count"] for event in events if event["event"] == "audit_head"]

    async def main() -> None:
        async with vault.running() as client:
            await asyncio.to_thread(client.apps.services.tell_audit_head)
            with structlog.testing.capture_logs() as events:
                for _ in range(3):
                    await asyncio.to_thread(client.apps.services.tell_audit_head)
            assert told(events) == []
            await client.put(new_id("pay"), "payment-card-number", NUMBER)
            with structlog.testing.capture_logs() as events:
                for _ in range(3):
                    await asyncio.to_thread(client.apps.services.tell_audit_head)
            assert told(events) == [2]

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cut off", "written anew"])
def test_a_chain_that_was_cut_or_written_anew_is_not_what_the_log_told_of(
    vault: VaultHarness, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """Both tables are in the hands of whoever did it; the process's log is not."""
    with structlog.testing.capture_logs() as events:
        a_payment(vault)
    told = vault.directory / "vault.log"
    told.write_text("\n".join(json.dumps(event) for event in events))
    assert told.read_text().count("audit_head") == 2  # at the start and at the stop
    assert audit(vault, "verify", "--zone", "vault", "--log", str(told)) == 0
    connection = sqlite3.connect(vault.directory / "vault" / "vault.sqlite3")
    with connection:
        if how == "cut off":
            connection.execute("DELETE FROM audit WHERE seq > 5")
            connection.execute("UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)")
        else:
            connection.execute("DELETE FROM audit")
            connection.execute("DELETE FROM audit_head")
    connection.close()
    a_payment(vault)
    assert audit(vault, "verify", "--zone", "vault") == 0  # in itself the chain is good
    capsys.readouterr()
    assert audit(vault, "verify", "--zone", "vault", "--log", str(told)) == 1
    assert "cut off, or written anew" in capsys.readouterr().out


def test_entries_written_at_once_make_one_chain(
    vault: VaultHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with vault.running() as client:
            await asyncio.gather(*(client.capture() for _ in range(12)))

    asyncio.run(main())
    assert audit(vault, "verify", "--zone", "vault") == 0
    assert "38 entries hold" in capsys.readouterr().out


def test_a_log_without_a_chain_is_not_called_good(
    vault: VaultHarness, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a_payment(vault)
    panel = tmp_path / "panel.sqlite3"
    connection = sqlite3.connect(panel)
    connection.execute("CREATE TABLE audit (id INTEGER, action TEXT)")
    connection.close()
    config = tmp_path / "both.toml"
    urls = f'database_url = "{vault.database_url}"\n[panel]\ndatabase_url = "sqlite:///{panel}"\n'
    config.write_text(f"[vault]\n{urls}")
    assert audit(vault, "--config", str(config), "verify") == 1
    shown = capsys.readouterr().out
    assert "panel: there is no audit log with a hash chain" in shown and "entries hold" in shown
