"""Key-encrypting keys in AWS KMS: one key a version, under the alias ``alias/<prefix>-<version>``.

Tested against moto, not on the real service. The context travels as KMS's encryption context, in hashed form, since
CloudTrail logs it. That a retired version does not encrypt is kept by this provider; take ``kms:Encrypt`` on it from
the vault's role to have AWS keep it too. Credentials come from the environment, as for every AWS client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from paycall.domain.errors import NotFoundError, StateError, TamperedError, VaultUnavailableError
from paycall.vault.crypto import associated_data
from paycall.vault.providers.base import KeyVersion, WrappedKey

_Answer = TypeVar("_Answer")
_WRONG_DATA = ("InvalidCiphertextException", "IncorrectKeyException", "ValidationException")
_DELETION_DAYS = 30


class AwsKmsKeys:
    """The provider ``aws-kms``."""

    name = "aws-kms"

    def __init__(self, region: str, prefix: str = "paycall") -> None:
        config = Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 2})
        self._kms: Any = boto3.client("kms", region_name=region, config=config)
        self._prefix = f"alias/{prefix}-"

    def versions(self) -> tuple[KeyVersion, ...]:
        """All versions that have an alias, oldest first."""
        numbers = self._numbers()
        made = {
            number: self._ask(partial(self._kms.describe_key, KeyId=self._alias(number)))
            for number in numbers
        }
        return tuple(
            KeyVersion(number, number == numbers[-1], made[number]["KeyMetadata"]["CreationDate"])
            for number in numbers
        )

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key in KMS, under the newest version."""
        numbers = self._numbers()
        if not numbers:
            raise VaultUnavailableError("KMS has no key yet; make one: paycall keys rotate")
        answer = self._ask(
            lambda: self._kms.encrypt(
                KeyId=self._alias(numbers[-1]),
                Plaintext=data_key,
                EncryptionContext=_context(context, numbers[-1]),
            )
        )
        return WrappedKey(numbers[-1], answer["CiphertextBlob"])

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Decrypt a data key in KMS."""
        try:
            answer = self._ask(
                lambda: self._kms.decrypt(
                    KeyId=self._alias(wrapped.version),
                    CiphertextBlob=wrapped.blob,
                    EncryptionContext=_context(context, wrapped.version),
                )
            )
        except NotFoundError:
            raise TamperedError from None
        plaintext: bytes = answer["Plaintext"]
        return plaintext

    def rotate(self) -> int:
        """Make a key and its alias."""
        numbers = self._numbers()
        version = numbers[-1] + 1 if numbers else 1
        made = self._ask(lambda: self._kms.create_key(Description=f"paycall key-encrypting key {version}"))
        key_id = made["KeyMetadata"]["KeyId"]
        self._ask(lambda: self._kms.create_alias(AliasName=self._alias(version), TargetKeyId=key_id))
        return version

    def destroy(self, version: int) -> None:
        """Schedule a retired key's deletion in thirty days, and take its alias away now."""
        numbers = self._numbers()
        if version not in numbers:
            raise NotFoundError("there is no such key version")
        if version == numbers[-1]:
            raise StateError("the active key cannot be removed; rotate first")
        key_id = self._ask(lambda: self._kms.describe_key(KeyId=self._alias(version)))["KeyMetadata"]["KeyId"]
        self._ask(lambda: self._kms.delete_alias(AliasName=self._alias(version)))
        self._ask(lambda: self._kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=_DELETION_DAYS))

    def close(self) -> None:
        """Close the connections."""
        self._kms.close()

    def _alias(self, version: int) -> str:
        return f"{self._prefix}{version}"

    def _numbers(self) -> list[int]:
        def listed() -> list[str]:
            pages = self._kms.get_paginator("list_aliases").paginate()
            return [alias["AliasName"] for page in pages for alias in page["Aliases"]]

        ends = (
            name.removeprefix(self._prefix) for name in self._ask(listed) if name.startswith(self._prefix)
        )
        return sorted(int(end) for end in ends if end.isdigit())

    @staticmethod
    def _ask(call: Callable[[], _Answer]) -> _Answer:
        try:
            return call()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _WRONG_DATA:
                raise TamperedError from None
            if code == "NotFoundException":
                raise NotFoundError("KMS has no such key") from None
            raise VaultUnavailableError("KMS refused") from None
        except BotoCoreError:
            raise VaultUnavailableError("KMS cannot be reached") from None


def _context(context: bytes, version: int) -> dict[str, str]:
    return {"paycall": hashlib.sha256(associated_data(version, context)).hexdigest()}
