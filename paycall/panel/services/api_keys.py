"""Programs' keys: made and revoked by an administrator, shown once, kept as a hash.

Rules: a key has scopes and nothing else; what the scopes add up to is never more than a supervisor may. A key is 256
random bits, so its plain SHA-256 is enough to keep: there is nothing to guess at.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError
from paycall.domain.ids import new_id
from paycall.panel.roles import SCOPES, Permission, Principal, Scope
from paycall.store.tables import ApiKeyRow

PREFIX = "paycall_"
_SHOWN_LETTERS = len(PREFIX) + 6
# The time of the last use is written at most this often.
_TOUCH_EVERY = timedelta(minutes=1)


def make_key(
    session: Session,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
    created_by: str,
    now: datetime,
) -> tuple[ApiKeyRow, str]:
    """Make a key; gives its row and the key itself, which nobody can read again."""
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKeyRow(
        id=new_id("key"),
        name=name,
        key_hash=_digest(key),
        start=key[:_SHOWN_LETTERS],
        scopes=sorted({scope.value for scope in scopes}),
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return row, key


def revoke_key(session: Session, key_id: str, now: datetime) -> ApiKeyRow:
    """Take the key out of use, for good.

    Raises
    ------
    NotFoundError
        If there is no such key.
    """
    row = session.get(ApiKeyRow, key_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    row.revoked_at = row.revoked_at or now
    return row


def find_program(session: Session, key: str, now: datetime, language: str) -> tuple[Principal, bool] | None:
    """The program that holds this key, and whether its use should be written down; None for a key of nobody."""
    row = session.scalars(select(ApiKeyRow).where(ApiKeyRow.key_hash == _digest(key))).first()
    if row is None or not _is_good(row, now):
        return None
    permissions = frozenset[Permission]().union(*(SCOPES[Scope(scope)] for scope in row.scopes))
    principal = Principal(
        id=row.id, name=row.name, operator_id=None, permissions=permissions, language=language
    )
    return principal, row.last_used_at is None or row.last_used_at < now - _TOUCH_EVERY


def is_still_good(session: Session, key_id: str, now: datetime) -> bool:
    """Whether the key may still be used."""
    row = session.get(ApiKeyRow, key_id)
    return row is not None and _is_good(row, now)


def touch_key(session: Session, key_id: str, now: datetime) -> None:
    """The key has just been used."""
    session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=now))


def _is_good(row: ApiKeyRow, now: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
