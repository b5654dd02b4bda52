"""``paycall audit``: check or export the audit logs of both zones. Reading one is itself written down in it.

Exit codes of ``verify``: 0 the logs hold, 1 one does not (it is named, and the first entry that is wrong), 2 a
setting or database is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from paycall.audit import AuditLog, Entry, heads_in_log
from paycall.domain.errors import SettingsError
from paycall.settings import Settings
from paycall.settings_file import load_settings
from paycall.vault.database import make_engine

ZONES = ("vault", "panel")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    verify = actions.add_parser("verify", help="find a changed, removed or inserted entry")
    verify.add_argument("--zone", choices=ZONES, help="one zone alone (default: both)")
    verify.add_argument(
        "--log",
        type=Path,
        action="append",
        metavar="FILE",
        help="a log in which the processes told the chain's length and hash (again for more; default: those"
        " of `paycall serve`)",
    )
    export = actions.add_parser("export", help="print every entry as a line of JSON")
    export.add_argument("--zone", choices=ZONES, default="vault")


def run(args: argparse.Namespace) -> int:
    """Carry out one subcommand; 1 if a log does not hold."""
    settings = load_settings(args.config)
    if args.action == "export":
        with _opened(settings, args.zone) as (log, engine):
            _note(log, engine, "export audit log")
            with _one_state(engine) as connection:
                for line in log.export(connection):
                    sys.stdout.write(line + "\n")
        return 0
    zones = [args.zone] if args.zone else list(ZONES)
    return max([_verify(settings, zone, args.log) for zone in zones])


def _verify(settings: Settings, zone: str, told_in: list[Path] | None) -> int:
    with _opened(settings, zone) as (log, engine):
        with _one_state(engine) as connection:
            if not all(sa.inspect(connection).has_table(table.name) for table in (log.table, log.head)):
                sys.stdout.write(f"{zone}: there is no audit log with a hash chain\n")
                return 1
            finding = log.verify(connection)
            problem = finding.problem or _not_as_told(settings, zone, log, connection, told_in)
        if problem is None:
            _note(log, engine, "verify audit log")
    if problem is None:
        sys.stdout.write(f"{zone}: {finding.entries} entries hold; newest hash {finding.head}\n")
        return 0
    sys.stdout.write(f"{zone}: {problem}; {finding.entries} entries from the beginning hold together\n")
    return 1


def _not_as_told(
    settings: Settings, zone: str, log: AuditLog, connection: sa.Connection, told_in: list[Path] | None
) -> str | None:
    """What a log told of this chain and is no longer so, or None."""
    own = settings.site.var / "log" / f"{zone}.log"
    for path in told_in if told_in is not None else [own] if own.exists() else []:
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                for head in heads_in_log(lines, zone):
                    if not log.holds(connection, head):
                        return f"entry {head.entries} is not the one that {path} told of: cut off, or written anew"
        except OSError:
            raise SettingsError(f"the log {path} cannot be read") from None
    return None


@contextmanager
def _opened(settings: Settings, zone: str) -> Iterator[tuple[AuditLog, sa.Engine]]:
    section = settings.vault if zone == "vault" else settings.panel
    engine = make_engine(section.database_url.get_secret_value())
    try:
        yield AuditLog(sa.MetaData()), engine
    finally:
        engine.dispose()


@contextmanager
def _one_state(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees nothing of what is written meanwhile, and holds nobody up."""
    options: dict[str, Any] = {"reading": True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with engine.execution_options(**options).begin() as connection:
        yield connection


def _note(log: AuditLog, engine: sa.Engine, action: str) -> None:
    entry = Entry(f"cli uid={os.getuid()}", action, "audit log", "done", f"pid={os.getpid()}")
    with engine.begin() as connection:
        log.append(connection, entry, datetime.now(UTC))
