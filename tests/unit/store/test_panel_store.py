"""The panel's database: migrations that make exactly the tables, times with their zone, errors without values."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from paycall.domain.errors import SettingsError
from paycall.store.database import make_engine, migrate, open_database, reading, writing
from paycall.store.tables import Base, CustomerRow


def _customer(number: str, at: datetime | None = None) -> CustomerRow:
    return CustomerRow(number=number, name="n", note="", updated_at=at or datetime.now(UTC))


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'new' / 'panel.sqlite3'}")
    migrate(engine)  # again: nothing to do
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [
            change
            for change in compare_metadata(context, Base.metadata)
            if not (isinstance(change, list) and change[0][0] == "modify_default")
        ]
    assert differences == []
    engine.dispose()


def test_times_come_back_in_utc_and_without_zone_are_refused(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'panel.sqlite3'}")
    moment = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    with writing(engine) as session:
        session.add(_customer("1", moment))
    with reading(engine) as session:
        found = session.scalars(select(CustomerRow)).one().updated_at
    assert found == moment and found.tzinfo is UTC
    with pytest.raises(Exception, match="zone"), writing(engine) as session:
        session.add(_customer("2", datetime(2026, 5, 1)))  # noqa: DTZ001 - what is refused
    engine.dispose()


def test_an_error_does_not_show_the_values(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'panel.sqlite3'}")
    for _ in range(2):
        try:
            with writing(engine) as session:
                session.add(_customer("secret-number"))
        except IntegrityError as error:
            assert "secret-number" not in str(error)
            break
    else:
        pytest.fail("the second one must clash")
    engine.dispose()


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'panel.sqlite3'}")
    with writing(engine) as session:
        session.add(CustomerRow(number="n", name="0", note="", updated_at=datetime.now(UTC)))

    def count() -> None:
        for _ in range(20):
            with writing(engine) as session:
                row = session.get(CustomerRow, "n", with_for_update=True)
                assert row is not None
                row.name = str(int(row.name) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as session:
        assert session.scalars(select(CustomerRow)).one().name == "80"
    engine.dispose()


def test_other_databases_are_refused() -> None:
    for url in ("mysql://x/y", "nonsense"):
        with pytest.raises(SettingsError):
            make_engine(url)
    assert make_engine("postgresql://user@host/db").dialect.driver == "psycopg"
