"""A Unix socket to listen on, for this user only: one that another process listens on is left alone."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from paycall.domain.errors import SettingsError


def private_socket(path: Path) -> socket.socket:
    """A listening Unix socket that only this user can open; a stale one is replaced.

    Raises
    ------
    SettingsError
        If somebody listens on it already.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        raise SettingsError(f"the socket {path} is in use: another process listens on it")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(mask)
    sock.listen(128)
    return sock
