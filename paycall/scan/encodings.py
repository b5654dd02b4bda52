"""Card numbers in a block of bytes, in every way that programs write them.

``text`` as it is; the forms of ``forms.py``; ``base64`` of text, or of gzip; ``bcd`` two digits a byte. Packed digits
look like any other bytes, so they count only where something frames them: EMV's tag and length, ISO 8583's length and
next fields, track 2's separator and date, or empty bytes on both sides.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from paycall.scan.forms import numbers_in_forms
from paycall.scan.numbers import is_usual_number, numbers_in_text
from paycall.scan.unpack import unpacked
from paycall.vault.sandbox_cards import is_test_number

# Base64 of digits, blanks, points and dashes: three groups of them are in every number, wherever it begins, and in
# hardly anything else.
_BASE64_DIGITS = re.compile(rb"(?:[ILMNO][CDSTijyz][AEIMQUYcgk04][gtuwxyz0-5](?:\r?\n)?){3,}")
_BASE64_AROUND = 24
_BASE64_LETTERS = re.compile(rb"(?:\r?\n)?(?:[A-Za-z0-9+/_\-]{4}(?:\r?\n)?)*[A-Za-z0-9+/_\-]{0,3}")
_BASE64_LETTERS_AT_END = re.compile(rb"(?:[A-Za-z0-9+/_\-]{4}(?:\r?\n)?)+\Z")
_BASE64_GZIP = re.compile(rb"H4sI[A-Za-z0-9+/_\-\r\n]{24,}")
_BASE64_STANDARD = bytes.maketrans(b"-_", b"+/")
# Sound, pictures, fonts and programs hold no records, but many small numbers.
_NO_RECORDS = (
    b"RIFF",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"\x00\x01\x00\x00\x00",
    b"OTTO",
    b"ttcf",
    b"wOF",
    b"\xca\xfe\xba\xbe",
    b"\x7fELF",
    b"Xcur",
    b"\xde\x12\x04\x95",
    b"\x95\x04\x12\xde",
)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_PAIR = b"[" + b"".join(b"\\x%d0-\\x%d9" % (tens, tens) for tens in range(10)) + b"]"
_PAIR_F = b"[" + b"".join(b"\\x%df" % tens for tens in range(10)) + b"]"
_PAIR_D = b"[" + b"".join(b"\\x%dd" % tens for tens in range(10)) + b"]"
_PAIR_D0 = rb"[\xd0-\xd9]"
_PACKED = b"(" + _PAIR + rb"{6,9}(?:" + _PAIR + b"|" + _PAIR_F + b"))"
# EMV: tag 5A, a length, the number. ISO 8583: a length, field 2, then field 3 (three bytes) and field 4 (an amount,
# six bytes that begin with zeros). Alone: at least four empty bytes, or the end, on both sides.
_EMV = re.compile(rb"\x5a([\x07-\x0a])(?=" + _PACKED + b")")
_ISO8583 = re.compile(rb"([\x0d-\x19])(?=" + _PACKED + _PAIR + rb"{2,3}\x00\x00" + _PAIR + b"{4})")
_ALONE = re.compile(
    rb"(?:\A\x00{0,3}|\x00{4}|\xff{4})(?=[\x02-\x99])(?=" + _PACKED + rb"(?:\x00{4}|\xff{4}|\x00{0,3}\Z))"
)
# Track 2: number, D, YYMM, service code.
_TRACK2 = re.compile(_PAIR + b"{6,9}(?:" + _PAIR_D0 + b"|" + _PAIR_D + b")" + _PAIR + b"{3}")
_TRACK2_DIGITS = re.compile(r"(\d{13,19})d[2-4]\d(?:0[1-9]|1[0-2])[1-7]\d")

# Small integers and pixels, not an issuer's number: zero bytes, or one byte three times.
_TABLE_LIKE = re.compile(r"\A(?:..)*(?:0[01](?:..)*0[01]|(..)\1\1)")
_LIKELY_FIRST = (16, 15, 19, 14, 18, 17, 13)  # digits before track 2 may be its length


@dataclass(frozen=True)
class Hit:
    """A card number at a position, and how it was written."""

    offset: int
    how: str
    digits: str


def hits(data: bytes) -> Iterator[Hit]:
    """All card numbers in a block."""
    for offset, digits in numbers_in_text(data):
        yield Hit(offset, "text", digits)
    for offset, how, digits in numbers_in_forms(data):
        yield Hit(offset, how, digits)
    yield from _in_base64(data)
    yield from _in_bcd(data)


def _in_base64(data: bytes) -> Iterator[Hit]:
    """Where letters stand for nothing but digits, the letters around them are decoded in the same groups of four."""
    for match in _BASE64_DIGITS.finditer(data):
        before = _BASE64_LETTERS_AT_END.search(data, max(0, match.start() - _BASE64_AROUND), match.start())
        after = _BASE64_LETTERS.match(data, match.end(), match.end() + _BASE64_AROUND)
        start = before.start() if before else match.start()
        decoded = _base64_decoded(data[start : after.end() if after else match.end()])
        for offset, digits in numbers_in_text(decoded):
            yield Hit(start + offset * 4 // 3, "base64", digits)
    for match in _BASE64_GZIP.finditer(data):
        _, content = unpacked(io.BytesIO(_base64_decoded(match[0])), 0)
        for _, digits in numbers_in_text(content.read()):
            yield Hit(match.start(), "base64 of gzip", digits)


def _base64_decoded(letters: bytes) -> bytes:
    text = letters.translate(_BASE64_STANDARD, b"\r\n")
    return base64.b64decode(
        text[: len(text) // 4 * 4] if len(text) % 4 == 1 else text + b"=" * (-len(text) % 4)
    )


def _in_bcd(data: bytes) -> Iterator[Hit]:
    if not _BINARY.search(data) or data.startswith(_NO_RECORDS):
        return  # plain text: its letters would be packed digits as well
    for match in _EMV.finditer(data):
        packed = data[match.end() : match.end() + match[1][0]].hex()
        yield from _read(match.end(), packed.removesuffix("f"))
    for match in _ISO8583.finditer(data):
        packed, count = data[match.end() : match.end() + 10].hex(), match[1][0]
        for length in {count, count // 16 * 10 + count % 16}:
            yield from _read(match.end(), packed[:length], packed[length % 2 : length + length % 2])
    for match in _ALONE.finditer(data):
        packed = data[match.end() : match.end() + 10].hex()
        digits = re.sub(r"(?:00)*f*(?:00)*\Z", "", packed)
        yield from _read(match.end(), digits, digits.lstrip("0"))
    for match in _TRACK2.finditer(data):
        found = _TRACK2_DIGITS.search(match[0].hex())
        if found is not None:
            yield from _read(match.start(), *(found[1][-length:] for length in _LIKELY_FIRST))


def _read(offset: int, *readings: str) -> Iterator[Hit]:
    for digits in readings:
        if not is_usual_number(digits) or "0000" in digits:
            continue
        if is_test_number(digits) or not _TABLE_LIKE.match(digits):
            yield Hit(offset, "bcd", digits)
            return
