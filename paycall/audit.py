"""The audit log: append-only, each entry chained to the one before by SHA-256.

Both zones use it, each with a table of its own in its own database. Rules: an entry is written in the same
transaction as what it tells of, so neither is there without the other; it carries identifiers and fixed words,
never card data; nothing updates or deletes. ``verify`` names the first entry that was changed, removed or put
in.

Who can write both tables can chain them anew or cut the newest entries off. Against that each process tells its
log how long the chain is and its newest hash (``tell_head``: at the start, at the stop and within a minute of an
entry), and ``paycall audit verify`` compares: it finds a chain that was cut or written anew before the last time
that the log told, if the log is out of that person's reach. Hashes are spelled in letters, since sixteen digits in
a row are what every leak guard looks for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

TELL_HEAD_S = 60.0
_GENESIS = bytes(32)
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_log = structlog.get_logger(__name__)
_FIRST_HEAD = "INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, :hash) ON CONFLICT DO NOTHING"


@dataclass(frozen=True)
class Entry:
    """Who did what to what, from where, with which result. Fixed words and identifiers only."""

    actor: str
    action: str
    subject: str
    result: str
    source: str = ""


@dataclass(frozen=True)
class Head:
    """How long a chain is, and the hash of its newest entry in letters."""

    entries: int
    digest: str


@dataclass(frozen=True)
class Finding:
    """What ``verify`` found: how many entries hold, the hash of the last of them, what is wrong (None: nothing)."""

    entries: int
    head: str
    problem: str | None


class AuditLog:
    """The audit log of one database.

    Parameters
    ----------
    metadata
        Gets the tables ``audit`` and ``audit_head``; the caller's migrations create them.
    """

    def __init__(self, metadata: sa.MetaData) -> None:
        self._told: Head | None = None
        self.table = sa.Table(
            "audit",
            metadata,
            sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("at", sa.String(32), nullable=False),
            sa.Column("actor", sa.String(64), nullable=False),
            sa.Column("source", sa.String(128), nullable=False),
            sa.Column("action", sa.String(64), nullable=False),
            sa.Column("subject", sa.String(64), nullable=False),
            sa.Column("result", sa.String(64), nullable=False),
            sa.Column("previous", sa.LargeBinary(32), nullable=False),
            sa.Column("hash", sa.LargeBinary(32), nullable=False),
        )
        self.head = sa.Table(
            "audit_head",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("seq", sa.BigInteger, nullable=False),
            sa.Column("hash", sa.LargeBinary(32), nullable=False),
        )

        # Built once: every authorization appends twice.
        self._locked = sa.select(self.head).where(self.head.c.id == 1).with_for_update()
        values: dict[str, Any] = {
            column.name: sa.bindparam(f"entry_{column.name}") for column in self.table.c
        }
        insert = self.table.insert().values(values)
        move = self.head.update().where(self.head.c.id == 1)
        move = move.values({name: values[name] for name in ("seq", "hash")})
        self._writes: dict[bool, tuple[sa.Executable, ...]] = {
            True: (move.add_cte(insert.cte("entry")),),  # PostgreSQL: both in one round trip
            False: (insert, move),
        }

    def append(self, connection: sa.Connection, entry: Entry, now: datetime) -> None:
        """Add an entry inside the caller's transaction."""
        # The head row is the queue: writers wait here for each other (FOR UPDATE; SQLite locks the file).
        head = connection.execute(self._locked).first()
        if head is None:
            connection.execute(sa.text(_FIRST_HEAD), {"hash": _GENESIS})
            head = connection.execute(self._locked).one()
        seq, previous = head.seq + 1, bytes(head.hash)
        row = {
            "seq": seq,
            "at": now.isoformat(),
            "actor": entry.actor,
            "source": entry.source,
            "action": entry.action,
            "subject": entry.subject,
            "result": entry.result,
        }
        digest = _digest(row, previous)
        values = {**row, "previous": previous, "hash": digest}
        for statement in self._writes[connection.dialect.name == "postgresql"]:
            connection.execute(statement, {f"entry_{name}": value for name, value in values.items()})

    def verify(self, connection: sa.Connection) -> Finding:
        """Walk the chain from its beginning, in a transaction that sees nothing of what is written meanwhile."""
        seq, previous = 0, _GENESIS
        head = self._head(connection)
        for row in self._rows(connection):
            if row.seq != seq + 1:
                return Finding(seq, spelled(previous), f"entry {seq + 1} is missing")
            if bytes(row.previous) != previous:
                return Finding(seq, spelled(previous), f"entry {row.seq} does not follow the one before it")
            if bytes(row.hash) != _digest(_content(row), previous):
                return Finding(seq, spelled(previous), f"entry {row.seq} was changed")
            if row.seq > head.entries:
                return Finding(seq, spelled(previous), f"entry {row.seq} was put in behind the end")
            seq, previous = row.seq, bytes(row.hash)
        if head != Head(seq, spelled(previous)):
            return Finding(seq, spelled(previous), f"the entries after {seq} are missing")
        return Finding(seq, spelled(previous), None)

    def holds(self, connection: sa.Connection, head: Head) -> bool:
        """Whether the chain, or the beginning of it, once had this head."""
        query = sa.select(self.table.c.hash).where(self.table.c.seq == head.entries)
        digest = connection.execute(query).scalar()
        return digest is not None and spelled(bytes(digest)) == head.digest

    def tell_head(self, connection: sa.Connection, zone: str) -> None:
        """Tell this process's log how long the chain is, and its newest hash: a witness outside of the database.

        Nothing is told if that is what was told last.
        """
        head = self._head(connection)
        if head == self._told:
            return
        self._told = head
        _log.info("audit_head", name=zone, count=head.entries, head=head.digest)

    def export(self, connection: sa.Connection) -> Iterator[str]:
        """Every entry as a line of JSON, hashes included, oldest first."""
        for row in self._rows(connection):
            hashes = {"previous": spelled(bytes(row.previous)), "hash": spelled(bytes(row.hash))}
            yield json.dumps({**_content(row), **hashes})

    def _head(self, connection: sa.Connection) -> Head:
        row = connection.execute(sa.select(self.head).where(self.head.c.id == 1)).first()
        return Head(row.seq, spelled(bytes(row.hash))) if row else Head(0, spelled(_GENESIS))

    def _rows(self, connection: sa.Connection) -> Iterator[sa.Row[Any]]:
        query = sa.select(self.table).order_by(self.table.c.seq)
        yield from connection.execution_options(yield_per=1000).execute(query)


def spelled(digest: bytes) -> str:
    """A hash in letters, a to p for the hexadecimal digits."""
    return digest.hex().translate(_LETTERS)


def heads_in_log(lines: Iterable[str], zone: str) -> Iterator[Head]:
    """What a log told of a zone's chain, oldest first; lines that are nothing of the kind are passed over."""
    for line in lines:
        if '"audit_head"' not in line:
            continue
        try:
            told = json.loads(line)
            if told["event"] == "audit_head" and told["name"] == zone and told["count"]:
                yield Head(int(told["count"]), str(told["head"]))
        except (ValueError, KeyError, TypeError):
            continue


def _content(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        name: getattr(row, name) for name in ("seq", "at", "actor", "source", "action", "subject", "result")
    }


def _digest(content: dict[str, Any], previous: bytes) -> bytes:
    return hashlib.sha256(previous + json.dumps(content, sort_keys=True).encode()).digest()
