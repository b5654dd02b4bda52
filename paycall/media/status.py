"""A node's state for people and supervisors: one JSON object over a Unix socket, for this user only.

Rules: counts, ports and identifiers; no caller, no number, nothing that was keyed.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from paycall.domain.errors import LinkError
from paycall.private_socket import private_socket

_TIMEOUT_S = 3.0
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class CellStatus:
    """One cell as its node sees it. ``state`` is starting, ready, draining or gone."""

    cell_id: str
    sip_port: int
    pid: int
    state: str
    calls: int
    served: int
    rss_mb: float
    restarts: int


@dataclass(frozen=True)
class NodeStatus:
    """A node and its cells."""

    node_id: str
    draining: bool
    panel_connected: bool
    cells: tuple[CellStatus, ...]
    address: str = "127.0.0.1"
    trunk: str = ""  # how the registration at the carrier stands; empty: none is asked for

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))


async def serve_status(path: Path, status: Callable[[], NodeStatus]) -> asyncio.AbstractServer:
    """Answer every connection to the socket with the present state.

    Raises
    ------
    SettingsError
        If another node answers there.
    """

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(status().to_json().encode() + b"\n")
        try:
            await writer.drain()
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=private_socket(path))


def read_status(path: Path) -> NodeStatus:
    """Ask a node for its state.

    Raises
    ------
    LinkError
        If no node answers there.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
            end.settimeout(_TIMEOUT_S)
            end.connect(str(path))
            data = b""
            while (part := end.recv(65536)) and len(data) < _MAX_BYTES:
                data += part
        return parse_status(data)
    except (OSError, ValueError):
        raise LinkError("no media node answers at its status socket") from None


def parse_status(said: str | bytes) -> NodeStatus:
    """Read what ``NodeStatus.to_json`` wrote.

    Raises
    ------
    ValueError
        If it is something else.
    """
    try:
        fields = json.loads(said)
        return NodeStatus(**{**fields, "cells": tuple(CellStatus(**cell) for cell in fields["cells"])})
    except (KeyError, TypeError):
        raise ValueError("not a node's status") from None
