"""Key-encrypting keys in any hardware security module that speaks PKCS #11. Tested with SoftHSM2.

Each version is an AES-256 key that is sensitive and cannot be extracted; data keys are encrypted inside the module
with AES-GCM, the context as associated data. A retired version loses CKA_ENCRYPT: the module itself refuses to
encrypt with it. Version and time are in the label, ``<prefix> v<version> <moment>``. Source: PKCS #11 v3.0.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass, PKCS11Error

from paycall.domain.errors import (
    NotFoundError,
    SettingsError,
    StateError,
    TamperedError,
    VaultUnavailableError,
)
from paycall.vault.crypto import NONCE_BYTES, TAG_BYTES, associated_data
from paycall.vault.providers.base import KEY_BYTES, KeyVersion, WrappedKey

_Answer = TypeVar("_Answer")


class Pkcs11Keys:
    """The provider ``pkcs11``.

    Parameters
    ----------
    module
        The vendor's library.
    token_label, pin
        Which token, and its user PIN.
    prefix
        What the keys' labels begin with.

    Raises
    ------
    SettingsError
        If the library can't be loaded, there is no such token, or the PIN is wrong.
    """

    name = "pkcs11"

    def __init__(self, module: Path, token_label: str, pin: str, prefix: str = "paycall") -> None:
        self._token_label, self._pin, self._prefix = token_label, pin, prefix
        self._lock = threading.Lock()  # a session is for one thread at a time
        self._session: Any = None
        try:
            self._library = pkcs11.lib(str(module))
            self._open()
        except (pkcs11.NoSuchToken, pkcs11.PinIncorrect, RuntimeError) as error:
            what = "pin" if isinstance(error, pkcs11.PinIncorrect) else "module or token_label"
            raise SettingsError(f"vault.pkcs11: {what} is wrong, or the token is not there") from None

    def versions(self) -> tuple[KeyVersion, ...]:
        """All versions in the token, oldest first."""
        found = self._do(lambda: [(v, made) for v, made, _ in self._keys()])
        return tuple(KeyVersion(version, version == found[-1][0], made) for version, made in found)

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key inside the module, under the newest version."""

        def work() -> WrappedKey:
            keys = self._keys()
            if not keys:
                raise VaultUnavailableError("the token has no key yet; make one: paycall keys rotate")
            version, _, key = keys[-1]
            nonce = secrets.token_bytes(NONCE_BYTES)
            parameters = self._parameters(nonce, context, version)
            return WrappedKey(
                version,
                nonce + key.encrypt(data_key, mechanism=Mechanism.AES_GCM, mechanism_param=parameters),
            )

        return self._do(work)

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Decrypt a data key inside the module."""

        def work() -> bytes:
            key = next((key for version, _, key in self._keys() if version == wrapped.version), None)
            if key is None or len(wrapped.blob) != NONCE_BYTES + KEY_BYTES + TAG_BYTES:
                raise TamperedError
            parameters = self._parameters(wrapped.blob[:NONCE_BYTES], context, wrapped.version)
            sealed = wrapped.blob[NONCE_BYTES:]
            try:
                return bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
            except PKCS11Error:
                _ = key[Attribute.KEY_TYPE]  # raises if the module is gone; else it was the data
                raise TamperedError from None

        return self._do(work)

    def rotate(self) -> int:
        """Make a key inside the module; the ones before may not encrypt any more."""

        def work() -> int:
            earlier = self._keys()
            version = earlier[-1][0] + 1 if earlier else 1
            self._session.generate_key(
                KeyType.AES,
                KEY_BYTES * 8,
                label=f"{self._prefix} v{version} {datetime.now(UTC).isoformat(timespec='seconds')}",
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                    Attribute.MODIFIABLE: True,
                },
            )
            for _, _, key in earlier:
                key[Attribute.ENCRYPT] = False
            return version

        return self._do(work)

    def destroy(self, version: int) -> None:
        """Destroy a retired key inside the module."""

        def work() -> None:
            keys = self._keys()
            key = next((key for number, _, key in keys if number == version), None)
            if key is None:
                raise NotFoundError("there is no such key version")
            if version == keys[-1][0]:
                raise StateError("the active key cannot be removed; rotate first")
            key.destroy()

        self._do(work)

    def close(self) -> None:
        """Log out."""
        with self._lock, contextlib.suppress(PKCS11Error):
            if self._session is not None:
                self._session.close()
            self._session = None

    def _do(self, work: Callable[[], _Answer]) -> _Answer:
        """Carry out work in a session; a session that broke is opened anew for the next call."""
        with self._lock:
            try:
                if self._session is None:
                    self._open()
                return work()
            except PKCS11Error:
                self._session = None
                raise VaultUnavailableError("the security module cannot be reached") from None

    def _open(self) -> None:
        token = self._library.get_token(token_label=self._token_label)
        try:
            self._session = token.open(rw=True, user_pin=self._pin)
        except (
            pkcs11.UserAlreadyLoggedIn
        ):  # a session that broke left the login behind: it holds for the process
            self._session = token.open(rw=True)

    def _keys(self) -> list[tuple[int, datetime, Any]]:
        found = []
        for key in self._session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}):
            words = (key.label or "").removeprefix(f"{self._prefix} v").split(" ")
            if key.label.startswith(f"{self._prefix} v") and len(words) == 2 and words[0].isdigit():
                found.append((int(words[0]), datetime.fromisoformat(words[1]), key))
        return sorted(found, key=lambda item: item[0])

    @staticmethod
    def _parameters(nonce: bytes, context: bytes, version: int) -> GCMParams:
        return GCMParams(nonce, associated_data("paycall-kek-1", version, context), TAG_BYTES * 8)
