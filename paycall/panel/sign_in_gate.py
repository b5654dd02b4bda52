"""How fast people whom nobody knows yet may try passwords.

Rules: a password's hash takes memory and time on purpose, so one is worked out at a time, in a thread of its own: a
flood of sign-ins never takes the threads that the others' requests run in. Who has to wait too long is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from paycall.panel.rate_limit import RateLimit, TooManyError

# A shift that begins may come through one address; a hash takes about a tenth of a second.
_BURST, _PER_SECOND = 100, 3
_MOST_WAITING = 30
P = ParamSpec("P")
T = TypeVar("T")


class SignInGate:
    """Lets one sign-in through after the other."""

    def __init__(self) -> None:
        self._limit = RateLimit(burst=_BURST, per_second=_PER_SECOND)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sign-in")
        self._waiting = 0

    async def run(
        self, address: str, now_s: float, work: Callable[P, T], *args: P.args, **more: P.kwargs
    ) -> T:
        """Run ``work`` when it is its turn.

        Raises
        ------
        TooManyError
            If too many wait already, or this address tries too often.
        """
        if self._waiting >= _MOST_WAITING or not self._limit.allows(address, now_s):
            raise TooManyError
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: work(*args, **more))
        finally:
            self._waiting -= 1
