"""Many phones at once, in one process: SIP reduced to what a call needs, RTP from prepared packets.

For benchmarks and soak runs, where a process a phone would cost more than what is measured. Behaviour is tested
with sipp and baresip. As real phones do, each sends at a moment of its own in the 20 ms, the same in every run; and
when a packet came is the kernel's word, however late this process fetches it.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import dsp
from paycall.media.sip_text import parse_message, tag_of, uri_of, user_of
from tests.phones.rtp import FRAME, PCMA

_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
)
_ANSWER_S = 10.0
_SLOTS = 20  # of a millisecond: when in its 20 ms a phone sends
_FETCH_S = 0.01
_SO_TIMESTAMPNS = 35  # Linux's; Python has no name for it


@dataclass
class Leg:
    """One phone's side of a call."""

    index: int
    rtp: socket.socket
    peer: tuple[str, int] | None = None
    call_id: str = ""
    local_tag: str = ""
    remote_tag: str = ""
    target: str = ""
    sip_peer: tuple[str, int] = ("", 0)
    confirmed: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    arrivals: list[float] = field(default_factory=list)
    payloads: list[tuple[int, bytes]] = field(default_factory=list)
    recording: bool = False
    slot: int = 0
    sent: list[float] = field(default_factory=list)  # when each packet of what is being played left

    @property
    def port(self) -> int:
        """Its RTP port."""
        return int(self.rtp.getsockname()[1])


