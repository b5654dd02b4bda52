"""RTP by hand: builds streams of G.711 and RFC 4733 packets, sends them on time, records and decodes what comes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import socket
import struct
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import psutil

import dsp

PCMU, PCMA = 0, 8
FRAME = 160
_CODECS = {PCMU: (dsp.encode_ulaw, dsp.decode_ulaw), PCMA: (dsp.encode_alaw, dsp.decode_alaw)}
KEYS = "0123456789*#ABCD"
_SO_TIMESTAMPNS = 35  # socket(7), asm/socket.h; Python has no name for it
# Rows for RTP lie apart, in steps of their own: between single ports there would soon be no room for them.
_PORTS, _ROWS, _ROW = range(12000, 20000), range(20000, 31000), 40
_given: deque[range] = deque()
_MOST_GIVEN = 150  # what was given so long ago is bound by now, or was given up


def free_port(address: str = "127.0.0.1", count: int = 2) -> int:
    """An even port with ``count`` ports from it on that are free for UDP and TCP.

    Below the range that Linux takes the ports of outgoing connections from: one of those would be in the way later.
    None is given twice, neither here nor by another process of the tests: whoever asked may bind it only later.
    """
    while len(_given) >= _MOST_GIVEN:
        _give_up_oldest()
    among, step = (_PORTS, 2) if count < _ROW else (_ROWS, _ROW)
    for tries in range(20_000):
        if tries >= 2000 and _given:
            _give_up_oldest()
        port = random.randrange(among.start, among.stop - count, step)
        if any(row.start < port + count and port < row.stop for row in _given):
            continue
        sockets = []
        try:
            fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, count, port)
            for offset in range(count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    sockets.append(socket.socket(socket.AF_INET, kind))
                    sockets[-1].bind((address, port + offset))
        except OSError:
            fcntl.lockf(_locks(), fcntl.LOCK_UN, count, port)
            continue
        finally:
            for each in sockets:
                each.close()
        _given.append(range(port, port + count))
        return port
    raise AssertionError("no port is free")


def _give_up_oldest() -> None:
    old = _given.popleft()
    fcntl.lockf(_locks(), fcntl.LOCK_UN, len(old), old.start)


def before_others(task: int) -> None:
    """Let a thread, or a process and all that it starts, go before what else the tests run, where that is allowed.

    Sound is heard in time or lost, and a machine that carries calls does nothing else beside them: the other workers'
    tests may take their time. It counts within the tests' session, where stacks and phones are (sched(7), autogroup).
    """
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, task, os.getpriority(os.PRIO_PROCESS, task) - 10)


def all_before_others(pid: int) -> None:
    """The same for every thread of a process that is running already, and of those that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        main = psutil.Process(pid)
        for process in (main, *main.children(recursive=True)):
            for thread in process.threads():
                before_others(thread.id)


@cache
def _locks() -> int:
    """A file of which every process locks the bytes that are its ports; the kernel unlocks them when it ends."""
    path = Path(tempfile.gettempdir()) / f"paycall-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@dataclass
class Stream:
    """Packets with the moments at which they are sent, built up step by step."""

    payload_type: int = PCMA
    event_type: int = 101
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    at_s: float = 0.0
    _seq: int = 1000
    _ts: int = 50000
    _ssrc: int = 1

    def audio(self, pcm: np.ndarray) -> Stream:
        """Add sound, 20 ms a packet."""
        encode = _CODECS[self.payload_type][0]
        padded = np.concatenate([pcm, np.zeros(-pcm.size % FRAME, dtype=np.int16)])
        for start in range(0, padded.size, FRAME):
            data = encode(padded[start : start + FRAME])
            self._add(self.payload_type, self._ts, bytes(np.asarray(data, dtype=np.uint8)))
            self._ts += FRAME
            self.at_s += 0.02
        return self

    def silence(self, seconds: float) -> Stream:
        """Add silence."""
        return self.audio(np.zeros(int(seconds * 8000), dtype=np.int16))

    def keys(self, keys: str, on_s: float = 0.1, off_s: float = 0.1, level_dbm0: float = -10.0) -> Stream:
        """Add keys as tones."""
        for key in keys:
            self.audio(dsp.dtmf_tone(key, on_s, level_dbm0)).silence(off_s)
        return self

    def events(
        self, keys: str, on_s: float = 0.1, off_s: float = 0.1, *, ends: int = 3, remnant_s: float = 0.0
    ) -> Stream:
        """Add keys as RFC 4733 events; ``remnant_s`` of in-band tone goes before each, as bad gateways do."""
        for key in keys:
            if remnant_s:
                self.audio(dsp.dtmf_tone(key, remnant_s, -10.0))
            self.event(key, on_s, ends=ends)
            self.silence(off_s)
        return self

    def event(self, key: str, on_s: float, *, ends: int = 3, segment_at: int = 0) -> Stream:
        """One event: an update every 20 ms, then ``ends`` copies of the last packet with the end bit."""
        start_ts, duration = self._ts, 0
        for step in range(round(on_s / 0.02)):
            duration += FRAME
            if duration > 0xFFFF:
                start_ts, duration = start_ts + 0xFFFF, duration - 0xFFFF
            self._add(self.event_type, start_ts, self._event(key, duration, end=False), marker=step == 0)
            self.at_s += 0.02
        for _ in range(ends):
            self._add(self.event_type, start_ts, self._event(key, duration, end=True))
        self._ts += round(on_s * 8000)
        return self

    @staticmethod
    def _event(key: str, duration: int, *, end: bool) -> bytes:
        return struct.pack("!BBH", KEYS.index(key), (0x80 if end else 0) | 10, duration)

    def _add(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool = False) -> None:
        head = struct.pack(
            "!BBHII",
            0x80,
            payload_type | (0x80 if marker else 0),
            self._seq & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            self._ssrc,
        )
        self._seq += 1
        self.packets.append((self.at_s, head + payload))

    def lossy(self, share: float, seed: int = 1) -> Stream:
        """Lose packets."""
        chance = random.Random(seed)
        self.packets = [packet for packet in self.packets if chance.random() >= share]
        return self

    def stalled(self, every_s: float, stall_s: float) -> Stream:
        """Hold packets back for ``stall_s`` once every ``every_s``: they then come in one burst."""
        held = []
        for at, data in self.packets:
            into = at % every_s
            held.append((at - into + stall_s if into < stall_s else at, data))
        self.packets = held
        return self


