"""Key-encrypting keys in a file of mode 0600: the embedded default.

The file is JSON: ``{"format": "paycall-keys-1", "keys": [{"version", "state", "created_at", "key"}]}``. It is
written to a neighbour and renamed, so a crash leaves the old file or the new one; writers take a lock. A file
that others may read is refused. A running vault reads it again when it has changed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from paycall.domain.errors import (
    NotFoundError,
    SettingsError,
    StateError,
    TamperedError,
    VaultUnavailableError,
)
from paycall.vault import crypto
from paycall.vault.providers.base import KEY_BYTES, KeyVersion, WrappedKey

FORMAT = "paycall-keys-1"


@dataclass(frozen=True)
class _Entry:
    version: int
    active: bool
    created_at: datetime
    key: bytes = field(repr=False)


class FileKeys:
    """The provider ``file``.

    Parameters
    ----------
    path
        The key file.
    master
        If given, the keys in the file are themselves encrypted under this 256-bit key (provider ``shares``).

    Raises
    ------
    SettingsError
        If the file is missing, readable by others, or not a key file.
    TamperedError
        If ``master`` is not the one that the file was made with.
    """

    name = "file"

    def __init__(self, path: Path, master: bytes | None = None) -> None:
        self._path = path
        self._master = master
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._entries: dict[int, _Entry] = {}
        self._refresh()

    def versions(self) -> tuple[KeyVersion, ...]:
        """All versions in the file, oldest first."""
        return tuple(KeyVersion(e.version, e.active, e.created_at) for e in self._refresh().values())

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key under the active version."""
        active = next(e for e in self._refresh().values() if e.active)
        return WrappedKey(
            active.version, crypto.encrypt(active.key, data_key, _bound(context, active.version))
        )

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """The data key again; ``TamperedError`` if anything was changed or the version is gone."""
        entry = self._refresh().get(wrapped.version)
        if entry is None:
            raise TamperedError
        return crypto.decrypt(entry.key, wrapped.blob, _bound(context, wrapped.version))

    def rotate(self) -> int:
        """Add a version, which is the active one from now on."""
        with _writer(self._path):
            entries = list(self._refresh().values())
            version = entries[-1].version + 1
            retired = [replace(entry, active=False) for entry in entries]
            fresh = _Entry(version, True, datetime.now(UTC), secrets.token_bytes(KEY_BYTES))
            _write(self._path, [*retired, fresh], self._master)
        return version

    def destroy(self, version: int) -> None:
        """Remove a retired version from the file."""
        with _writer(self._path):
            entries = self._refresh()
            if version not in entries:
                raise NotFoundError("there is no such key version")
            if entries[version].active:
                raise StateError("the active key cannot be removed; rotate first")
            _write(self._path, [e for e in entries.values() if e.version != version], self._master)

    def close(self) -> None:
        """Nothing is held open."""

    def _refresh(self) -> dict[int, _Entry]:
        with self._lock:
            try:
                status = self._path.stat()
            except OSError:
                if self._entries:
                    raise VaultUnavailableError("the key file cannot be read") from None
                raise SettingsError("vault.key_file: the file is missing or cannot be read") from None
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                if status.st_mode & 0o077:
                    raise SettingsError("vault.key_file: others may read the key file; its mode must be 0600")
                self._entries = _read(self._path, self._master)
                self._stamp = stamp
            return self._entries


def create_key_file(path: Path, master: bytes | None = None) -> None:
    """Make a key file with a first version, its directory too (mode 0700).

    Raises
    ------
    StateError
        If the file exists: keys are never overwritten.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _writer(path):
        if path.exists():
            raise StateError("the key file exists already")
        _write(path, [_Entry(1, True, datetime.now(UTC), secrets.token_bytes(KEY_BYTES))], master)


def _bound(context: bytes, version: int) -> bytes:
    return crypto.associated_data("paycall-kek-1", version, context)


def _read(path: Path, master: bytes | None) -> dict[int, _Entry]:
    wrong = SettingsError("vault.key_file: this is not a key file of paycall")
    try:
        document = json.loads(path.read_text("ascii"))
        if document["format"] != FORMAT or document["protected"] != (master is not None):
            raise wrong
        entries = {}
        for item in document["keys"]:
            version, stored = int(item["version"]), base64.b64decode(item["key"], validate=True)
            key = stored if master is None else crypto.decrypt(master, stored, _bound(b"file", version))
            created = datetime.fromisoformat(item["created_at"])
            entries[version] = _Entry(version, item["state"] == "active", created, key)
    except (OSError, ValueError, KeyError, TypeError, binascii.Error):
        raise wrong from None
    if sum(e.active for e in entries.values()) != 1 or any(len(e.key) != KEY_BYTES for e in entries.values()):
        raise wrong
    return dict(sorted(entries.items()))


def _write(path: Path, entries: list[_Entry], master: bytes | None) -> None:
    keys = [
        {
            "version": entry.version,
            "state": "active" if entry.active else "retired",
            "created_at": entry.created_at.isoformat(),
            "key": base64.b64encode(
                entry.key
                if master is None
                else crypto.encrypt(master, entry.key, _bound(b"file", entry.version))
            ).decode(),
        }
        for entry in entries
    ]
    document = {"format": FORMAT, "protected": master is not None, "keys": keys}
    neighbour = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    neighbour.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself must survive a power cut: a lost key is every card lost
    finally:
        os.close(directory)


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[None]:
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