class LoadPhones:
    """``count`` callers and as many agents, on one SIP port each side.

    Parameters
    ----------
    on_ended
        A leg was ended by the other side.
    """

    def __init__(self, count: int, on_ended: Callable[[Leg], None] | None = None) -> None:
        self.callers = [Leg(index, _rtp_socket()) for index in range(count)]
        self.agents = [Leg(index, _rtp_socket()) for index in range(count)]
        chance = random.Random(1)
        for leg in (*self.callers, *self.agents):
            leg.slot = chance.randrange(_SLOTS)
        self._caller_sip, self._agent_sip = _udp(), _udp()
        self._by_call: dict[str, Leg] = {}
        self._on_ended = on_ended
        self._open = True
        self._playing: list[dict[int, tuple[Leg, list[bytes]]]] = [{} for _ in range(_SLOTS)]
        self._lock = threading.Lock()
        self.late_ticks = 0
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._sip, self._send, self._receive)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def agent_uri(self) -> str:
        """Where the node is to dial."""
        return f"sip:agent@127.0.0.1:{self._agent_sip.getsockname()[1]}"

    def close(self) -> None:
        """Stop everything."""
        self._open = False
        for thread in self._threads:
            thread.join()
        for end in (self._caller_sip, self._agent_sip, *(leg.rtp for leg in (*self.callers, *self.agents))):
            end.close()

    # ---- SIP ---------------------------------------------------------------------------------------------

    def invite(self, index: int, target: tuple[str, int]) -> Leg:
        """A new call of this caller; waits for nothing."""
        leg = self.callers[index]
        leg.call_id, leg.local_tag = secrets.token_hex(12), secrets.token_hex(6)
        leg.remote_tag, leg.peer, leg.sip_peer = "", None, target
        leg.target = f"sip:paycall@{target[0]}:{target[1]}"
        for event in (leg.confirmed, leg.over, self.agents[index].confirmed, self.agents[index].over):
            event.clear()
        self._by_call[leg.call_id] = leg
        self._request(leg, "INVITE", 1, _SDP.format(port=leg.port))
        return leg

    def hang_up(self, leg: Leg) -> None:
        """BYE from the caller."""
        self._request(leg, "BYE", 2)

    def _request(self, leg: Leg, method: str, cseq: int, body: str = "") -> None:
        host, port = self._caller_sip.getsockname()
        user = f"c{leg.index}"
        to_tag = f";tag={leg.remote_tag}" if leg.remote_tag else ""
        lines = [
            f"{method} {leg.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)}",
            f"From: <sip:{user}@{host}>;tag={leg.local_tag}",
            f"To: <sip:paycall@{host}>{to_tag}",
            f"Call-ID: {leg.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{user}@{host}:{port}>",
            "Max-Forwards: 70",
        ]
        self._caller_sip.sendto(_message(lines, body), leg.sip_peer)

    def _sip(self) -> None:
        while self._open:
            for end in select.select([self._caller_sip, self._agent_sip], [], [], 0.1)[0]:
                data, source = end.recvfrom(8192)
                text = data.decode("utf-8", "replace")
                if text.startswith("SIP/2.0"):
                    self._answered(text)
                else:
                    self._asked(end, text, source)

    def _answered(self, text: str) -> None:
        message = parse_message(text)
        leg, status = self._by_call.get(message.first("call-id")), int(text[8:11])
        if leg is None or "INVITE" not in message.first("cseq") or status < 200:
            return
        if status < 300:
            leg.remote_tag, leg.target = tag_of(message.first("to")), uri_of(message.first("contact"))
            leg.peer = ("127.0.0.1", _media_port(message.body))
            self._request(leg, "ACK", 1)
            leg.confirmed.set()
        else:
            leg.remote_tag = tag_of(message.first("to"))
            self._request(leg, "ACK", 1)
            leg.over.set()

    def _asked(self, end: socket.socket, text: str, source: tuple[str, int]) -> None:
        message = parse_message(text)
        method, call_id = text.split(" ", 1)[0], message.first("call-id")
        if method == "INVITE":
            index = int(user_of(uri_of(message.first("p-asserted-identity")))[1:])
            leg = self.agents[index]
            leg.call_id, leg.peer = call_id, ("127.0.0.1", _media_port(message.body))
            self._by_call[call_id] = leg
            self._reply(end, message, source, "200 OK", f";tag=a{index}", _SDP.format(port=leg.port))
            leg.confirmed.set()
        elif method in ("BYE", "CANCEL"):
            self._reply(end, message, source, "200 OK", "")
            ended = self._by_call.pop(call_id, None)
            if ended is not None:
                ended.over.set()
                if self._on_ended is not None:
                    self._on_ended(ended)

    @staticmethod
    def _reply(
        end: socket.socket, message: object, source: tuple[str, int], status: str, tag: str, body: str = ""
    ) -> None:
        host, port = end.getsockname()
        lines = [f"SIP/2.0 {status}"]
        for name in ("via", "from", "to", "call-id", "cseq"):
            suffix = tag if name == "to" else ""
            lines += [f"{name}: {value}{suffix}" for value in message.all(name)]  # type: ignore[attr-defined]
        lines.append(f"Contact: <sip:agent@{host}:{port}>")
        end.sendto(_message(lines, body), source)

    # ---- RTP ---------------------------------------------------------------------------------------------

    def play(self, leg: Leg, packets: list[bytes]) -> None:
        """Send the packets, one every 20 ms, over and over, from the leg's next moment on."""
        with self._lock:
            leg.sent = []
            self._playing[leg.slot][leg.port] = (leg, packets)

    def position(self, leg: Leg) -> int:
        """How many packets of its stream the leg has sent."""
        return len(leg.sent)

    def silence(self, leg: Leg) -> None:
        """Stop sending."""
        with self._lock:
            self._playing[leg.slot].pop(leg.port, None)

    def _send(self) -> None:
        tick = time.monotonic()
        while self._open:
            late = False
            for slot, playing in enumerate(self._playing):
                delay = tick + slot * FRAME / 8000 / _SLOTS - time.monotonic()
                if not playing and slot < _SLOTS - 1:
                    continue
                if delay > 0:
                    time.sleep(delay)
                late = late or delay < -FRAME / 8000
                with self._lock:
                    for leg, packets in playing.values():
                        self._send_next(leg, packets)
            tick += FRAME / 8000
            self.late_ticks += late

    @staticmethod
    def _send_next(leg: Leg, packets: list[bytes]) -> None:
        if leg.peer is None:
            return
        number = len(leg.sent)
        head = struct.pack("!BBHII", 0x80, PCMA, number & 0xFFFF, number * FRAME & 0xFFFFFFFF, leg.index + 1)
        with contextlib.suppress(OSError):
            leg.rtp.sendto(head + packets[number % len(packets)], leg.peer)
            leg.sent.append(time.monotonic())

    def _receive(self) -> None:
        poll = select.epoll()
        legs = {leg.rtp.fileno(): leg for leg in (*self.callers, *self.agents)}
        for descriptor in legs:
            poll.register(descriptor, select.EPOLLIN)
        while self._open:
            time.sleep(_FETCH_S)
            boot_s = time.time() - time.monotonic()
            while ready := poll.poll(0):
                for descriptor, _ in ready:
                    with contextlib.suppress(OSError):
                        self._take(legs[descriptor], boot_s)
        poll.close()

    @staticmethod
    def _take(leg: Leg, boot_s: float) -> None:
        data, beside, _, _ = leg.rtp.recvmsg(2048, 64)
        if leg.recording and len(data) >= 12 and data[1] & 0x7F == PCMA:
            seconds, nanoseconds = struct.unpack("qq", beside[0][2])
            leg.arrivals.append(seconds + nanoseconds / 1e9 - boot_s)
            leg.payloads.append((struct.unpack("!I", data[4:8])[0], data[12:]))


def packets_of(pcm: np.ndarray) -> list[bytes]:
    """Sound as A-law payloads of 20 ms."""
    whole = pcm[: pcm.size // FRAME * FRAME]
    data = np.asarray(dsp.encode_alaw(whole), dtype=np.uint8).tobytes()
    return [data[start : start + FRAME] for start in range(0, len(data), FRAME)]


def sound_of(leg: Leg) -> np.ndarray:
    """What a leg recorded, placed by its RTP timestamps."""
    if not leg.payloads:
        return np.zeros(0, dtype=np.int16)
    first = leg.payloads[0][0]
    size = max((ts - first) & 0xFFFFFFFF for ts, _ in leg.payloads) + FRAME
    pcm = np.zeros(size, dtype=np.int16)
    for ts, payload in leg.payloads:
        at = (ts - first) & 0xFFFFFFFF
        pcm[at : at + FRAME] = dsp.decode_alaw(np.frombuffer(payload, dtype=np.uint8))[: size - at]
    return pcm


def _media_port(body: str) -> int:
    return int(body.split("m=audio ", 1)[1].split(" ", 1)[0])


def _message(lines: list[str], body: str) -> bytes:
    if body:
        lines = [*lines, "Content-Type: application/sdp"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def _udp() -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", 0))
    return end


def _rtp_socket() -> socket.socket:
    end = _udp()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    end.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    end.setblocking(False)
    return end