class RtpPort:
    """A UDP port that records what comes and can play a stream."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = free_port(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, self.port))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.received: list[tuple[float, bytes]] = []
        self._open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._player: threading.Thread | None = None
        self.playing_since = 0.0
        self._ssrc = random.getrandbits(32)
        self._next_seq = random.randrange(1, 20000)
        self._clock = time.monotonic()

    def _read(self) -> None:
        while self._open:
            if select.select([self._socket], [], [], 0.1)[0]:
                try:
                    data, marks, _, _ = self._socket.recvmsg(2048, 100)
                except OSError:
                    continue
                # When it came, not when this thread got round to it: then nobody's gaps are our own.
                seconds, ns = struct.unpack("qq", marks[0][2])
                waited_s = max(time.time_ns() - (seconds * 1_000_000_000 + ns), 0) / 1e9
                self.received.append((time.monotonic() - waited_s, data))

    def play(self, stream: Stream, to: tuple[str, int], *, wait: bool = True) -> None:
        """Send a stream on time. Streams that are played one after the other are one RTP stream."""
        self._player = threading.Thread(target=self._play, args=(stream, to), daemon=True)
        self.playing_since = time.monotonic()
        self._player.start()
        if wait:
            self._player.join()

    def wait(self) -> None:
        """Until the stream that is being played is over."""
        if self._player is not None:
            self._player.join()

    def _play(self, stream: Stream, to: tuple[str, int]) -> None:
        if not stream.packets:
            return
        before_others(threading.get_native_id())
        first_seq, first_ts = struct.unpack("!HI", stream.packets[0][1][2:8])
        shift_ts = round((self.playing_since - self._clock) * 50) * FRAME - first_ts
        shift_seq, last_seq = self._next_seq - first_seq, 0
        for at_s, data in stream.packets:
            delay = self.playing_since + at_s - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            if not self._open:
                return
            seq, ts = struct.unpack("!HI", data[2:8])
            last_seq = (seq + shift_seq) & 0xFFFF
            head = struct.pack("!HII", last_seq, (ts + shift_ts) & 0xFFFFFFFF, self._ssrc)
            self._socket.sendto(data[:2] + head + data[12:], to)
        self._next_seq = last_seq + 1

    def close(self) -> None:
        """Stop everything."""
        self._open = False
        self._reader.join()
        if self._player is not None:
            self._player.join()
        self._socket.close()

    def heard(self, since: float = 0.0) -> Heard:
        """What has come since a moment of the monotonic clock."""
        return decode([(at, data) for at, data in self.received if at >= since])


@dataclass
class Heard:
    """One direction of a leg, decoded."""

    pcm: np.ndarray
    events: list[str] = field(repr=False)
    packets: int = 0
    first_at: float = 0.0
    largest_gap_s: float = 0.0

    def recovered(self) -> str:
        """Keys that a detector recovers."""
        return "".join(symbol for symbol, _, _ in dsp.detect(self.pcm)) if self.pcm.size else ""


def decode(packets: list[tuple[float, bytes]], event_types: tuple[int, ...] = (96, 101, 102, 120)) -> Heard:
    """Decode RTP packets (arrival moment, bytes) by their timestamps; lost ones are silence."""
    audio: list[tuple[int, np.ndarray]] = []
    events: list[tuple[int, int]] = []
    arrivals = []
    for at, data in packets:
        if len(data) < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
            continue
        payload_type, timestamp = data[1] & 0x7F, struct.unpack("!I", data[4:8])[0]
        if payload_type in _CODECS:
            pcm = _CODECS[payload_type][1](np.frombuffer(data[12:], dtype=np.uint8))
            audio.append((timestamp, np.asarray(pcm, dtype=np.int16)))
            arrivals.append(at)
        elif payload_type in event_types and (not events or events[-1][0] != timestamp):
            events.append((timestamp, data[12]))
    if not audio:
        return Heard(np.zeros(0, dtype=np.int16), [KEYS[e] for _, e in events], len(packets))
    first = audio[0][0]
    length = max((ts - first) & 0xFFFFFFFF for ts, _ in audio if (ts - first) & 0xFFFFFFFF < 2**31) + FRAME
    pcm = np.zeros(length, dtype=np.int16)
    for timestamp, block in audio:
        start = (timestamp - first) & 0xFFFFFFFF
        if start < length:
            pcm[start : start + block.size] = block[: length - start]
    gaps = np.diff(arrivals)
    return Heard(
        pcm,
        [KEYS[event] for _, event in events if event < 16],
        len(audio),
        arrivals[0],
        float(gaps.max()) if gaps.size else 0.0,
    )
