"""Releases the phones of a whole node that was killed: a process of its own that waits for the node's end.

Rules: it is forked before the zygote and holds nothing but the dialogs' identifiers, which the node tells it. The
node, its zygote and every cell hold the other end of its socket: it ends when the last of them has, however they
did, and the cells' ports are free by then. What is listed at that moment is released as after a cell's death. It has
a session of its own, so that a signal to the node's group does not reach it. What it knows lies in a file as well:
where everything is killed at once, as with a container, the next node releases those phones before its cells start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

import structlog

from paycall import startup
from paycall.media.dialogs import Dialog
from paycall.media.pipes import MAX_PACKET, send
from paycall.media.release import release_dialogs, release_late

log = structlog.get_logger(__name__)


def start_guardian(address: str, journal: Path) -> socket.socket:
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
    startup.done()
    try:
        _guard(theirs, address, journal)
    finally:
        os._exit(0)


def tell(guardian: socket.socket, port: int, dialogs: Iterable[Dialog]) -> None:
    """Which dialogs the cell at this SIP port has now. One that is lost does no harm: a cell reports every second."""
    send(guardian, json.dumps({"port": port, "dialogs": [each.to_json() for each in dialogs]}).encode())


def take_journal(journal: Path) -> dict[int, list[Dialog]]:
    """What a former node and its guardian left behind: dialogs by SIP port. Only for whoever has the node's place."""
    try:
        told = json.loads(journal.read_text("utf-8"))
        journal.unlink()
        left = {int(port): [Dialog.from_json(each) for each in dialogs] for port, dialogs in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.error("guardian_journal_not_read", error=type(error).__name__)
        return {}
    log.error("node_lost", count=sum(len(dialogs) for dialogs in left.values()))
    return left


def _guard(node: socket.socket, address: str, journal: Path) -> None:
    told: dict[int, list[Dialog]] = {}
    while packet := node.recv(MAX_PACKET):
        said = json.loads(packet)
        dialogs = [Dialog.from_json(each) for each in said["dialogs"]]
        if dialogs != told.get(said["port"], []):
            told[said["port"]] = dialogs
            _write(journal, told)
    left = {port: dialogs for port, dialogs in told.items() if dialogs}
    if left:
        log.error("node_lost", count=sum(len(dialogs) for dialogs in left.values()))
        journal.unlink(missing_ok=True)  # a node that is started now is not to do it as well
        asyncio.run(_release_all(left, address))


def _write(journal: Path, told: dict[int, list[Dialog]]) -> None:
    """Replace the journal; without any dialog there is none."""
    left = {port: [each.to_json() for each in dialogs] for port, dialogs in told.items() if dialogs}
    try:
        if not left:
            journal.unlink(missing_ok=True)
            return
        new = journal.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(left, file)
        new.replace(journal)
    except OSError as error:
        log.error("guardian_journal_not_written", error=type(error).__name__)


async def _release_all(left: dict[int, list[Dialog]], address: str) -> None:
    await asyncio.gather(*(_release(dialogs, address, port) for port, dialogs in left.items()))


async def _release(dialogs: list[Dialog], address: str, port: int) -> None:
    try:
        unanswered = await release_dialogs(dialogs, address, port)
    except OSError:  # a node that was started in the meantime has the port
        unanswered = {each.call_id for each in dialogs}
    if unanswered:
        await release_late(dialogs, unanswered, address, port)
