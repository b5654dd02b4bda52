"""What goes to the operators' phones, on the wire: one tshark on the loopback interface for a whole run of tests.

It starts with the first node, if ``tapped`` is on, and writes into a pipe: nothing lies on the disk, and of what it
sees only the SIP and the agent legs of this process's own nodes are kept, until they were searched.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.phones.legs import Cells, Keys

# All that cells send, and all SIP; not what phones send to cells (free_port and paycall.demo.stack choose the ports).
# Port 9 discards: what is sent there marks a place in the capture.
_DISCARD = 9
_SIP_PORTS, _RTP_PORTS = "portrange 10000-31999", "dst portrange 20000-31999"
# By TCP only what begins as these requests and as responses do; a message is one segment here.
_SIP = " or ".join(
    f"tcp[(tcp[12] >> 4) * 4 : 4] = 0x{word.hex()}" for word in (b"INVI", b"INFO", b"BYE ", b"SIP/")
)
_FILTER = (
    f"(udp dst port {_DISCARD}) or (udp {_SIP_PORTS} and not {_RTP_PORTS}) or (tcp {_SIP_PORTS} and ({_SIP}))"
)
_BUFFER_MB = "16"
_AGAIN_S, _PATIENCE_S = 1.0, 40.0


class Tap:
    """A running tshark."""

    def __init__(self) -> None:
        command = ["tshark", "-i", "lo", "-B", _BUFFER_MB, "-f", _FILTER, "-w", "-", "-F", "pcap", "-q"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._watched: list[Cells] = []
        self._lock = threading.Lock()
        self._mark, self._marked = b"", threading.Event()
        self._runs = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        order = "<" if _exactly(pipe, 24)[:4] == b"\xd4\xc3\xb2\xa1" else ">"
        while head := _exactly(pipe, 16):
            seconds, microseconds, length, _ = struct.unpack(order + "IIII", head)
            self._take(seconds + microseconds / 1e6, _exactly(pipe, length)[14:])

    def _take(self, at: float, ip: bytes) -> None:
        is_udp, body = ip[9] == socket.IPPROTO_UDP, ip[(ip[0] & 0x0F) * 4 :]
        source_port, port = struct.unpack("!HH", body[:4])
        payload = body[8 if is_udp else (body[12] >> 4) * 4 :]
        if port == _DISCARD:
            if payload == self._mark:
                self._marked.set()
            return
        source, to = (socket.inet_ntoa(ip[12:16]), source_port), (socket.inet_ntoa(ip[16:20]), port)
        with self._lock:
            for cells in self._watched:
                if is_udp and source_port in cells.rtp:
                    cells.take_rtp(at, source_port, to, payload)
                elif not is_udp or source_port in cells.sip or port in cells.sip:
                    cells.take_sip(at, source, to, payload.decode("utf-8", "replace"))

    def watch(self, cells: Cells) -> None:
        """Keep what goes to the phones of these cells' operators, until they are ``closed``."""
        with self._lock:
            self._watched.append(cells)

    def await_start(self) -> None:
        """Until nothing that is sent is missed."""
        if not self._runs:
            self._catch_up()
            self._runs = True

    def _catch_up(self) -> None:
        """Wait until all that has been sent is here."""
        self._marked.clear()
        self._mark = os.urandom(16)
        end = time.monotonic() + _PATIENCE_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mark:
            while time.monotonic() < end:
                mark.sendto(self._mark, ("127.0.0.1", _DISCARD))
                if self._marked.wait(_AGAIN_S):
                    return
        raise AssertionError("tshark does not see what is sent")

    def search(self) -> list[Keys]:
        """What was sent to each operator's phone since ``forget``; those that got nothing are left out."""
        if not self._watched:
            return []
        self._catch_up()
        with self._lock:
            legs = [leg for cells in self._watched for leg in cells.agents() if leg.packets or leg.infos]
            found = [leg.keys() for leg in legs]
        assert not (faults := {leg.fault for leg in legs} - {""}), faults
        return found

    def forget(self) -> None:
        """What has come so far is not searched again, and nodes that are gone are not watched any more."""
        with self._lock:
            self._watched = [cells for cells in self._watched if not cells.closed]
            for cells in self._watched:
                cells.forget()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    return data if len(data) == count else b""


_taps: list[Tap] = []  # the one of this process, if one runs
_tapped: list[bool] = []


@contextmanager
def tapped() -> Iterator[None]:
    """Within this context each node's operators' legs are captured."""
    _tapped.append(True)
    try:
        yield
    finally:
        _tapped.clear()
        for tap in _taps:
            tap.close()
        _taps.clear()


def watch(cells: Cells) -> None:
    """Have the operators' legs of a node captured, where that is wished."""
    if _tapped and not _taps:
        _taps.append(Tap())
    for tap in _taps:
        tap.watch(cells)


def await_start() -> None:
    """Call it before the node's first call."""
    for tap in _taps:
        tap.await_start()


@contextmanager
def watched(settings_file: Path) -> Iterator[None]:
    """Have the operators' legs of a running node with these settings captured, before its first call."""
    cells = Cells.of(settings_file)
    watch(cells)
    await_start()
    try:
        yield
    finally:
        cells.closed = True


def search() -> list[Keys]:
    """What is found on each leg to an operator since ``forget``."""
    return [keys for tap in _taps for keys in tap.search()]


def forget() -> None:
    """The next search begins here."""
    for tap in _taps:
        tap.forget()


def assert_keys(found: Sequence[Keys], tones: str = "", events: str = "", infos: str = "") -> None:
    """The operators' phones got exactly the keys that these patterns describe: none, where nothing is said."""
    for name, pattern in (
        ("tones", tones),
        ("tones_by_spandsp", tones),
        ("events", events),
        ("infos", infos),
    ):
        keys = "".join(getattr(leg, name) for leg in found)
        assert re.fullmatch(pattern, keys), f"{name} on an operator's leg: {keys!r}; expected {pattern!r}"
