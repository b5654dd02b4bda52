"""One vault works on a database: a second one would find out, and undo, what the first is still asking.

SQLite: a lock on a file beside the database, which goes with the process. PostgreSQL: an advisory lock of a
connection that is kept open, and taken again if the server was restarted.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import sqlalchemy as sa

from paycall.domain.errors import SettingsError

_ADVISORY_KEY = 0x7061_7963_616C_6C  # "paycall"
# A vault that was killed is gone at once; its connection to a database server a moment later.
_WAIT_S = 2.0
_PAUSE_S = 0.1


class ExclusiveLock:
    """Held from ``take`` to ``release``. Blocking."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._file: int | None = None
        self._connection: sa.Connection | None = None

    def take(self) -> None:
        """Take it.

        Raises
        ------
        SettingsError
            If another vault has it.
        """
        until = time.monotonic() + _WAIT_S
        while not self._try():
            if time.monotonic() > until:
                raise SettingsError("vault: another vault works on this database")
            time.sleep(_PAUSE_S)

    def keep(self) -> None:
        """Take it again if it was lost with the connection.

        Raises
        ------
        SettingsError
            If another vault has it now.
        """
        if self._connection is None:
            return
        try:
            self._connection.execute(sa.text("SELECT 1"))
            self._connection.rollback()
        except sa.exc.SQLAlchemyError:
            self.release()
            self.take()

    def release(self) -> None:
        """Let go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._connection is not None:
            self._connection.invalidate()  # closed, not given back to the pool: the lock goes with it
            self._connection.close()
            self._connection = None

    def _try(self) -> bool:
        if self._engine.dialect.name != "sqlite":
            return self._try_advisory()
        if not self._engine.url.database:
            return True
        path = Path(self._engine.url.database + ".lock")
        self._file = self._file or os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _try_advisory(self) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect()
        taken = self._connection.execute(
            sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_KEY}
        ).scalar()
        self._connection.rollback()
        return bool(taken)
