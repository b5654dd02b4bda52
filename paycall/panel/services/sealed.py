"""Sealing what the database must keep but nobody may read there: second factors, webhook secrets.

AES-256-GCM under a key in a file of its own, with the owner's id as associated data: a sealed value that is moved
to another row does not open.
"""

from __future__ import annotations

import base64
import os
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paycall.domain.errors import SettingsError, TamperedError

_NONCE_BYTES = 12
_KEY_BYTES = 32


class Sealer:
    """Seals and opens with the key in ``path``; the key is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _cipher(self) -> AESGCM:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError:
            key = self._make()
        except OSError:
            raise SettingsError("setting panel.secret_file: the file cannot be read") from None
        if len(key) != _KEY_BYTES:
            raise SettingsError("setting panel.secret_file: the file is not a key of this panel")
        return AESGCM(key)

    def _make(self) -> bytes:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = os.urandom(_KEY_BYTES)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        return key

    def seal(self, secret: str, owner: str) -> str:
        """The secret, so that only this panel can read it, and only for this owner."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())).decode()

    def open(self, sealed: str, owner: str) -> str:
        """The secret.

        Raises
        ------
        TamperedError
            If it was sealed by another key or for another owner.
        """
        raw = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
        except InvalidTag:
            raise TamperedError from None
