"""Releases the phones of a whole node that was killed: a process of its own that waits for the node's end.

Rules: it is forked before the zygote and holds nothing but the dialogs' identifiers, which the node tells it. The
node, its zygote and every cell hold the other end of its socket: it ends when the last of them has, however they
did, and the cells' ports are free by then. What is listed at that moment is released as after a cell's death. It has
a session of its own, so that a signal to the node's group does not reach it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterable

import structlog

from paycall.media.dialogs import Dialog
from paycall.media.pipes import MAX_PACKET, send
from paycall.media.release import release_dialogs, release_late

log = structlog.get_logger(__name__)


def start_guardian(address: str) -> socket.socket:
    """Fork the guardian; gives the node's end of its socket. Call it before anything else is opened or forked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        ours.setblocking(False)
        return ours
    ours.close()
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        _guard(theirs, address)
    finally:
        os._exit(0)


def tell(guardian: socket.socket, port: int, dialogs: Iterable[Dialog]) -> None:
    """Which dialogs the cell at this SIP port has now. One that is lost does no harm: a cell reports every second."""
    send(guardian, json.dumps({"port": port, "dialogs": [each.to_json() for each in dialogs]}).encode())


def _guard(node: socket.socket, address: str) -> None:
    told: dict[int, list[Dialog]] = {}
    while packet := node.recv(MAX_PACKET):
        said = json.loads(packet)
        told[said["port"]] = [Dialog.from_json(each) for each in said["dialogs"]]
    left = {port: dialogs for port, dialogs in told.items() if dialogs}
    if left:
        log.error("node_lost", count=sum(len(dialogs) for dialogs in left.values()))
        asyncio.run(_release_all(left, address))


async def _release_all(left: dict[int, list[Dialog]], address: str) -> None:
    await asyncio.gather(*(_release(dialogs, address, port) for port, dialogs in left.items()))


async def _release(dialogs: list[Dialog], address: str, port: int) -> None:
    try:
        unanswered = await release_dialogs(dialogs, address, port)
    except OSError:  # a node that was started in the meantime has the port
        unanswered = {each.call_id for each in dialogs}
    if unanswered:
        await release_late(dialogs, unanswered, address, port)
