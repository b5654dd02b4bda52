"""The forms in which programs write a card number that are neither plain text, base64 nor packed digits: one table.

Each form has a pattern and what makes text of a match; the text is then read as any other. A pattern begins with a
byte that is rare or with one fixed class of bytes, so that the search runs through a large file quickly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from paycall.scan.numbers import LONGEST, SHORTEST, is_usual_number, number_at_start, numbers_in_text

_BETWEEN_KEYS_BYTES = 4096
# What may stand between digits, by its hexadecimal digits: blank, point, dash.
_SIGN_HEX = rb"(?:20|2[deDE])"


@dataclass(frozen=True)
class Form:
    """A way of writing numbers. ``text`` makes text of a match of ``pattern``."""

    how: str
    pattern: re.Pattern[bytes]
    text: Callable[[re.Match[bytes]], bytes]


def _first_group(match: re.Match[bytes]) -> bytes:
    return match[1]


def _from_hex(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(re.sub(rb"[^0-9A-Fa-f]", b"", match[0]).decode())


def _from_dump(match: re.Match[bytes]) -> bytes:
    lines = re.findall(rb"\n\t?0x?" + _DUMP_LINE, match[0])
    return b"".join(bytes.fromhex(line.replace(b" ", b"").decode()) for line in lines)


def _from_exponent(match: re.Match[bytes]) -> bytes:
    """A whole number as spreadsheets and floating point write it, without its last zeros."""
    exponent = int(match[2])
    digits = match.string[match.start() - 1 : match.start()] + match[1]
    return digits.ljust(exponent + 1, b"0") if len(digits) <= exponent + 1 else b""


def _from_emv(match: re.Match[bytes]) -> bytes:
    return match[2][: 2 * int(match[1], 16)].rstrip(b"Ff")


def _from_escapes(match: re.Match[bytes]) -> bytes:
    return _from_hex(match).replace(b"\x00", b"")


def _from_iso8583(match: re.Match[bytes]) -> bytes:
    """The number, if a processing code and an amount of less than ten million follow."""
    length = int(match[1])
    number, next_fields = match[2][:length], match[2][length:]
    return number if _NEXT_FIELDS.match(next_fields) else b""


def _without_zero_bytes(match: re.Match[bytes]) -> bytes:
    return match[0].replace(b"\x00", b"")


_NEXT_FIELDS = re.compile(rb"[0-3][0-9](?:[0-6]0){2}000[0-9]{9}")
# A line's place in the file begins with 0, as long as the file is not huge: a search for that is quick.
_DUMP_LINE = rb"[0-9A-Fa-f]{3,15}:?[ \t]{1,4}((?:[0-9A-Fa-f]{2} {0,2}){4,16})"


def _dump(line_start: bytes) -> re.Pattern[bytes]:
    """At least two lines; the first is spelled out, since a search is quick only for what stands outside a repeat."""
    line = line_start + _DUMP_LINE + rb"[^\n]{0,40}"
    return re.compile(line + rb"(?:" + line + rb")+")


_DIGIT_ESCAPED = rb"(?:3[0-9]|" + _SIGN_HEX + rb")"

FORMS = (
    # Magnetic stripe, track 1 (ISO/IEC 7813): format B, number, name.
    Form("track 1", re.compile(rb"[Bb](?<![0-9A-Za-z][Bb])([0-9]{13,19})\^"), _first_group),
    Form("text", re.compile(rb"[Nn](?<=[Pp][Aa][Nn])([0-9]{13,19})(?![0-9])"), _first_group),
    Form(
        "exponent",
        re.compile(rb"\.(?<=[1-9]\.)(?<![0-9.][1-9]\.)([0-9]{11,18})[eE]\+?(1[2-8])(?![0-9])"),
        _from_exponent,
    ),
    # EMV's tag 5A and length in hexadecimal digits.
    Form("emv in hex", re.compile(rb"5[Aa]0([7-9Aa])([0-9]{13,19}[Ff]?)"), _from_emv),
    # ISO 8583 in letters: length, field 2, then field 3 (a processing code) and field 4 (an amount).
    Form("iso 8583", re.compile(rb"(1[3-9])(?=([0-9]{31,37}))"), _from_iso8583),
    Form("escaped", re.compile(rb"\\u00(?:" + _DIGIT_ESCAPED + rb"\\u00){12,39}3[0-9]"), _from_escapes),
    Form(
        "hex",
        re.compile(rb"3[0-9](?<!3[0-9]3[0-9])(?:[ :]?" + _DIGIT_ESCAPED + rb"){11,39}[ :]?3[0-9](?!3[0-9])"),
        _from_hex,
    ),
    Form("hex dump", _dump(rb"\n0"), _from_dump),
    Form("hex dump", _dump(rb"\n\t0x"), _from_dump),
    Form(
        "utf-16 or 32",
        re.compile(rb"[0-9](\x00(?:\x00\x00)?)(?:[0-9 .\-]\1){11,39}[0-9]"),
        _without_zero_bytes,
    ),
    Form(
        "ebcdic",
        re.compile(rb"[\xf0-\xf9](?<![\xf0-\xf9]{2})[\xf0-\xf9]{12,18}(?![\xf0-\xf9])"),
        lambda match: match[0].decode("cp037").encode(),
    ),
)

# SIP INFO (``Signal=4``), Asterisk (``DTMF begin '4'``), FreeSWITCH (``RECV DTMF 4:480``), others' ``key=4`` and
# ``"digit": "4"``.
_KEY = re.compile(
    rb"[SsDdKk](?:ignal|IGNAL|tmf|TMF|igit|IGIT|ey|EY)[A-Za-z_]{0,10}"
    rb"(?:[\"']?[ \t]{0,2}[=:][ \t]?[\"']?|[ \t](?:[A-Za-z]{1,9}[ \t])?['\"]?|\()"
    rb"([0-9*#])[\"']?(?![0-9A-Za-z.*\-])"
)
_NOTHING_BUT_KEYS = re.compile(rb"(?i:signal[ \t]*=|dtmf)")


def numbers_in_forms(data: bytes) -> Iterator[tuple[int, str, str]]:
    """Card numbers in the forms of the table, as position, form and digits."""
    from_line_start = b"\n" + data
    for form in FORMS:
        for match in form.pattern.finditer(from_line_start):
            for _, digits in numbers_in_text(form.text(match)):
                yield max(0, match.start() - 1), form.how, digits
    for offset, digits in numbers_in_keys(data):
        yield offset, "keys", digits


def numbers_in_keys(data: bytes) -> Iterator[tuple[int, str]]:
    """Card numbers of which a log or trace tells one key at a time, always in the same words."""
    runs: dict[bytes, list[tuple[int, str]]] = {}
    for match in _KEY.finditer(data):
        words = data[match.start() : match.start(1)]
        run = runs.setdefault(words, [])
        if run and match.start() - run[-1][0] > _BETWEEN_KEYS_BYTES:
            yield from _numbers_in_run(words, run)
            run.clear()
        run.append((match.start(), match[1].decode()))
    for words, run in runs.items():
        yield from _numbers_in_run(words, run)


def _numbers_in_run(words: bytes, run: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Where nothing but keys is told so, a number may begin anywhere; else after a pause, ``#`` or ``*`` only."""
    keys = "".join(key for _, key in run)
    for part in re.finditer(r"[0-9]{13,}", keys):
        last = len(part[0]) - SHORTEST if _NOTHING_BUT_KEYS.match(words) else 0
        for first in range(last + 1):
            number = _number_keyed(part[0][first:])
            if number is not None:
                yield run[part.start() + first][0], number


def _number_keyed(keys: str) -> str | None:
    """The number with which these keys begin."""
    beginnings = (keys[:length] for length in (16, 15, 14, LONGEST))
    return next((digits for digits in beginnings if is_usual_number(digits)), number_at_start(keys))
