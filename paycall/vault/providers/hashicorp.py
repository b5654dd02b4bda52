"""Key-encrypting keys in HashiCorp Vault's transit engine (Vault 1.9 or newer, for associated data).

Written from the documentation of the transit secrets engine and tested against a fake that was; not tried on a
real server. The key is ``aes256-gcm96``. A retired version is below ``min_encryption_version``, so the server itself
refuses to encrypt with it; a destroyed one is trimmed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import hvac
import requests
from hvac.exceptions import InvalidPath, InvalidRequest, VaultError

from paycall.domain.errors import NotFoundError, StateError, TamperedError, VaultUnavailableError
from paycall.vault.providers.base import KeyVersion, WrappedKey

_TIMEOUT_S = 5
_Answer = TypeVar("_Answer")


class HashicorpKeys:
    """The provider ``hashicorp``.

    Parameters
    ----------
    url, token
        The server (https), and a token whose policy allows encrypt, decrypt and, for the command line, rotation.
    key, mount
        The transit key's name and the engine's mount point.
    """

    name = "hashicorp"

    def __init__(self, url: str, token: str, key: str = "paycall", mount: str = "transit") -> None:
        self._client = hvac.Client(url=url, token=token, timeout=_TIMEOUT_S)
        self._transit = self._client.secrets.transit
        self._key, self._mount = key, mount

    def versions(self) -> tuple[KeyVersion, ...]:
        """All versions that still decrypt."""
        data = self._read()
        latest, oldest = data["latest_version"], data["min_decryption_version"]
        return tuple(
            KeyVersion(int(number), int(number) == latest, datetime.fromtimestamp(made).astimezone())
            for number, made in sorted(data["keys"].items(), key=lambda item: int(item[0]))
            if int(number) >= oldest
        )

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key on the server, under the newest version."""
        answer = self._ask(
            lambda: self._transit.encrypt_data(
                self._key, plaintext=_text(data_key), associated_data=_text(context), mount_point=self._mount
            )
        )
        ciphertext: str = answer["data"]["ciphertext"]
        return WrappedKey(int(ciphertext.split(":")[1].removeprefix("v")), ciphertext.encode())

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Decrypt a data key on the server."""
        try:
            ciphertext = wrapped.blob.decode("ascii")
        except UnicodeDecodeError:
            raise TamperedError from None
        if not ciphertext.startswith(f"vault:v{wrapped.version}:"):
            raise TamperedError
        answer = self._ask(
            lambda: self._transit.decrypt_data(
                self._key, ciphertext=ciphertext, associated_data=_text(context), mount_point=self._mount
            )
        )
        return base64.b64decode(answer["data"]["plaintext"])

    def rotate(self) -> int:
        """Make a new version on the server; the ones before may not encrypt any more."""
        try:
            self._read()
            self._ask(lambda: self._transit.rotate_key(self._key, mount_point=self._mount))
        except NotFoundError:
            self._ask(
                lambda: self._transit.create_key(self._key, key_type="aes256-gcm96", mount_point=self._mount)
            )
        latest = int(self._read()["latest_version"])
        self._configure(min_encryption_version=latest)
        return latest

    def destroy(self, version: int) -> None:
        """Trim the oldest version on the server; the server removes in order of age only."""
        data = self._read()
        if str(version) not in data["keys"]:
            raise NotFoundError("there is no such key version")
        if version == data["latest_version"]:
            raise StateError("the active key cannot be removed; rotate first")
        if version != min(int(number) for number in data["keys"]):
            raise StateError("HashiCorp Vault removes the oldest version first")
        self._configure(min_decryption_version=version + 1)
        self._ask(lambda: self._transit.trim_key(self._key, min_version=version + 1, mount_point=self._mount))

    def close(self) -> None:
        """Close the connections."""
        self._client.adapter.close()

    def _read(self) -> dict[str, Any]:
        answer = self._ask(lambda: self._transit.read_key(self._key, mount_point=self._mount))
        data: dict[str, Any] = answer["data"]
        return data

    def _configure(self, **values: int) -> None:
        self._ask(
            lambda: self._transit.update_key_configuration(self._key, mount_point=self._mount, **values)
        )

    @staticmethod
    def _ask(call: Callable[[], _Answer]) -> _Answer:
        try:
            return call()
        except InvalidPath:
            raise NotFoundError("HashiCorp Vault has no such key") from None
        except InvalidRequest:  # 400: the server's word for a ciphertext that fails its authentication
            raise TamperedError from None
        except (VaultError, requests.RequestException):
            raise VaultUnavailableError("HashiCorp Vault cannot be reached, or refused") from None


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
