"""Two custodians, two shares: neither alone tells anything of the key (PCI DSS 3.6.1.2, 3.7.6).

The key file of provider ``file``, its keys encrypted under a master key that is stored nowhere: the XOR of two
random 256-bit shares. Each custodian enters a share at the start, or keeps it in a file on a machine or medium of
their own that is there at the start. A share is 52 letters and digits and four more that find a typing mistake.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import hashlib
import secrets
import sys
from pathlib import Path

from paycall.domain.errors import InputError, SettingsError, TamperedError
from paycall.vault.providers.base import KEY_BYTES
from paycall.vault.providers.file import FileKeys, create_key_file

_CHECK_LETTERS = 4
_GROUP = 4


class SharedKeys(FileKeys):
    """The provider ``shares``."""

    name = "shares"


def open_shared(path: Path, share_files: tuple[Path, ...]) -> SharedKeys:
    """Open the key file with two shares, from files or typed at the terminal.

    Raises
    ------
    SettingsError
        If a share can't be read or does not belong to this file.
    """
    try:
        return SharedKeys(path, _master(share_files))
    except TamperedError:
        raise SettingsError("vault.share_files: the two shares do not belong to this key file") from None
    except InputError as error:
        raise SettingsError(f"vault.share_files: {error.text}") from None


def create_shared(path: Path) -> tuple[str, str]:
    """Make a key file under a new master key; gives the two shares, which exist nowhere else."""
    first, second = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
    create_key_file(path, _xor(first, second))
    return _write(first), _write(second)


def read_share(text: str) -> bytes:
    """The share that somebody typed; spaces, dashes and case do not matter.

    Raises
    ------
    InputError
        If a letter is wrong or missing.
    """
    letters = "".join(text.split()).replace("-", "").upper()
    body, check = letters[:-_CHECK_LETTERS], letters[-_CHECK_LETTERS:]
    try:
        share = base64.b32decode(body + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError):
        raise InputError("a share is mistyped") from None
    if len(share) != KEY_BYTES or not secrets.compare_digest(check.encode(), _check(share).encode()):
        raise InputError("a share is mistyped")
    return share


def _write(share: bytes) -> str:
    letters = base64.b32encode(share).decode().rstrip("=") + _check(share)
    return "-".join(letters[n : n + _GROUP] for n in range(0, len(letters), _GROUP))


def _check(share: bytes) -> str:
    return base64.b32encode(hashlib.sha256(b"paycall-share-1" + share).digest()).decode()[:_CHECK_LETTERS]


def _master(share_files: tuple[Path, ...]) -> bytes:
    if len(share_files) == 2:
        texts = [_read_file(path) for path in share_files]
    elif not share_files and sys.stdin.isatty():
        texts = [getpass.getpass(f"share of custodian {n}: ") for n in (1, 2)]
    else:
        raise SettingsError("vault.share_files: name two files, or none and type the shares at a terminal")
    return _xor(read_share(texts[0]), read_share(texts[1]))


def _read_file(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError("vault.share_files: others may read a share; its mode must be 0600")
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise SettingsError("vault.share_files: a share cannot be read") from None


def _xor(first: bytes, second: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(first, second, strict=True))
