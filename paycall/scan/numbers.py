"""What counts as a card number in plain text: 13 to 19 digits of a known brand, with their check digit.

Digits may stand together, in the groups that people write, or one by one with the same separator. A number
inside a longer word, a decimal fraction (with a point) or a table of four-digit columns is none. Twelve-digit
Maestro numbers are left out: no bank issues them, and every UUID would be suspect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from paycall.domain.card import Brand, brand_of, luhn_valid
from paycall.vault.sandbox_cards import is_test_number

SHORTEST, LONGEST = 13, 19
# The digit comes first and the look back after it: so the search jumps from digit to digit.
_FIRST = rb"[0-9](?<![0-9A-Za-z][0-9])(?<![0-9]\.[0-9])(?<![0-9A-Fa-f]-[0-9])"
# A whole number in floating point ends in ".0".
_NOT_BEFORE = rb"(?![0-9A-Za-z])(?!\.(?!0{1,2}(?![0-9.]))[0-9])"
_TOGETHER = re.compile(_FIRST + rb"[0-9]{12,26}" + _NOT_BEFORE)
_GROUPS = re.compile(
    _FIRST
    + rb"[0-9]{3}(?:([ .\-])[0-9]{4}\1[0-9]{4}\1[0-9]{1,4}(?:\1[0-9]{1,3})?"
    + rb"|([ .\-])[0-9]{6}\2[0-9]{4,5}|([ .\-])[0-9]{4}\3[0-9]{5})"
    + _NOT_BEFORE
)
# What else people and programs put between groups: a blank of Unicode, of HTML, of a URL, of quoted-printable;
# columns, brackets, lines. Only whole numbers that are issued, and nothing of the kind before or after.
_OTHER_GROUPS = re.compile(
    _FIRST
    + rb"[0-9]{3}([+/_\t,;|]|  |\r?\n|, |\xc2\xa0|\xe2\x80[\x80-\x95\xaf]|&nbsp;|&#160;|%20|%C2%A0|=20|\) ?\()"
    rb"(?:[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{6}\1[0-9]{5})(?![0-9A-Za-z])(?!\.[0-9])"
)
_APART = re.compile(
    rb"[0-9](?<![0-9A-Za-z][0-9])(?<![0-9][.,][0-9])(?<![0-9A-Fa-f]-[0-9])"
    rb"([ .,\-:;\t]|, |\r?\n|[\"'], ?[\"'])(?:[0-9]\1){11,25}[0-9](?![0-9A-Za-z])"
)
# A table of four-digit (or hexadecimal) columns; what could be an expiry (MMYY) after the number is none.
_EARLIER_COLUMN = re.compile(
    rb"(?<![0-9A-Za-z])(?:[0-9]{4,5}[ .\-]|(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{4,5}[ .\-\n])\Z|[.\-]\Z"
)
_NEXT_COLUMN = re.compile(
    rb"[ .\-](?!(?:0[1-9]|1[0-2])[0-9]{2})[0-9]{4}(?![0-9A-Za-z])"
    rb"|[ .\-\n](?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{4,5}(?![0-9A-Za-z])|[.\-][0-9]{1,5}[.\-]"
)
_WORD_AT_END = re.compile(rb"[0-9A-Za-z]\Z")
_EXPIRY = re.compile(rb"(?:0[1-9]|1[0-2])[2-4][0-9](?![0-9A-Za-z])")
# The lengths in which most cards are issued: the rarer ones fit too much else.
_USUAL_LENGTHS = {Brand.AMEX: (15,), Brand.DINERS: (14,)}
_NOT_DIGIT = bytes(set(range(256)) - set(b"0123456789"))


def is_card_number(digits: str) -> bool:
    """Whether these digits are a whole card number of a known brand."""
    brand = brand_of(digits)
    return (
        brand is not None
        and SHORTEST <= len(digits) <= LONGEST
        and len(digits) in brand.rule.lengths
        and luhn_valid(digits)
    )


def is_usual_number(digits: str) -> bool:
    """Whether this is a card number of a length that its brand issues today, or one that is published for tests."""
    lengths = _USUAL_LENGTHS.get(brand_of(digits) or Brand.VISA, (16, 19))
    return is_card_number(digits) and (len(digits) in lengths or is_test_number(digits))


def number_at_start(digits: str) -> str | None:
    """The card number that a run of digits is, or begins with if expiry (MMYY) and perhaps a code follow."""
    if len(digits) <= LONGEST:
        return digits if is_card_number(digits) else None
    for length in range(SHORTEST, LONGEST + 1):
        rest = digits[length:]
        expiry_follows = "01" <= rest[:2] <= "12" and "20" <= rest[2:4] <= "45" and len(rest) in (4, 7, 8)
        if expiry_follows and is_card_number(digits[:length]):
            return digits[:length]
    return None


def numbers_in_text(data: bytes) -> Iterator[tuple[int, str]]:
    """Card numbers in ASCII text, as position and digits."""
    for match in _TOGETHER.finditer(data):
        if number := number_at_start(match[0].decode()):
            yield match.start(), number
    for match in _GROUPS.finditer(data):
        if _EARLIER_COLUMN.search(data[max(0, match.start() - 6) : match.start()]):
            continue
        groups = match[0].split(match[1] or match[2] or match[3])
        for taken in (groups, groups[:4]):  # the fifth group may be the expiry
            end = match.start() + sum(map(len, taken)) + len(taken) - 1
            digits = b"".join(taken).decode()
            if not is_card_number(digits) or _NEXT_COLUMN.match(data[end : end + 8]):
                continue
            if len(digits) > SHORTEST or is_test_number(digits):  # nobody groups thirteen digits any more
                yield match.start(), digits
                break
    for match in _OTHER_GROUPS.finditer(data):
        between = match[1]
        digits = b"".join(match[0].split(between)).decode()
        if is_usual_number(digits) and not _in_a_table(data, match.span(), between):
            yield match.start(), digits
    for match in _APART.finditer(data):
        if number := number_at_start(match[0].translate(None, _NOT_DIGIT).decode()):
            yield match.start(), number


def _in_a_table(data: bytes, span: tuple[int, int], between: bytes) -> bool:
    """Whether the groups go on before or after, with anything but what could be an expiry."""
    start, end = span
    before = data[max(0, start - len(between) - 1) : start]
    if before.endswith(between) and _WORD_AT_END.search(before.removesuffix(between)):
        return True
    after = data[end : end + len(between) + 8]
    if not after.startswith(between):
        return False
    following = after.removeprefix(between).lstrip(b" \t")
    return following[:1].isalnum() and not _EXPIRY.match(following)


def count_of_shape(data: bytes) -> int:
    """How many numbers in ASCII text have a brand's prefix and length, whatever their check digit."""
    together = (match[0] for match in _TOGETHER.finditer(data))
    grouped = (match[0].translate(None, _NOT_DIGIT) for match in _GROUPS.finditer(data))
    return sum(_has_shape(digits.decode()) for digits in chain(together, grouped))


def _has_shape(digits: str) -> bool:
    brand = brand_of(digits)
    return brand is not None and len(digits) in brand.rule.lengths
