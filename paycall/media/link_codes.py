"""Link codes: ``*9`` and four digits that an operator keys on the phone, to say who has the call.

Rules: pure, times are arguments (seconds of the monotonic clock). A code comes from the panel, is good for a while
and once; of a code that was keyed only its name goes back. Keys are held back from the first ``*`` on and are the
caller's after all when they turn out to be no link code.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

PREFIX = "*9"
CODE_LENGTH = 4
KEY_PAUSE_S = 4.0  # so long may the next key take; then what was held back is passed on
LATE_S = (
    20.0  # a code that is keyed too late is no code any more, but still nothing that the caller should hear
)


@dataclass(frozen=True)
class _Expected:
    code: str = field(repr=False)
    until_s: float


class LinkCodes:
    """The codes that are good now, of all operators of the site. One for each cell."""

    def __init__(self) -> None:
        self._expected: dict[str, _Expected] = {}

    def expect(self, link_id: str, code: str, until_s: float) -> None:
        """Wait for this code until then."""
        self._expected[link_id] = _Expected(code, until_s)

    def forget(self, link_id: str) -> None:
        """It was used, or replaced."""
        self._expected.pop(link_id, None)

    def any(self, now_s: float) -> bool:
        """Whether any code is waited for, or was a moment ago."""
        self._expected = {
            name: each for name, each in self._expected.items() if each.until_s + LATE_S > now_s
        }
        return bool(self._expected)

    def match(self, code: str, now_s: float) -> str | None:
        """The name of this code, which is then good no more; None if it is not one."""
        for name, each in self._expected.items():
            if each.until_s > now_s and hmac.compare_digest(each.code, code):
                self._expected[name] = _Expected(each.code, now_s)
                return name
        return None


@dataclass(frozen=True)
class Taken:
    """What becomes of a key: ``pass_on`` is for the caller now, ``code`` was keyed in full."""

    pass_on: str = field(default="", repr=False)
    code: str | None = field(default=None, repr=False)


class LinkCodeKeys:
    """Finds link codes in what is keyed on one agent leg."""

    def __init__(self) -> None:
        self._held: list[tuple[str, bool]] = []
        self._last_s = 0.0

    def key(self, key: str, now_s: float, *, heard: bool) -> Taken:
        """A key. ``heard``: it was in the audio, so the caller has it already and it is never passed on."""
        before = self.late(now_s)
        self._last_s = now_s
        self._held.append((key, heard))
        keyed = "".join(each for each, _ in self._held)
        if len(keyed) == len(PREFIX) + CODE_LENGTH and self._fits(keyed):
            self._held = []
            return Taken(before, keyed.removeprefix(PREFIX))
        if self._fits(keyed):
            return Taken(before)
        # No link code; but this key may begin one.
        last = self._held.pop()
        before += self._release()
        self._held = [last]
        return Taken(before) if self._fits(key) else Taken(before + self._release())

    def late(self, now_s: float) -> str:
        """What was held back for a key that has not come in time."""
        return self._release() if self._held and now_s - self._last_s > KEY_PAUSE_S else ""

    @property
    def holding(self) -> bool:
        """Whether a key is held back."""
        return bool(self._held)

    def _release(self) -> str:
        held, self._held = self._held, []
        return "".join(key for key, heard in held if not heard)

    @staticmethod
    def _fits(keyed: str) -> bool:
        """Whether it is a link code so far."""
        head, digits = keyed[: len(PREFIX)], keyed[len(PREFIX) :]
        return PREFIX.startswith(head) and (not digits or digits.isdecimal())
