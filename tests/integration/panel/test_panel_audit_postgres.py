"""Several panels on one PostgreSQL: their entries make one chain, and nobody waits for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from paycall.store.database import open_database
from paycall.store.tables import AUDIT

_PANELS, _ENTRIES = 3, 60
# Each transaction also changes a row that the others change, in the other order of locks if the chain came first.
_PANEL = """
import sys
from datetime import UTC, datetime
from paycall.audit import Entry
from paycall.store.database import audit, make_engine, writing
from paycall.store.tables import CustomerRow
engine = make_engine(sys.argv[1])
for number in range(int(sys.argv[2])):
    with writing(engine) as session:
        audit(session, Entry("panel", "test", f"number {number}", "done"), datetime.now(UTC))
        row = session.get(CustomerRow, "one", with_for_update=True)
        row.name = str(int(row.name) + 1)
engine.dispose()
"""


def audit(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, as somebody types it."""
    command = [sys.executable, "-m", "paycall", "audit", "--config", str(config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_entries_of_several_panels_make_one_chain(tmp_path: Path, postgres_url: str) -> None:
    engine = open_database(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO customers (number, name, note, updated_at) VALUES ('one', '0', '', now())"
        )
    words = [sys.executable, "-c", _PANEL, postgres_url, str(_ENTRIES)]
    panels = [subprocess.Popen(words) for _ in range(_PANELS)]
    assert [panel.wait(60) for panel in panels] == [0] * _PANELS
    config = tmp_path / "paycall.toml"
    config.write_text(f'[site]\nvar = "{tmp_path}"\n[panel]\ndatabase_url = "{postgres_url}"\n')
    verified = audit(config, "verify", "--zone", "panel")
    assert verified.returncode == 0 and f"{_PANELS * _ENTRIES} entries hold" in verified.stdout
    exported = audit(config, "export", "--zone", "panel").stdout.splitlines()
    assert json.loads(exported[_PANELS * _ENTRIES])["action"] == "verify audit log"
    with engine.connect() as connection:
        finding = AUDIT.verify(connection)
        count = connection.exec_driver_sql("SELECT name FROM customers").scalar()
    engine.dispose()
    assert (finding.problem, finding.entries, count) == (
        None,
        _PANELS * _ENTRIES + 2,
        str(_PANELS * _ENTRIES),
    )
