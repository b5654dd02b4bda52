"""What every key provider offers.

Rules: a key-encrypting key never leaves its provider; what goes in and out is a wrapped data key. Exactly one
version is *active* and encrypts; every other is *retired* and only decrypts, until it is destroyed. ``context``
is authenticated with the data key: a wrapped key moved elsewhere, or wrapped by another version, is refused.
Calls may block (a network, a device), so they are made from worker threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

KEY_BYTES = 32


@dataclass(frozen=True)
class KeyVersion:
    """One version of the key-encrypting key, without its material.

    Attributes
    ----------
    active
        Whether it encrypts; the others only decrypt.
    created_at
        When it was made, with its zone.
    """

    version: int
    active: bool
    created_at: datetime


@dataclass(frozen=True)
class WrappedKey:
    """A data key as it may be stored, and the version that wrapped it."""

    version: int
    blob: bytes = field(repr=False)


class KeyProvider(Protocol):
    """A keeper of key-encrypting keys.

    Every method raises ``VaultUnavailableError`` if the provider can't be reached.
    """

    name: str

    def versions(self) -> tuple[KeyVersion, ...]:
        """All versions that still decrypt, oldest first."""

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key under the active version."""

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The data key again.

        Raises
        ------
        TamperedError
            If it fails its authentication, or the version does not exist.
        """

    def rotate(self) -> int:
        """Make a new active version and retire the one before; gives the new version's number."""

    def destroy(self, version: int) -> None:
        """Remove a retired version for good.

        Raises
        ------
        StateError
            If it is the active one.
        NotFoundError
            If there is no such version.
        """

    def close(self) -> None:
        """Release sessions and connections."""
