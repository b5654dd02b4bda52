"""The panel's audit: who did what, when, to what, from where, with what result (PCI DSS 10.2).

Entries are chained (``paycall.audit``) when their transaction is committed.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from paycall.audit import TELL_HEAD_S, Entry
from paycall.domain.ports import Clock
from paycall.store.database import audit, reading, writing
from paycall.store.tables import AUDIT

_log = structlog.get_logger(__name__)
NOBODY = "nobody"
"""Who tried to sign in under a name that there is not."""
PANEL = "panel"
"""What the panel does by itself, or passes on from a cell or the vault."""


def note(
    session: Session,
    now: datetime,
    actor: str | None,
    action: str,
    *,
    target: str = "",
    result: str = "done",
    address: str = "",
) -> None:
    """Write an entry; ``actor`` is an operator's id, or a word for who is none."""
    audit(session, Entry(actor or NOBODY, action, target, result, address), now)


async def keep_witness(database: Engine, clock: Clock) -> None:
    """Write down that the log starts, and when this is cancelled that it stops; tell its head now and then."""

    def write(action: str) -> None:
        with writing(database) as session:
            note(session, clock.now(), PANEL, action, target="audit log")

    def tell() -> None:
        with reading(database) as session:
            AUDIT.tell_head(session.connection(), PANEL)

    await asyncio.to_thread(write, "log started")
    try:
        while True:
            try:
                await asyncio.to_thread(tell)
            except SQLAlchemyError as error:  # a database that is away comes back
                _log.error("audit_head_not_told", error=type(error).__name__)
            await asyncio.sleep(TELL_HEAD_S)
    finally:
        await asyncio.to_thread(write, "log stopped")
        await asyncio.to_thread(tell)
