"""One key press, counted once, however many ways it comes: in the audio, as RTP events, as SIP INFO.

Rules: pure, times are arguments (seconds of one monotonic clock). Two reports of the same key from *different*
ways that lie close together are one press; two reports from the *same* way are always two presses, so that two
fast presses of one key count twice. Keys are card data: nothing here has a repr that shows one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

KEYS = "0123456789*#ABCD"
# How far apart two ways may report one press: PJSIP's jitter buffer holds sound back for up to 0.5 s, and events not
# at all; a gateway has its own delay; INFO also travels by SIP.
AUDIO_SLACK_S = 0.6
INFO_SLACK_S = 1.0
_MEMORY_S = 15.0
_MAX_EVENT_MS = 8000  # an RTP event's 16-bit duration is full after 8.19 s at 8 kHz; a new segment follows
_GAP_MS = 30


class Way(Enum):
    """How a key press reached us."""

    AUDIO = "audio"
    RTP_EVENT = "rtp-event"
    INFO = "info"


@dataclass
class _Press:
    key: str = field(repr=False)
    start_s: float = 0.0
    end_s: float = 0.0
    ways: set[Way] = field(default_factory=set)


class KeyMerger:
    """Joins the reports of one caller's key presses."""

    def __init__(self) -> None:
        self._presses: deque[_Press] = deque()

    def report(self, way: Way, key: str, start_s: float, end_s: float) -> bool:
        """Take a report; True if it is a press that was not counted before."""
        while self._presses and self._presses[0].end_s < end_s - _MEMORY_S:
            self._presses.popleft()
        for press in self._presses:
            if (
                press.key == key
                and way not in press.ways
                and _gap_s(press, start_s, end_s) <= _slack_s(press, way)
            ):
                press.ways.add(way)
                press.start_s, press.end_s = min(press.start_s, start_s), max(press.end_s, end_s)
                return False
        self._presses.append(_Press(key, start_s, end_s, {way}))
        return True

    def still_down(self, way: Way, key: str, now_s: float) -> None:
        """The key that this way reported last is still pressed."""
        for press in reversed(self._presses):
            if press.key == key and way in press.ways:
                press.end_s = max(press.end_s, now_s)
                return


def _gap_s(press: _Press, start_s: float, end_s: float) -> float:
    return max(start_s - press.end_s, press.start_s - end_s, 0.0)


def _slack_s(press: _Press, way: Way) -> float:
    return INFO_SLACK_S if way is Way.INFO or Way.INFO in press.ways else AUDIO_SLACK_S


class RtpEventTracker:
    """Tells presses apart in the reports that PJSIP gives for RFC 4733 packets.

    A press is known by its RTP timestamp. PJSIP goes by the duration alone: it takes the later half of a second
    press of the same key, whose first packets were lost, for the first one, and a segment of a long press (RFC
    4733, 2.5.1.3) for a new one. Retransmitted ends and updates are no presses.
    """

    def __init__(self) -> None:
        self._key = ""
        self._timestamp_ms = 0
        self._duration_ms = 0
        self._ended = True

    def report(self, key: str, timestamp_ms: int, duration_ms: int, *, update: bool, ended: bool) -> bool:
        """Take a report; True if it is the first of a press."""
        silent_ms = timestamp_ms - (self._timestamp_ms + self._duration_ms)
        if key != self._key:
            new = True
        elif timestamp_ms == self._timestamp_ms:
            new = not update and self._ended and duration_ms < self._duration_ms
        elif self._ended:
            new = not update or silent_ms >= 0
        elif self._duration_ms >= _MAX_EVENT_MS and abs(silent_ms) <= 2 * _GAP_MS:
            new = False  # the next segment of a long press
        else:
            new = not update or silent_ms >= _GAP_MS
        self._key, self._timestamp_ms, self._duration_ms = key, timestamp_ms, duration_ms
        self._ended = ended
        return new
