"""``paycall audit``: check or export the audit logs of both zones. Reading one is itself written down in it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from paycall.audit import AuditLog, Entry
from paycall.settings import Settings, load_settings
from paycall.vault.store import make_engine

ZONES = ("vault", "panel")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    verify = actions.add_parser("verify", help="find a changed, removed or inserted entry")
    verify.add_argument("--zone", choices=ZONES, help="one zone alone (default: both)")
    verify.add_argument(
        "--seen", metavar="HASH", help="also check that the log still holds this entry's hash"
    )
    export = actions.add_parser("export", help="print every entry as a line of JSON")
    export.add_argument("--zone", choices=ZONES, default="vault")


def run(args: argparse.Namespace) -> int:
    """Carry out one subcommand; 1 if a log does not hold."""
    settings = load_settings(args.config)
    if args.action == "export":
        with _opened(settings, args.zone) as (log, connection):
            _note(log, connection, "export audit log")
            for line in log.export(connection):
                sys.stdout.write(line + "\n")
        return 0
    zones = [args.zone] if args.zone else list(ZONES)
    return max(_verify(settings, zone, args.seen if args.zone else None) for zone in zones)


def _verify(settings: Settings, zone: str, seen: str | None) -> int:
    with _opened(settings, zone) as (log, connection):
        if not sa.inspect(connection).has_table(log.table.name):
            sys.stdout.write(f"{zone}: there is no audit log\n")
            return 1
        columns = {column["name"] for column in sa.inspect(connection).get_columns(log.table.name)}
        if not columns >= set(log.table.c.keys()):
            sys.stdout.write(f"{zone}: this audit log has no hash chain, so nothing can be said of it\n")
            return 1
        finding = log.verify(connection)
        problem = finding.problem
        if problem is None and seen and not log.holds(connection, seen):
            problem = "the entry with this hash is no longer there: the log was written anew"
        if problem is None:
            _note(log, connection, "verify audit log")
    if problem is None:
        sys.stdout.write(f"{zone}: {finding.entries} entries hold; newest hash {finding.head}\n")
        return 0
    sys.stdout.write(f"{zone}: {problem}; {finding.entries} entries before it hold\n")
    return 1


@contextmanager
def _opened(settings: Settings, zone: str) -> Iterator[tuple[AuditLog, sa.Connection]]:
    section = settings.vault if zone == "vault" else settings.panel
    engine = make_engine(section.database_url.get_secret_value())
    try:
        with engine.begin() as connection:
            yield AuditLog(sa.MetaData()), connection
    finally:
        engine.dispose()


def _note(log: AuditLog, connection: sa.Connection, action: str) -> None:
    entry = Entry(f"cli uid={os.getuid()}", action, "audit log", "done", f"pid={os.getpid()}")
    log.append(connection, entry, datetime.now(UTC))
