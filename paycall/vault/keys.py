"""Data keys: one a card, made here, wrapped by the provider's key-encrypting key, used once and forgotten.

Rules: every write of a card makes a new data key, so no key encrypts a field twice; a wrapped key is bound to
the site, to what it is for (a token, or the name of a key of the vault's own) and to the version that wrapped it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from paycall.domain.errors import SettingsError
from paycall.settings import VaultSettings
from paycall.vault import crypto
from paycall.vault.providers.base import KEY_BYTES, KeyProvider, WrappedKey
from paycall.vault.providers.file import FileKeys, create_key_file
from paycall.vault.providers.shares import open_shared

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
    """The key provider that the settings name; a provider's library is loaded only where it is used.

    Raises
    ------
    SettingsError
        If its settings are wrong, or its extra is not installed.
    """
    if settings.key_provider == "file":
        return FileKeys(settings.key_file)
    if settings.key_provider == "shares":
        return open_shared(settings.key_file, settings.share_files)
    options = _Options(settings.key_options)
    try:
        provider = _PROVIDERS[settings.key_provider](options)
    except ImportError:
        name = settings.key_provider
        raise SettingsError(f"vault.key_provider: {name} needs: pip install 'paycall[{name}]'") from None
    options.done()
    return provider


class _Options:
    """A provider's table; every name is read once, and none may be left over."""

    def __init__(self, table: dict[str, str]) -> None:
        self._left = dict(table)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._left.pop(name, default)
        if value is None:
            raise SettingsError(f"vault.key_options.{name} is missing")
        return value

    def secret(self, name: str) -> str:
        """What lies in the file that ``<name>_file`` names."""
        path = Path(self.text(f"{name}_file"))
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"vault.key_options.{name}_file cannot be read") from None

    def done(self) -> None:
        for name in self._left:
            raise SettingsError(f"vault.key_options.{name} is not an option of this provider")


def _pkcs11(options: _Options) -> KeyProvider:
    from paycall.vault.providers.pkcs11 import Pkcs11Keys

    module, token = Path(options.text("module")), options.text("token_label")
    return Pkcs11Keys(module, token, options.secret("pin"), options.text("prefix", "paycall"))


def _hashicorp(options: _Options) -> KeyProvider:
    from paycall.vault.providers.hashicorp import HashicorpKeys

    url, token = options.text("url"), options.secret("token")
    return HashicorpKeys(url, token, options.text("key", "paycall"), options.text("mount", "transit"))


def _aws_kms(options: _Options) -> KeyProvider:
    from paycall.vault.providers.aws_kms import AwsKmsKeys

    return AwsKmsKeys(options.text("region"), options.text("prefix", "paycall"))


_PROVIDERS: dict[str, Callable[[_Options], KeyProvider]] = {
    "pkcs11": _pkcs11,
    "hashicorp": _hashicorp,
    "aws-kms": _aws_kms,
}
