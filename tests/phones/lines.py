"""Many calls at once, and lightly: callers and the operators' phone by sipp, their keys and sound by hand.

Each caller is a sipp process and a UDP port of ours; one more of both answers for all operators. What a caller keys
goes as RFC 4733 events: a busy machine tears tones, and what is heard is not these tests'.
"""

from __future__ import annotations

import numpy as np

from tests.phones import sipp
from tests.phones.rtp import RtpPort, Stream, free_port

_KEY_S, _PAUSE_S = 0.06, 0.04
_MOST_CALLS, _SECONDS = 500, 1800
_PATIENT = ('timeout="120000"', f'timeout="{_SECONDS}000"')  # a call ends when the test says so


class OperatorsPhone:
    """Answers every call that comes to its port, as a queue with enough people at it does."""

    def __init__(self, port: int, ring_ms: int = 20) -> None:
        self._rtp = RtpPort()
        scenario = sipp.agent(self._rtp.port, ring_ms=ring_ms).replace(*_PATIENT)
        self._sipp = sipp.Sipp(scenario, port, calls=_MOST_CALLS, seconds=_SECONDS)

    @property
    def calls(self) -> int:
        """How many calls it has answered so far."""
        return self._sipp.log().count("rtp ")

    def answered(self, count: int) -> tuple[str, int]:
        """Where the ``count``-th call that was answered wants its sound."""
        return ("127.0.0.1", self._sipp.peer_rtps(count)[-1])

    def key(self, keys: str, to: tuple[str, int]) -> None:
        """Key in the call whose sound goes there."""
        self._rtp.play(_events(self._sipp, keys), to)

    def close(self) -> None:
        """Take it off the hook for good."""
        self._sipp.close()
        self._rtp.close()


class Caller:
    """Who calls from a number; ``operator`` is whom the telephone system has chosen, if it has."""

    def __init__(self, number: str, target: str, operator: str = "") -> None:
        self.number = number
        self._rtp = RtpPort()
        header = f"X-Paycall-Operator: {operator}" if operator else ""
        scenario = sipp.caller(self._rtp.port, number, hold_ms=0, headers=header).replace(*_PATIENT)
        self._sipp = sipp.Sipp(scenario, free_port(), target, seconds=_SECONDS)

    def key(self, keys: str) -> None:
        """Begin to key; what was begun before comes first."""
        self._rtp.wait()
        to = ("127.0.0.1", self._sipp.peer_rtp())
        self._rtp.play(_events(self._sipp, keys), to, wait=False)

    def heard(self) -> np.ndarray:
        """All that the caller has heard so far, 8 kHz."""
        return self._rtp.heard().pcm

    def close(self) -> None:
        """The phone is gone, without a word to anybody if it is in a call."""
        self._sipp.close()
        self._rtp.close()


def _events(phone: sipp.Sipp, keys: str) -> Stream:
    return Stream(event_type=phone.peer_event_type()).silence(0.1).events(keys, _KEY_S, _PAUSE_S)
