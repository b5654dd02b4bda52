"""When a keyed field is over, and what is wrong with it. The functions take plain digits and keep none of them."""

from __future__ import annotations

from paycall.domain.card import Brand, Expiry, check_number, code_length, number_is_final
from paycall.domain.errors import CardDataError
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import MAX_POSTAL_CODE_LENGTH, CaptureRules


def is_final(field: Field, digits: str, brand: Brand | None) -> bool:
    """Whether the field's length leaves no doubt that it is over.

    ``brand`` is the captured card's; it says how long the security code is.
    """
    match field:
        case Field.CARD_NUMBER:
            return number_is_final(digits)
        case Field.EXPIRY:
            return len(digits) == 4
        case Field.SECURITY_CODE:
            return len(digits) == (code_length(brand) or 4)
        case Field.POSTAL_CODE:
            return len(digits) == MAX_POSTAL_CODE_LENGTH


def check_field(
    field: Field, digits: str, rules: CaptureRules, brand: Brand | None, today: tuple[int, int]
) -> CaptureError | None:
    """What is wrong with a field that ended, or None. ``today`` is year and month."""
    match field:
        case Field.CARD_NUMBER:
            return check_number(digits, frozenset(Brand(name) for name in rules.brands) or None)
        case Field.EXPIRY:
            try:
                good = Expiry.parse(digits).good_in(*today)
            except CardDataError:
                good = False
            return None if good else CaptureError.INVALID_DATE
        case Field.SECURITY_CODE:
            wanted = code_length(brand)
            fits = len(digits) == wanted if wanted else len(digits) in (3, 4)
            return None if fits else CaptureError.INVALID_SECURITY_CODE
        case Field.POSTAL_CODE:
            fits = rules.min_postal_code_length <= len(digits) <= MAX_POSTAL_CODE_LENGTH
            return None if fits else CaptureError.INVALID_POSTAL_CODE
