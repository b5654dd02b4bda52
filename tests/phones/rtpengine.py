"""Debian's rtpengine on loopback, as a peer to measure against: its control protocol, and a call that masks keys."""

from __future__ import annotations

import secrets
import socket
import subprocess
import tempfile
import time
from typing import Any

from tests.phones.rtp import free_port

_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)  # no telephone-event: with it rtpengine leaves the tones in the audio alone


class Rtpengine:
    """One rtpengine process."""

    def __init__(self) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="rtpengine-")
        self._ng = free_port()
        first = free_port(count=2)
        command = ["rtpengine", "--foreground", "--table=-1", "--interface=127.0.0.1"]
        command += [f"--listen-ng=127.0.0.1:{self._ng}", f"--port-min={first % 20000 + 10000}"]
        command += [
            f"--port-max={first % 20000 + 14000}",
            "--media-num-threads=2",
            "--log-level=3",
            "--log-stderr",
        ]
        self.process = subprocess.Popen(
            command, cwd=self._dir.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(1.0)
        for _ in range(50):
            try:
                if self._ask({"command": "ping"}).get("result") == "pong":
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("rtpengine does not answer")

    def call(self, caller_port: int, agent_port: int, delay_buffer_ms: int) -> tuple[int, int]:
        """A call between two ports, masked: gives the ports that caller and agent send to."""
        ids = {"call-id": secrets.token_hex(8), "from-tag": "f"}
        options: dict[str, Any] = {
            "ICE": "remove",
            "DTMF-security": "silence",
            "delay-buffer": delay_buffer_ms,
            "flags": ["detect DTMF", "always transcode"],
        }
        offer = self._ask({"command": "offer", **ids, "sdp": _SDP.format(port=caller_port), **options})
        both = {**ids, "to-tag": "t"}
        answer = self._ask({"command": "answer", **both, "sdp": _SDP.format(port=agent_port), **options})
        block = {"DTMF-security": "silence", "delay-buffer": delay_buffer_ms, "flags": ["all"]}
        blocked = self._ask({"command": "block DTMF", **ids, **block})
        for said in (offer, answer, blocked):
            assert said.get("result") == "ok", said
        return _port(answer["sdp"]), _port(offer["sdp"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        cookie = secrets.token_hex(4).encode()
        self._socket.sendto(cookie + b" " + _bencode(request), ("127.0.0.1", self._ng))
        data = self._socket.recv(16384)
        return dict(_bdecode(data.partition(b" ")[2], 0)[0])

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(5)
        self._socket.close()
        self._dir.cleanup()


def _port(sdp: str) -> int:
    return int(sdp.split("m=audio ", 1)[1].split(" ", 1)[0])


def _bencode(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"d" + b"".join(_bencode(k) + _bencode(v) for k, v in sorted(value.items())) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(_bencode(v) for v in value) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    data = str(value).encode()
    return b"%d:%s" % (len(data), data)


def _bdecode(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = _bdecode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    length = int(data[at:colon])
    return data[colon + 1 : colon + 1 + length].decode("utf-8", "replace"), colon + 1 + length
