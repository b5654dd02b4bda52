"""gzip, bzip2 and xz, wherever they begin in a file: whole, cut off, or with other bytes around them.

What was read before an error is kept: a log that is being written ends in the middle.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import IO, Any

_PIECE_BYTES = 64 << 10
UNPACKED_LIMIT_BYTES = 512 << 20
# gzip: deflate, no reserved flags. bzip2: the first block's number, too, for three letters are too few.
PACKED = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]|BZh[1-9]1AY&SY|\xfd7zXZ\x00")
_UNPACKERS: dict[bytes, tuple[str, Callable[[], Any]]] = {
    b"\x1f": ("gzip", lambda: zlib.decompressobj(wbits=31)),
    b"B": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd": ("xz", lzma.LZMADecompressor),
}


def unpacked(file: IO[bytes], at: int) -> tuple[str, io.BytesIO]:
    """What begins at this position of a file (where ``PACKED`` matched): its kind's name, and what is in it."""
    file.seek(at)
    content = io.BytesIO()
    piece = file.read(_PIECE_BYTES)
    name, make = _UNPACKERS[piece[:1]]
    unpacker = make()
    while piece and not unpacker.eof and content.tell() < UNPACKED_LIMIT_BYTES:
        try:
            content.write(unpacker.decompress(piece))
        except (OSError, ValueError, EOFError, lzma.LZMAError, zlib.error):
            break  # damaged from here on, or never what its first bytes say
        piece = file.read(_PIECE_BYTES)
    content.seek(0)
    return name, content
