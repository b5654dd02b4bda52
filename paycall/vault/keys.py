"""Data keys: one a card, made here, wrapped by the provider's key-encrypting key, used once and forgotten.

Rules: every write of a card makes a new data key, so no key encrypts a field twice; a wrapped key is bound to
the site, to what it is for (a token, or the name of a key of the vault's own) and to the version that wrapped it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from paycall.domain.errors import SettingsError
from paycall.settings import VaultSettings
from paycall.vault import crypto
from paycall.vault.providers.base import KEY_BYTES, KeyProvider, WrappedKey
from paycall.vault.providers.file import FileKeys, create_key_file

__all__ = ["DataKey", "KeyRing", "create_key_file", "open_provider"]


@dataclass(frozen=True)
class DataKey:
    """A data key in the clear, for the length of one operation, and its wrapped form."""

    key: bytes = field(repr=False)
    wrapped: WrappedKey = field(repr=False)


class KeyRing:
    """Makes and opens data keys for one site."""

    def __init__(self, provider: KeyProvider, site: str) -> None:
        self.provider = provider
        self._site = site

    def new(self, purpose: str) -> DataKey:
        """A fresh data key under the active version, for this purpose only."""
        key = secrets.token_bytes(KEY_BYTES)
        return DataKey(key, self.provider.wrap(key, self._context(purpose)))

    def wrap(self, key: bytes, purpose: str) -> DataKey:
        """An existing key of the vault's own under the active version (its fingerprint key, at a rotation)."""
        return DataKey(key, self.provider.wrap(key, self._context(purpose)))

    def open(self, wrapped: WrappedKey, purpose: str) -> bytes:
        """The data key again.

        Raises
        ------
        TamperedError
            If it was made for another purpose, site or version, or was changed.
        VaultUnavailableError
            If the provider can't be reached.
        """
        return self.provider.unwrap(wrapped, self._context(purpose))

    @property
    def active_version(self) -> int:
        """The version that encrypts now."""
        return next(v.version for v in self.provider.versions() if v.active)

    def _context(self, purpose: str) -> bytes:
        return crypto.associated_data("paycall-data-key-1", self._site, purpose)


def open_provider(settings: VaultSettings) -> KeyProvider:
    """The key provider that the settings name.

    Raises
    ------
    SettingsError
        If its settings are wrong.
    """
    if settings.key_provider == "file":
        return FileKeys(settings.key_file)
    raise SettingsError("vault.key_provider: there is no such provider")
