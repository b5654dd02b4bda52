"""How much one address may send: so many at once, then so many a second. Kept in memory, bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from paycall.domain.errors import NotAllowedError

_MOST_ADDRESSES = 1000


class TooManyError(NotAllowedError):
    """More than one sender may send."""

    code = "too-many-requests"
    text = "wait a moment and send it again"
    http_status = 429


@dataclass
class RateLimit:
    """A bucket for each address; ``burst`` requests fit, ``per_second`` flow out."""

    burst: float
    per_second: float
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, address: str, now_s: float) -> bool:
        """Count a request; whether it may pass. ``now_s`` is of a clock that only grows."""
        filled, at_s = self._buckets.pop(address, (0.0, now_s))
        filled = max(0.0, filled - (now_s - at_s) * self.per_second)
        passes = filled + 1 <= self.burst
        self._buckets[address] = (filled + 1 if passes else filled, now_s)
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return passes
