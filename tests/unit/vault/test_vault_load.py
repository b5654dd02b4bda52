"""What an authorization costs the database, and many at once: they wait for each other, and none is turned away."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from contextvars import ContextVar

import sqlalchemy as sa

from paycall.vault.providers.file import FileKeys
from paycall.vault.tables import audit
from tests.fakes.vault_harness import VaultHarness

_PAYMENTS = 40
_HELD_S = 0.05


def test_an_authorization_is_two_commits_and_six_writes(vault: VaultHarness) -> None:
    """One commit before the request is sent and one after its answer: each is a wait for the disk."""
    commits, statements = Counter[bool](), Counter[str]()
    asking = ContextVar(
        "asking", default=False
    )  # goes along into the threads; the background work has it not

    def committed(connection: sa.Connection) -> None:
        if asking.get():
            commits[connection.get_execution_options().get("reading", False)] += 1

    def executed(_: object, __: object, statement: str, *___: object) -> None:
        if asking.get():
            statements[statement.split()[0]] += 1

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            engine = client.apps.services.store.engine
            sa.event.listen(engine, "commit", committed)
            sa.event.listen(engine, "before_cursor_execute", executed)
            asking.set(True)
            assert (await client.authorize(payment_id, token)).json()["outcome"] == "approved"
            sa.event.remove(engine, "commit", committed)
            sa.event.remove(engine, "before_cursor_execute", executed)

    asyncio.run(main())
    assert commits[False] == 2
    # The attempt and what became of it; for each an entry of the audit and the audit's end.
    assert (statements["INSERT"], statements["UPDATE"]) == (3, 3)
    assert statements["SELECT"] == 3  # the card; the audit's end, twice


def test_a_payment_s_live_attempt_is_found_without_reading_every_attempt(vault: VaultHarness) -> None:
    """Every field and every authorization asks for it."""
    plans = []

    def executed(
        connection: sa.Connection, _: object, statement: str, parameters: tuple[str], *__: object
    ) -> None:
        cursor = connection.connection.cursor()
        plans.append(str(cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()))

    async def main() -> None:
        async with vault.running() as client:
            store = client.apps.services.store
            with store.reading() as connection:
                sa.event.listen(connection, "before_cursor_execute", executed)
                assert store.live_attempt_of(connection, "pay_none") is None

    asyncio.run(main())
    assert "USING INDEX one_live_authorization_a_payment" in plans[0]


def test_no_payment_is_turned_away_however_many_write(vault: VaultHarness) -> None:
    """Another process writes as well (the command line, a second vault), and the keys are rotated meanwhile."""
    over = threading.Event()
    path = vault.directory / "vault" / "vault.sqlite3"

    def somebody_else() -> None:
        other = sqlite3.connect(path, timeout=10, isolation_level=None)
        while not over.is_set():
            other.execute("BEGIN IMMEDIATE")
            over.wait(_HELD_S)
            other.execute("COMMIT")
            over.wait(_HELD_S)
        other.close()

    async def main() -> Counter[str]:
        async with vault.running() as client:
            writer = threading.Thread(target=somebody_else)
            writer.start()
            try:

                async def pay() -> str:
                    payment_id, token = await client.capture()
                    answer = await client.authorize(payment_id, token)
                    dropped = await client.panel.delete(f"/v1/payments/{payment_id}")
                    return f"{answer.status_code} {answer.json().get('outcome')} {dropped.status_code}"

                paid = asyncio.gather(*(pay() for _ in range(_PAYMENTS)))
                await asyncio.to_thread(FileKeys(vault.key_file).rotate)
                outcomes = Counter(await paid)
            finally:
                over.set()
                writer.join()
            with client.apps.services.store.reading() as connection:
                assert audit.verify(connection).problem is None
            return outcomes

    assert asyncio.run(main()) == {"200 approved 204": _PAYMENTS}
    assert len(vault.acquirer.ledger) == _PAYMENTS
