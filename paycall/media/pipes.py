"""What a cell and its node say to each other over their socket pair: one JSON object a packet.

Rules: a cell's packet is its whole state (``CellReport``), so a lost one does no harm; it is sent when a
dialog changes and every ``BEAT_S`` as a sign of life, by the SIP thread. It carries SIP identifiers, no card
data. A node that is gone closes the socket; the cell then hangs up and ends.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass, field

from paycall.media.dialogs import Dialog

BEAT_S = 1.0
MAX_PACKET = 64 * 1024
STOP = b'"stop"'
DRAIN = b'"drain"'


@dataclass(frozen=True)
class CellReport:
    """A cell's state. ``dialogs`` by call; ``counts`` as ``counts.Counts`` keeps them, from the cell's beginning.

    ``trunk`` says how the cell's registration stands; empty where it has none.
    """

    ready: bool = False
    draining: bool = False
    served: int = 0
    rss_mb: float = 0.0
    dialogs: dict[str, tuple[Dialog, ...]] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    pss_mb: float = 0.0
    trunk: str = ""

    def encode(self) -> bytes:
        """As a packet."""
        calls = {call: [dialog.to_json() for dialog in legs] for call, legs in self.dialogs.items()}
        return json.dumps(
            {
                "ready": self.ready,
                "draining": self.draining,
                "served": self.served,
                "rss_mb": self.rss_mb,
                "dialogs": calls,
                "counts": self.counts,
                "pss_mb": self.pss_mb,
                "trunk": self.trunk,
            }
        ).encode()

    @classmethod
    def decode(cls, packet: bytes) -> CellReport:
        """From a packet of ``encode``."""
        data = json.loads(packet)
        calls = {
            call: tuple(Dialog.from_json(dialog) for dialog in legs) for call, legs in data["dialogs"].items()
        }
        return cls(**{**data, "dialogs": calls})


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair that keeps packets apart; neither end blocks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


def send(end: socket.socket, packet: bytes) -> None:
    """Send, or drop: the next report says it all again."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionError):
        end.send(packet)
