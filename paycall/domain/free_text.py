"""Whether free text holds a card number: one that a caller said aloud must not be written down.

People write a card in groups, with its date and code beside it, with signs between of many kinds and in any script's
digits. They write telephone numbers, dates and accounts, too, and who is warned of those stops to listen: so digits
count as one number only where they are parted as a card's are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from paycall.domain.card import brand_of, check_number, luhn_valid

_SHORTEST, _LONGEST = 12, 19
# More signs than this between two groups, or a letter, and they are not one number.
_MOST_BETWEEN = 3
_LIKE_AMEX_OR_DINERS = ((4, 6, 5), (4, 6, 4))


def holds_card_number(text: str) -> bool:
    """Whether a valid number of a known brand stands in the text, alone or among other digits."""
    return any(
        any(_is_card_number("".join(groups[start:end])) for start, end in _parts(groups))
        or any(_begins_with_card_number(group) for group in groups)
        for groups in _runs(text)
    )


def _parts(groups: list[str]) -> Iterator[tuple[int, int]]:
    """Neighbouring groups that are as long together as a card number, and parted as people part one."""
    for start in range(len(groups)):
        digits = 0
        for end in range(start + 1, len(groups) + 1):
            digits += len(groups[end - 1])
            if digits > _LONGEST:
                break
            if digits >= _SHORTEST and _is_parted_like_a_card([len(group) for group in groups[start:end]]):
                yield start, end


def _is_parted_like_a_card(lengths: list[int]) -> bool:
    """Not at all, as on a card (4-4-4-4, 4-6-5), or in ones or twos."""
    *before, last = lengths
    return (
        not before
        or tuple(lengths) in _LIKE_AMEX_OR_DINERS
        or (before[0] in (1, 2, 4) and len(set(before)) == 1 and last <= before[0])
    )


def _begins_with_card_number(group: str) -> bool:
    """Whether date and code, or one of them, are written on without a sign between."""
    for length in range(_SHORTEST, min(_LONGEST, len(group)) + 1):
        behind = group[length:]
        dated = len(behind) in (4, 7, 8) and 1 <= int(behind[:2]) <= 12
        if (dated or len(behind) == 3) and _is_card_number(group[:length]):
            return True
    return False


def _is_card_number(digits: str) -> bool:
    # Some brands have issued numbers without a check digit; those are too much like any other number.
    return brand_of(digits) is not None and check_number(digits) is None and luhn_valid(digits)


def _runs(text: str) -> Iterator[list[str]]:
    """Groups of digits that only a few signs part from each other."""
    groups: list[str] = []
    between = 0
    for character in unicodedata.normalize("NFKC", text):
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            if groups and not between:
                groups[-1] += str(digit)
            else:
                groups.append(str(digit))
            between = 0
        elif character.isalnum() or between == _MOST_BETWEEN:
            if groups:
                yield groups
            groups, between = [], 0
        elif groups:
            between += 1
    if groups:
        yield groups
