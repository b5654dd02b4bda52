"""Keys that are passed on to the agent's phone, one at a time.

Rules: PJSIP keeps events that are to be sent in a queue that cannot be emptied, and a quick thumb fills it. So they
wait here, and when a capture begins what still waits is forgotten. Everything runs in the SIP thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from paycall.media.endpoint import SipEndpoint

# PJMEDIA sends each event for 200 ms (PJMEDIA_DTMF_DURATION), the last packet of it three times, 20 ms apart.
EVENT_S = 0.26


class PassedKeys:
    """One call's keys on their way to the agent."""

    def __init__(self, endpoint: SipEndpoint, press: Callable[[str], None]) -> None:
        self._endpoint = endpoint
        self._press = press
        self._waiting: deque[str] = deque()
        self._free_at = 0.0

    def put(self, key: str) -> None:
        """Pass this one on, after those before it."""
        self._waiting.append(key)
        if len(self._waiting) == 1:
            self._endpoint.call_later(self.busy_s, self._next)

    def forget(self) -> None:
        """Those that wait are not passed on."""
        self._waiting.clear()

    @property
    def busy_s(self) -> float:
        """How long the one on its way still sounds."""
        return max(0.0, self._free_at - time.monotonic())

    def _next(self) -> None:
        if not self._waiting:
            return
        if self.busy_s == 0.0:
            self._free_at = time.monotonic() + EVENT_S
            self._press(self._waiting.popleft())
        if self._waiting:
            self._endpoint.call_later(self.busy_s, self._next)
