"""Whether a thread was held up for so long that who asked it in the meantime has given up.

What came while a process was stopped still lies in its sockets, in the order in which it came, and nothing tells its
age. So the thread notes when it should be seen again; seen much later, it was held up, and for a moment everything it
reads is taken for old. One stop counts; shorter ones are not added up. Times are those of ``time.monotonic``,
in seconds.
"""

from __future__ import annotations

import math

LONGEST_WAIT_S = 0.5
OVERSLEPT_S = 1.4
"""So much later than it should be seen. With the longest wait it is less than the 2 s of silence after which Kamailio
asks the next cell (fr_timer in config/kamailio/common.cfg)."""
BACKLOG_S = 0.3


class HeldUp:
    """Notes of one thread, made by it alone."""

    def __init__(self) -> None:
        self._due_at = math.inf
        self._awake_at = -math.inf

    def seen(self, now: float, wait_s: float = 0.0) -> None:
        """The thread runs now, and is to be seen again ``wait_s`` later at the latest, ``LONGEST_WAIT_S`` at most."""
        if now - self._due_at > OVERSLEPT_S:
            self._awake_at = now
        self._due_at = now + wait_s

    def may_be_old(self, now: float) -> bool:
        """Whether what is read now may have waited for too long. The thread runs now."""
        self.seen(now)
        return now - self._awake_at < BACKLOG_S
