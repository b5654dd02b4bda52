"""Whether free text holds a card number: one that a caller said aloud must not be written down.

People write a card in groups, with its date and code beside it, and with signs between of many kinds. So a number is
looked for from the beginning of every group of digits on, whatever stands between the groups, in any script's digits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from paycall.domain.card import brand_of, check_number, luhn_valid

_SHORTEST, _LONGEST = 12, 19
# More signs than this between two groups, or a letter, and they are not one number.
_MOST_BETWEEN = 3


def holds_card_number(text: str) -> bool:
    """Whether a valid number of a known brand stands in the text, alone or with other digits behind it."""
    for groups in _runs(text):
        digits = "".join(groups)
        start = 0
        for group in groups:
            lengths = range(_SHORTEST, min(_LONGEST, len(digits) - start) + 1)
            if any(_is_card_number(digits[start : start + length]) for length in lengths):
                return True
            start += len(group)
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
