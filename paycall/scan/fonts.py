"""Where a font keeps the outlines of its letters: bytes of coordinates, among which digits are chance.

TrueType's table directory (OpenType 1.9, "Organization of an OpenType font"): four bytes of version, the number of
tables, and for each its tag, checksum, offset and length, big-endian. An EOT file (W3C submission, 2008) holds such a
font behind a header that tells, little-endian, its own size and the font's. Only outlines are left out: names and
everything else of a font are read as any bytes are.
"""

from __future__ import annotations

import struct

HEAD_BYTES = 8192  # an EOT header with its names, and the directory
_VERSIONS = (b"\x00\x01\x00\x00", b"true")
_EOT_MAGIC_AT, _EOT_MAGIC = 34, b"LP"
_EOT_PACKED = 0x4 | 0x10000000  # compressed or XORed: no directory to be read


def outlines(head: bytes) -> range:
    """The bytes of a font's outlines, told by its first ``HEAD_BYTES``; empty if it is none, or holds none."""
    start = _font_start(head)
    if head[start : start + 4] not in _VERSIONS:
        return range(0)
    (tables,) = struct.unpack_from(">H", head.ljust(start + 6, b"\x00"), start + 4)
    for entry in range(start + 12, min(start + 12 + 16 * tables, len(head) - 15), 16):
        if head[entry : entry + 4] == b"glyf":
            offset, length = struct.unpack_from(">II", head, entry + 8)
            return range(start + offset, start + offset + length)
    return range(0)


def _font_start(head: bytes) -> int:
    """Where the font begins: behind the header of an EOT file, else at once."""
    if head[_EOT_MAGIC_AT : _EOT_MAGIC_AT + 2] != _EOT_MAGIC:
        return 0
    size, font_size, _, flags = struct.unpack_from("<IIII", head)
    return 0 if flags & _EOT_PACKED or font_size > size else int(size - font_size)
