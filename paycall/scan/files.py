"""Card numbers in files, whatever holds them: databases, archives, recordings, or just bytes.

Every file is read as bytes; SQLite is opened as well, since it keeps a number that is an INTEGER or REAL in binary
and long text in pieces; gzip, bzip2, xz and zip are unpacked wherever they begin and as far as they go; a WAV file's
keys are recognised; the outlines of a font's letters are left out. Nothing is written but a temporary copy of a
database, and no file is trusted: sizes and depth are bounded.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import IO

from paycall.scan.encodings import hits
from paycall.scan.fonts import HEAD_BYTES, outlines
from paycall.scan.numbers import count_of_shape
from paycall.scan.recordings import numbers_in_wav
from paycall.scan.unpack import PACKED, UNPACKED_LIMIT_BYTES, unpacked
from paycall.vault.sandbox_cards import is_test_number

_BLOCK_BYTES = 4 << 20
_OVERLAP_BYTES = 64 << 10  # as much as a number takes that a log tells key by key
_DEPTH_LIMIT = 4
_PIECE_BYTES = 1 << 20
_MANY = 5
_CHANCE = 0.2
_ZIP_END = b"PK\x05\x06"


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
    """The bytes of a stream, and what is packed in them, wherever it begins."""
    content = _Content(path, inside)
    content.read(file)
    yield from content.certain()
    if depth >= _DEPTH_LIMIT:
        return
    file.seek(0)
    head = file.read(16)
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        file.seek(0)
        for second, digits in numbers_in_wav(file.read(UNPACKED_LIMIT_BYTES)):
            yield Finding(path, f"{inside}second {second:.1f}", "keys", digits)
    for at in content.packed_at:
        yield from _in_packed(path, inside, file, at, depth)
    if content.is_zip:
        yield from _in_zip(path, inside, file, depth)


class _Content:
    """What the bytes of one stream hold, read block by block."""

    def __init__(self, path: str, inside: str) -> None:
        self._path, self._inside = path, inside
        self._findings: list[Finding] = []
        self._of_shape = 0
        self._chance = range(0)
        self.packed_at: dict[int, None] = {}
        self.is_zip = False

    def read(self, file: IO[bytes]) -> None:
        """Each block begins with the end of the one before it."""
        position, tail = 0, b""
        file.seek(0)
        self._chance = outlines(file.read(HEAD_BYTES))
        file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            data = tail + block
            self._take(data, position - len(tail))
            position += len(block)
            tail = data[-_OVERLAP_BYTES:]

    def _take(self, data: bytes, start: int) -> None:
        for hit in hits(data):
            if start + hit.offset in self._chance:
                continue
            where = f"{self._inside}byte {start + hit.offset}"
            self._findings.append(Finding(self._path, where, hit.how, hit.digits))
        self._of_shape += count_of_shape(data)
        self.packed_at.update(dict.fromkeys(start + match.start() for match in PACKED.finditer(data)))
        self.is_zip = self.is_zip or _ZIP_END in data

    def certain(self) -> list[Finding]:
        """One in ten numbers has the right check digit by chance: a file full of others is a table, no card list."""
        found = self._findings
        if len(found) >= _MANY and len(found) < _CHANCE * self._of_shape:
            return [finding for finding in found if is_test_number(finding.digits)]
        return found


def _in_packed(path: str, inside: str, file: IO[bytes], at: int, depth: int) -> Iterator[Finding]:
    name, content = unpacked(file, at)
    if content.getbuffer().nbytes:
        where = f"{inside}{name}: " if at == 0 else f"{inside}{name} at byte {at}: "
        yield from _in_stream(path, where, content, depth + 1)


def _in_zip(path: str, inside: str, file: IO[bytes], depth: int) -> Iterator[Finding]:
    """A zip may have other bytes before it, and is found by its end."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.file_size <= UNPACKED_LIMIT_BYTES and not member.is_dir():
                    where = f"{inside}zip member {member.filename}: "
                    yield from _in_stream(path, where, io.BytesIO(_member(archive, member)), depth + 1)
    except (OSError, zipfile.BadZipFile, RuntimeError):
        return  # damaged, encrypted, or packed in a way that Python does not know


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """What is in a member, as far as it can be read."""
    content = bytearray()
    with archive.open(member) as packed:
        try:
            while piece := packed.read(_PIECE_BYTES):
                content += piece
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, lzma.LZMAError, zlib.error):
            pass  # damaged from here on
    return bytes(content)


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
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            data = str(value).encode() if isinstance(value, int) else value
            if isinstance(data, bytes):
                where = f"table {table}, column {column}"
                for hit in hits(data):
                    yield Finding(path, where, hit.how, hit.digits)
                for match in PACKED.finditer(data):
                    yield from _in_packed(path, f"{where}: ", io.BytesIO(data), match.start(), 1)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _once_each(findings: list[Finding]) -> list[Finding]:
    return list(dict.fromkeys(findings))
