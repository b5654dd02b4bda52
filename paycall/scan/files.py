"""Card numbers in files, whatever holds them: databases, archives, recordings, or just bytes.

Every file is read as bytes; SQLite is opened as well, since it keeps a number that is an INTEGER in binary and
long text in pieces; gzip, bzip2, xz and zip are unpacked; a WAV file's keys are recognised. Nothing is written
but a temporary copy of a database, and no file is trusted: sizes and depth are bounded.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import sqlite3
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from paycall.scan.encodings import hits
from paycall.scan.numbers import count_of_shape
from paycall.scan.recordings import numbers_in_wav
from paycall.vault.sandbox_cards import is_test_number

_BLOCK_BYTES = 4 << 20
_OVERLAP_BYTES = 512
_UNPACKED_LIMIT_BYTES = 512 << 20
_DEPTH_LIMIT = 4
_MANY = 5
_CHANCE = 0.2
_UNPACKERS: dict[bytes, tuple[str, Callable[[Any, str], Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\x00": ("xz", lzma.open),
}


@dataclass(frozen=True)
class Finding:
    """A card number in a file: where, how it is written, and what may be shown of it."""

    path: str
    where: str
    how: str
    digits: str

    @property
    def masked(self) -> str:
        """The last four digits, as much as anybody may see (PCI DSS 3.4.1)."""
        return "*" * (len(self.digits) - 4) + self.digits[-4:]


def scan_path(
    path: Path, unreadable: Callable[[Path], None] = lambda _: None
) -> Iterator[tuple[Path, list[Finding]]]:
    """Every regular file below a path, with what is in it; links and devices are left out."""
    if path.is_symlink():
        return
    if path.is_dir():
        try:
            children = sorted(path.iterdir())
        except OSError:
            unreadable(path)
            return
        for child in children:
            yield from scan_path(child, unreadable)
        return
    try:
        if stat.S_ISREG(path.stat().st_mode):
            yield path, scan_file(path)
    except OSError:
        unreadable(path)


def scan_file(path: Path) -> list[Finding]:
    """What is in one file.

    Raises
    ------
    OSError
        If it can't be read.
    """
    with path.open("rb") as file:
        found = list(_in_stream(str(path), "", file, 0))
    if _head(path).startswith(b"SQLite format 3\x00"):
        found += _in_sqlite(path)
    return _once_each(found)


def _in_stream(path: str, inside: str, file: IO[bytes], depth: int) -> Iterator[Finding]:
    """The bytes of a stream, and what is packed in them."""
    head = file.read(16)
    yield from _in_bytes(path, inside, file)
    if depth >= _DEPTH_LIMIT:
        return
    file.seek(0)
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        for second, digits in numbers_in_wav(file.read(_UNPACKED_LIMIT_BYTES)):
            yield Finding(path, f"{inside}second {second:.1f}", "keys", digits)
    for magic, (name, unpack) in _UNPACKERS.items():
        if head.startswith(magic):
            yield from _in_packed(path, f"{inside}{name}: ", partial(unpack, file, "rb"), depth)
    if head.startswith(b"PK\x03\x04"):
        yield from _in_zip(path, inside, file, depth)


def _in_bytes(path: str, inside: str, file: IO[bytes]) -> list[Finding]:
    """Block by block, each beginning with the end of the one before it."""
    findings: list[Finding] = []
    position, tail, of_shape = 0, b"", 0
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        data = tail + block
        start = position - len(tail)
        for hit in hits(data):
            findings.append(Finding(path, f"{inside}byte {start + hit.offset}", hit.how, hit.digits))
        of_shape += count_of_shape(data)
        position += len(block)
        tail = data[-_OVERLAP_BYTES:]
    # One in ten numbers has the right check digit by chance: a file full of others is a table, not a card list.
    if len(findings) >= _MANY and len(findings) < _CHANCE * of_shape:
        return [finding for finding in findings if is_test_number(finding.digits)]
    return findings


def _in_packed(path: str, inside: str, opened: Callable[[], IO[bytes]], depth: int) -> Iterator[Finding]:
    try:
        content = opened().read(_UNPACKED_LIMIT_BYTES)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
        return  # not what its first bytes say, or cut off: its bytes were read as they are
    yield from _in_stream(path, inside, io.BytesIO(content), depth + 1)


def _in_zip(path: str, inside: str, file: IO[bytes], depth: int) -> Iterator[Finding]:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.file_size <= _UNPACKED_LIMIT_BYTES and not member.is_dir():
                    where = f"{inside}zip member {member.filename}: "
                    yield from _in_packed(path, where, partial(archive.open, member), depth)
    except (OSError, zipfile.BadZipFile, RuntimeError):
        return  # damaged, encrypted, or packed in a way that Python does not know


def _in_sqlite(path: Path) -> Iterator[Finding]:
    """Every value of every table, of a copy with its journal, so that nothing is written beside the original."""
    with tempfile.TemporaryDirectory(prefix="paycall-scan-") as folder:
        copy = Path(folder) / "copy"
        shutil.copyfile(path, copy)
        journal = path.with_name(path.name + "-wal")
        if journal.exists():
            shutil.copyfile(journal, copy.with_name("copy-wal"))
        with closing(sqlite3.connect(copy)) as connection:
            connection.text_factory = bytes
            try:
                names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (name,) in names:
                    yield from _in_table(str(path), connection, name.decode("utf-8", "replace"))
            except sqlite3.DatabaseError:
                return  # damaged: its bytes were read as they are


def _in_table(path: str, connection: sqlite3.Connection, table: str) -> Iterator[Finding]:
    quoted = table.replace('"', '""')
    rows = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - a name from the database's own list
    columns = [column[0] for column in rows.description]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            data = str(value).encode() if isinstance(value, int) else value
            if isinstance(data, bytes):
                for hit in hits(data):
                    yield Finding(path, f"table {table}, column {column}", hit.how, hit.digits)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _once_each(findings: list[Finding]) -> list[Finding]:
    return list(dict.fromkeys(findings))
