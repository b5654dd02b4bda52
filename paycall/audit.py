"""The audit log: append-only, each entry chained to the one before by SHA-256.

Both zones use it, each with a table of its own in its own database. Rules: an entry is written in the same
transaction as what it tells of, so neither is there without the other; it carries identifiers and fixed words,
never card data; nothing updates or deletes. ``verify`` names the first entry that was changed, removed or put
in. Who can write the whole table could chain it anew, so keep the newest hash elsewhere now and then:
``paycall audit verify`` prints it, and with ``--seen`` checks that an older one is still in the chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

_GENESIS = bytes(32)
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
class Finding:
    """What ``verify`` found: how many entries hold, the newest hash, and what is wrong (None: nothing)."""

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

    def append(self, connection: sa.Connection, entry: Entry, now: datetime) -> None:
        """Add an entry inside the caller's transaction."""
        # The head row is the queue: writers wait here for each other (FOR UPDATE; SQLite locks the file).
        locked = sa.select(self.head).where(self.head.c.id == 1).with_for_update()
        head = connection.execute(locked).first()
        if head is None:
            connection.execute(sa.text(_FIRST_HEAD), {"hash": _GENESIS})
            head = connection.execute(locked).one()
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
        connection.execute(self.table.insert().values(**row, previous=previous, hash=digest))
        connection.execute(self.head.update().where(self.head.c.id == 1).values(seq=seq, hash=digest))

    def verify(self, connection: sa.Connection) -> Finding:
        """Walk the chain from its beginning."""
        seq, previous = 0, _GENESIS
        for row in self._rows(connection):
            if row.seq != seq + 1:
                return Finding(seq, previous.hex(), f"entry {seq + 1} is missing")
            if bytes(row.previous) != previous:
                return Finding(seq, previous.hex(), f"entry {row.seq} does not follow the one before it")
            if bytes(row.hash) != _digest(_content(row), previous):
                return Finding(seq, previous.hex(), f"entry {row.seq} was changed")
            seq, previous = row.seq, bytes(row.hash)
        head = connection.execute(sa.select(self.head).where(self.head.c.id == 1)).first()
        if (head.seq if head else 0) != seq or (bytes(head.hash) if head else _GENESIS) != previous:
            return Finding(seq, previous.hex(), f"the entries after {seq} are missing")
        return Finding(seq, previous.hex(), None)

    def holds(self, connection: sa.Connection, digest: str) -> bool:
        """Whether an entry with this hash (in hexadecimal) is there: the check against one seen earlier."""
        try:
            wanted = bytes.fromhex(digest)
        except ValueError:
            return False
        return (
            connection.execute(sa.select(self.table.c.seq).where(self.table.c.hash == wanted)).first()
            is not None
        )

    def export(self, connection: sa.Connection) -> Iterator[str]:
        """Every entry as a line of JSON, hashes included, oldest first."""
        for row in self._rows(connection):
            hashes = {"previous": bytes(row.previous).hex(), "hash": bytes(row.hash).hex()}
            yield json.dumps({**_content(row), **hashes})

    def _rows(self, connection: sa.Connection) -> Iterator[sa.Row[Any]]:
        query = sa.select(self.table).order_by(self.table.c.seq)
        yield from connection.execution_options(yield_per=1000).execute(query)


def _content(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        name: getattr(row, name) for name in ("seq", "at", "actor", "source", "action", "subject", "result")
    }


def _digest(content: dict[str, Any], previous: bytes) -> bytes:
    return hashlib.sha256(previous + json.dumps(content, sort_keys=True).encode()).digest()
