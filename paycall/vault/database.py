"""The vault's database: opening it, and its transactions.

SQLite runs in WAL mode with ``synchronous=FULL`` (a commit is on the disk before it is answered) and takes its
write lock at the beginning of every transaction that writes; PostgreSQL through psycopg. Parameters never reach
an error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from paycall.domain.errors import SettingsError

_FRESH_S = 2.0
_POOL_SIZE = 32


def make_engine(url: str) -> sa.Engine:
    """An engine with the settings that the vault relies on; SQLite's directory is made (mode 0700).

    Raises
    ------
    SettingsError
        If the address cannot be read, or its driver is not there.
    """
    try:
        # As many as there may be threads: one above the pool's size is opened and closed for each use.
        engine = sa.create_engine(url, hide_parameters=True, pool_size=_POOL_SIZE)
    except (sa.exc.SQLAlchemyError, ValueError, ImportError):  # their texts hold the address
        raise SettingsError("setting vault.database_url: the address cannot be read") from None
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    else:
        sa.event.listen(engine, "checkin", _note_use)
        sa.event.listen(engine, "checkout", _ping_if_idle)
    return engine


def _note_use(_: object, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _ping_if_idle(connection: sa.engine.interfaces.DBAPIConnection, record: Any, _: object) -> None:
    """Whether the server is still there: asked of a connection that was not used lately, not of every one."""
    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < _FRESH_S:
        return
    try:
        connection.cursor().execute("SELECT 1")
        connection.rollback()
    except Exception:  # whatever the driver says: the pool takes another one
        raise sa.exc.DisconnectionError from None


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=5000",
        "secure_delete=ON",  # what is deleted is overwritten
        "temp_store=MEMORY",
        # `checkpoint` does it beside the commits, one in a hundred of which would have to wait for it otherwise.
        "wal_autocheckpoint=20000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def migrate(engine: sa.Engine) -> None:
    """Bring the tables to the newest version.

    Raises
    ------
    SettingsError
        If the database cannot be opened.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sa.exc.SQLAlchemyError:  # its text holds the address
        raise SettingsError("setting vault.database_url: the database cannot be opened") from None


class Database:
    """Connections and transactions on an engine."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        # What only reads is one statement or independent ones: PostgreSQL needs no BEGIN and COMMIT around them.
        options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if engine.dialect.name != "sqlite" else {}
        self._readers = engine.execution_options(reading=True, **options)
        # SQLite has one writer at a time and lets the others sleep and try again; a lock lets them go on at once.
        self._writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction: committed at the end, rolled back by an exception."""
        with self._writer, self.engine.begin() as connection:
            yield connection

    def close(self, limit_s: float) -> None:
        """Close every connection, once the threads that use one are done with it (blocking)."""
        give_up_at = time.monotonic() + limit_s
        pool = self.engine.pool
        while isinstance(pool, sa.QueuePool) and pool.checkedout() and time.monotonic() < give_up_at:
            time.sleep(0.01)  # work whose task was cancelled goes on to the end of its transaction
        self.engine.dispose()

    def checkpoint(self) -> None:
        """Move what SQLite has committed from its journal into the database file; no writer waits for it."""
        if self.engine.dialect.name == "sqlite":
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """For what changes nothing, and waits for no writer."""
        return self._readers.begin()
