"""Security codes: in one process's locked memory, never anywhere else.

Rules: a code belongs to a token; it goes when the authorization that carries it is answered, when its minutes
are over, when the card number is keyed anew, and with the process. Wiping overwrites the slot. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from paycall.domain.errors import VaultUnavailableError
from paycall.domain.secret import SecurityCode
from paycall.vault.hardening import locked_memory

_SLOT_BYTES = 4
_SLOTS = 1024


@dataclass(frozen=True)
class _Entry:
    slot: int
    length: int
    deadline: float


class SecurityCodes:
    """Up to 1024 codes at a time.

    Parameters
    ----------
    lifetime_s
        How long a code may wait for its authorization, at most 300.
    monotonic
        The clock, in seconds.
    """

    def __init__(self, lifetime_s: float, monotonic: Callable[[], float]) -> None:
        self._lifetime_s = lifetime_s
        self._monotonic = monotonic
        self._memory, self.locked = locked_memory(_SLOT_BYTES * _SLOTS)
        self._free = list(range(_SLOTS))
        self._entries: dict[str, _Entry] = {}
        self._mutex = threading.Lock()

    def put(self, token: str, code: SecurityCode) -> None:
        """Keep a code for this token; an older one of the token is wiped.

        Raises
        ------
        VaultUnavailableError
            If all slots are taken.
        """
        digits = code.expose()
        with self._mutex:
            self._drop(token)
            self._sweep()
            if not self._free:
                raise VaultUnavailableError("too many cards wait for their authorization")
            slot = self._free.pop()
            start = slot * _SLOT_BYTES
            self._memory[start : start + len(digits)] = digits.encode("ascii")
            self._entries[token] = _Entry(slot, len(digits), self._monotonic() + self._lifetime_s)

    def get(self, token: str) -> SecurityCode | None:
        """A copy of the token's code for one call of an adapter, or None. Wipe it after use."""
        with self._mutex:
            self._sweep()
            entry = self._entries.get(token)
            if entry is None:
                return None
            start = entry.slot * _SLOT_BYTES
            return SecurityCode(self._memory[start : start + entry.length].decode("ascii"))

    def seconds_left(self, token: str) -> float | None:
        """How long the token's code still lives, or None if there is none."""
        with self._mutex:
            self._sweep()
            entry = self._entries.get(token)
            return entry.deadline - self._monotonic() if entry else None

    def wipe(self, token: str) -> None:
        """Overwrite the token's code; harmless if there is none."""
        with self._mutex:
            self._drop(token)

    def sweep(self) -> None:
        """Overwrite every code whose minutes are over."""
        with self._mutex:
            self._sweep()

    def close(self) -> None:
        """Overwrite all."""
        with self._mutex:
            for token in tuple(self._entries):
                self._drop(token)

    def _sweep(self) -> None:
        now = self._monotonic()
        for token in [token for token, entry in self._entries.items() if entry.deadline <= now]:
            self._drop(token)

    def _drop(self, token: str) -> None:
        entry = self._entries.pop(token, None)
        if entry is not None:
            start = entry.slot * _SLOT_BYTES
            self._memory[start : start + _SLOT_BYTES] = bytes(_SLOT_BYTES)
            self._free.append(entry.slot)
