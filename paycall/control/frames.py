"""The control link's frames: one JSON object a line, over a Unix socket or mutual TLS.

From a cell or node: ``{"from": sender_id, "boot": boot_id}`` once, then ``{"seq": n, "event": {...}}`` and
``{"beat": true}``. From the panel: ``{"command": {...}}`` and ``{"ack": n}``, which says that everything up to
``n`` has been handled (and, where it matters, is in the database).
"""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

from paycall.domain.errors import LinkError, SettingsError
from paycall.private_socket import private_socket

MAX_FRAME_BYTES = 256 * 1024
BEAT_S = 4.0
SILENCE_S = 15.0  # a peer that says nothing for so long is gone


def encode(frame: dict[str, Any]) -> bytes:
    """A frame as a line."""
    return json.dumps(frame, separators=(",", ":")).encode() + b"\n"


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next frame, or None at the end of the stream.

    Raises
    ------
    LinkError
        If the line is too long, is no JSON object, or nothing came for ``SILENCE_S``.
    """
    try:
        async with asyncio.timeout(SILENCE_S):
            line = await reader.readline()
    except TimeoutError:
        raise LinkError("the control link went silent") from None
    except ValueError:
        raise LinkError("a frame of the control link is too long") from None
    if not line:
        return None
    try:
        frame = json.loads(line)
    except ValueError:
        raise LinkError("a frame of the control link is not JSON") from None
    if not isinstance(frame, dict):
        raise LinkError("a frame of the control link is not an object")
    return frame


def split_address(address: str) -> tuple[str, str, int]:
    """Read ``unix:PATH`` as ``("unix", PATH, 0)`` and ``tls:HOST:PORT`` as ``("tls", HOST, PORT)``.

    Raises
    ------
    SettingsError
        If it is neither.
    """
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        return "unix", rest, 0
    host, _, port = rest.rpartition(":")
    if kind == "tls" and host and port.isdigit() and 0 < int(port) < 65536:
        return "tls", host, int(port)
    raise SettingsError("control_address must be unix:PATH or tls:HOST:PORT")


async def dial(address: str, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the address. Raises ``OSError`` if there is nobody."""
    kind, where, port = split_address(address)
    if kind == "unix":
        return await asyncio.open_unix_connection(where, limit=MAX_FRAME_BYTES)
    if tls is None:
        raise SettingsError("control_address tls: needs certificates")
    return await asyncio.open_connection(where, port, ssl=tls, limit=MAX_FRAME_BYTES)


async def listen(address: str, tls: ssl.SSLContext | None, on_connection: Any) -> asyncio.AbstractServer:
    """Serve the address; a Unix socket is for this user only, and a stale one is replaced.

    Raises
    ------
    SettingsError
        If somebody listens on the Unix socket already, or TLS is asked for without certificates.
    """
    kind, where, port = split_address(address)
    if kind == "unix":
        sock = private_socket(Path(where))
        return await asyncio.start_unix_server(on_connection, sock=sock, limit=MAX_FRAME_BYTES)
    if tls is None:
        raise SettingsError("control_address tls: needs certificates")
    return await asyncio.start_server(on_connection, where, port, ssl=tls, limit=MAX_FRAME_BYTES)
