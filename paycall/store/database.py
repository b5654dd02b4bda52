"""Opening the panel's database: SQLite on one machine, PostgreSQL in production.

Rules: parameters are hidden in every error and log line. SQLite runs in WAL mode and a writing transaction takes
its lock when it begins, so that two writers wait for each other instead of failing half-way. Calls are
synchronous; asynchronous code goes through ``asyncio.to_thread``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from paycall.audit import Entry
from paycall.domain.errors import SettingsError
from paycall.store.tables import AUDIT

_WRITE = "paycall_write"
_AUDITED = "paycall_audited"
_BUSY_SECONDS = 10


def open_database(url: str) -> Engine:
    """Connect and bring the tables up to date.

    Parameters
    ----------
    url
        ``sqlite:///path/to/file`` or ``postgresql+psycopg://...``.

    Raises
    ------
    SettingsError
        If the address is not one that this version understands, or the database cannot be opened.
    """
    engine = make_engine(url)
    try:
        migrate(engine)
    except SQLAlchemyError:  # its text holds the address
        engine.dispose()
        raise SettingsError("setting panel.database_url: the database cannot be opened") from None
    return engine


def make_engine(url: str) -> Engine:
    """An engine with the project's habits, without touching the tables."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("setting panel.database_url: the address cannot be read") from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite":
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=20)
    raise SettingsError("setting panel.database_url: the database must be sqlite or postgresql")


def _sqlite(url: Any) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=20,
        connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # acknowledged means on the disk
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def migrate(engine: Engine) -> None:
    """Run the migrations that this database has not seen."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with engine.execution_options(**{_WRITE: True}).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that only reads: one consistent view, never committed."""
    with Session(engine) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that is committed when the block ends, and rolled back if it raises."""
    with (
        Session(engine.execution_options(**{_WRITE: True}), expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session
        # Last of all: the chain's end is locked until the commit, and nobody waits for a row while holding it.
        session.flush()
        for entry, now in session.info.pop(_AUDITED, ()):
            AUDIT.append(session.connection(), entry, now)


def audit(session: Session, entry: Entry, now: datetime) -> None:
    """Have ``writing`` add an entry to the audit log, in the same transaction as what it tells of."""
    session.info.setdefault(_AUDITED, []).append((entry, now))
