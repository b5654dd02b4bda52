"""The legs of a cell's calls as they are on the wire: found by their SIP, decoded by their SDP, searched for keys.

Whose leg one is follows from who called whom: the customer's are those that came in, and those that were dialled to
the trunk; all others lead to operators. What an operator's phone gets is searched in three ways: the sound by two
detectors (ours and spandsp's), RFC 4733 events, and SIP INFO.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

import dsp
from paycall.media.sip_text import SipMessage, parse_message, uri_of
from paycall.media.trunk import from_operators
from paycall.settings import RTP_PORTS_PER_CELL
from tests.phones.rtp import KEYS, PCMA, PCMU
from tests.phones.spandsp import G722Decoder, spandsp_keys
from tests.phones.srtp import SUITES, Srtp

_LOST_SHARE = 0.02  # a cell numbers its packets without a gap, through holds and transfers
_LAST_PACKETS_S = 2.0  # what a cell still sends on a leg that was hung up belongs to it
G722, _COMFORT_NOISE = 9, 13


@dataclass(frozen=True)
class Keys:
    """What was found on one leg."""

    tones: str = field(default="", repr=False)
    tones_by_spandsp: str = field(default="", repr=False)
    events: str = field(default="", repr=False)
    infos: str = field(default="", repr=False)


@dataclass(eq=False)
class Leg:
    """One leg: what the two SDPs say, and what the cell sent. ``fault`` says what could not be read."""

    customers: bool
    cell_port: int
    codecs: dict[int, str] = field(default_factory=lambda: {PCMU: "pcmu", PCMA: "pcma", G722: "g722"})
    answered: bool = False
    fresh: bool = True
    ended_at: float = float("inf")
    fault: str = ""
    packets: list[tuple[tuple[str, int], bytes]] = field(default_factory=list, repr=False)
    infos: dict[int, str] = field(default_factory=dict, repr=False)
    _ciphers: dict[tuple[str, str], Srtp] = field(default_factory=dict, repr=False)
    _encrypted: bool = False

    def told(self, sdp: str, by_cell: bool) -> None:
        """An SDP has come: the cell's gives the key that it sends with, the phone's the numbers of the formats."""
        crypto = re.findall(r"^a=crypto:\d+ (\S+) inline:(\S+)", sdp, re.MULTILINE)
        if by_cell:
            for suite, inline in crypto:
                if (suite, inline) not in self._ciphers and suite in SUITES:
                    self._ciphers[suite, inline] = Srtp(suite, inline)
            return
        self.answered, self._encrypted = True, bool(crypto)
        found = re.findall(r"^a=rtpmap:(\d+) ([^/\s]+)", sdp, re.MULTILINE)
        self.codecs.update({int(number): name.lower() for number, name in found})

    def take(self, to: tuple[str, int], packet: bytes) -> None:
        """RTP from the cell."""
        if len(packet) < 12 or packet[0] >> 6 != 2:
            return
        if self._encrypted:
            read = (cipher.read(packet) for cipher in reversed(self._ciphers.values()))
            packet = next((clear for clear in read if clear is not None), b"")
        if packet:
            self.packets.append((to, packet))
        else:
            self.fault = "SRTP that no key of the SDPs opens"

    def keys(self) -> Keys:
        """All that any detector finds, in everything that the cell sent to this phone."""
        streams: dict[tuple[tuple[str, int], bytes], list[bytes]] = {}
        for to, packet in self.packets:
            streams.setdefault((to, packet[8:12]), []).append(packet)
        found = [self._searched(stream) for stream in streams.values()]
        tones, by_spandsp, events = (
            ("".join(part) for part in zip(*found, strict=True)) if found else ("",) * 3
        )
        return Keys(tones, by_spandsp, events, "".join(self.infos.values()))

    def _searched(self, stream: Sequence[bytes]) -> tuple[str, str, str]:
        pieces, events, last = [np.zeros(0, np.int16)], "", b""
        decoders: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "pcmu": dsp.decode_ulaw,
            "pcma": dsp.decode_alaw,
            "g722": G722Decoder().decode,
        }
        for packet in stream:
            kind, payload = packet[1] & 0x7F, packet[12:]
            name = self.codecs.get(kind, "")
            if name in decoders:
                pieces.append(np.asarray(decoders[name](np.frombuffer(payload, np.uint8)), np.int16))
            elif name == "telephone-event":
                if packet[4:8] != last and payload[0] < len(KEYS):
                    events += KEYS[payload[0]]
                last = packet[4:8]
            elif kind != _COMFORT_NOISE:
                self.fault = f"a format that no SDP names: {kind}"
        numbers = [int.from_bytes(packet[2:4], "big") for packet in stream]
        if sum((then - now - 1) & 0xFFFF for now, then in pairwise(numbers)) > _LOST_SHARE * len(numbers):
            self.fault = "the capture lost packets"
        pcm = np.concatenate(pieces)
        tones = "".join(symbol for symbol, _, _ in dsp.detect(pcm)) if pcm.size else ""
        return tones, spandsp_keys(pcm), events


@dataclass(eq=False)
class Cells:
    """A node's cells: the ports that they have, and which of their calls are the operators'.

    ``trunk`` is where customers are dialled (host:port); ``connected`` counts the calls that the node has told of as
    connected.
    """

    sip: range
    rtp: range
    operator_networks: Sequence[str] = ()
    trunk: str = ""
    connected: Callable[[], int] = int
    closed: bool = False
    _told: int = 0
    _legs: dict[str, Leg] = field(default_factory=dict)
    _by_port: dict[int, Leg] = field(default_factory=dict)

    @classmethod
    def of(cls, settings_file: Path) -> Cells:
        """Those of a media node with these settings."""
        media = tomllib.loads(settings_file.read_text("utf-8"))["media"]
        sip, rtp, cells = int(media["first_sip_port"]), int(media["first_rtp_port"]), int(media["cells"])
        return cls(range(sip, sip + cells), range(rtp, rtp + cells * RTP_PORTS_PER_CELL))

    def take_sip(self, at: float, source: tuple[str, int], to: tuple[str, int], text: str) -> None:
        """A SIP message between a cell and somebody else; all others are passed over."""
        message = parse_message(text)
        call_id = message.first("call-id")
        leg = self._legs.get(call_id) or self._begun(message, source, to)
        if leg is None or not {source[1], to[1]} & {leg.cell_port, *self.sip}:
            return
        self._legs[call_id] = leg
        by_cell = source[1] in self.sip or source[1] == leg.cell_port
        if message.start.startswith("BYE "):
            leg.ended_at = min(leg.ended_at, at)
        if by_cell and message.start.startswith("INFO ") and "dtmf" in message.first("content-type").lower():
            key = re.search(r"signal\s*=\s*(\S+)", message.body, re.IGNORECASE)
            leg.infos[int(message.first("cseq").split()[0])] = key[1] if key else message.body.strip()
        port = re.search(r"^m=audio (\d+)", message.body, re.MULTILINE)
        if port:
            leg.told(message.body, by_cell)
            if by_cell:
                self._by_port[int(port[1])] = leg

    def _begun(self, message: SipMessage, source: tuple[str, int], to: tuple[str, int]) -> Leg | None:
        if not message.start.startswith("INVITE "):
            return None
        # PJSIP sends what is long by TCP, from a port that tells nothing; its Contact does.
        contact = re.search(r":(\d+)", uri_of(message.first("contact")).partition("@")[2])
        if source[1] in self.sip or (contact and int(contact[1]) in self.sip):
            return Leg("{}:{}".format(*to) == self.trunk, source[1])
        return Leg(not from_operators("{}:{}".format(*source), self.operator_networks), to[1])

    def take_rtp(self, at: float, port: int, to: tuple[str, int], packet: bytes) -> None:
        """What a cell sent from one of its RTP ports; RTCP goes from the next one."""
        leg = self._by_port.get(port)
        if leg is not None and not leg.customers and at < leg.ended_at + _LAST_PACKETS_S:
            leg.take(to, packet)

    def agents(self) -> list[Leg]:
        """The legs that lead to operators and were answered, early media included.

        Raises
        ------
        AssertionError
            There were more connected calls since ``forget`` than legs were seen, or something could not be read.
        """
        legs = [leg for leg in self._legs.values() if leg.answered and not leg.customers]
        assert len([leg for leg in legs if leg.fresh]) >= self.connected() - self._told, "a call was not seen"
        return legs

    def forget(self) -> None:
        """What has come so far is not searched again."""
        self._told = self.connected()
        for leg in self._legs.values():
            leg.fresh, leg.packets, leg.infos = False, [], {}
