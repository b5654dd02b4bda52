"""Cards without their numbers: brands, issuer ranges, lengths, the Luhn digit, expiry dates.

The functions take plain digits and keep none of them. Ranges are those that the schemes publish for
merchants' routing (first six to eight digits, ISO/IEC 7812). Where ranges lie inside each other the narrower one
counts; a card that runs on two networks has the brand that issued it, and is accepted where either is.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum

from paycall.domain.errors import CardDataError
from paycall.domain.fields import CaptureError


@dataclass(frozen=True)
class BrandRule:
    """What a brand's numbers look like.

    ``ranges`` are pairs of first and last prefix of equal length; ``code_length`` is the security code's.
    ``luhn`` is false where the scheme has issued numbers without a check digit.
    """

    name: str
    ranges: tuple[tuple[str, str], ...]
    lengths: tuple[int, ...]
    code_length: int = 3
    luhn: bool = True


class Brand(Enum):
    """The brands that paycall tells apart, by the name that programs see."""

    PROSTIR = "prostir"
    MIR = "mir"
    AMEX = "amex"
    JCB = "jcb"
    DINERS = "diners"
    DISCOVER = "discover"
    UNIONPAY = "unionpay"
    MASTERCARD = "mastercard"
    VISA = "visa"
    MAESTRO = "maestro"

    @property
    def rule(self) -> BrandRule:
        """What this brand's numbers look like."""
        return _RULES[self]


def _from_to(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


_RULES: dict[Brand, BrandRule] = {
    Brand.PROSTIR: BrandRule("Prostir", (("9804", "9804"),), (16,)),
    Brand.MIR: BrandRule("Mir", (("2200", "2204"),), _from_to(16, 19)),
    Brand.AMEX: BrandRule("American Express", (("34", "34"), ("37", "37")), (15,), code_length=4),
    Brand.JCB: BrandRule("JCB", (("3528", "3589"),), _from_to(16, 19)),
    Brand.DINERS: BrandRule(
        "Diners Club", (("300", "305"), ("3095", "3095"), ("36", "36"), ("38", "39")), _from_to(14, 19)
    ),
    Brand.DISCOVER: BrandRule("Discover", (("6011", "6011"), ("644", "649"), ("65", "65")), _from_to(16, 19)),
    # UnionPay once issued numbers without a check digit; some are still in use (braintree/card-validator #112).
    Brand.UNIONPAY: BrandRule("UnionPay", (("62", "62"), ("8100", "8171")), _from_to(16, 19), luhn=False),
    Brand.MASTERCARD: BrandRule("Mastercard", (("51", "55"), ("2221", "2720")), (16,)),
    Brand.VISA: BrandRule("Visa", (("4", "4"),), (13, 16, 19)),
    Brand.MAESTRO: BrandRule(
        "Maestro", (("50", "50"), ("56", "59"), ("60", "61"), ("63", "63"), ("66", "69")), _from_to(12, 19)
    ),
}
# UnionPay cards that Discover's network carries too, in North America.
_UNIONPAY_ON_DISCOVER = ("622126", "622925")
_UNKNOWN_LENGTHS = _from_to(12, 19)
_PREFIX_DIGITS = 6  # the longest prefix in the table
MAX_EXPIRY_YEARS = 20


def _segments() -> tuple[list[int], list[Brand | None]]:
    """All six-digit prefixes in order, as neighbouring segments of one brand: their starts, and their brands."""
    ranges = [
        (len(first), int(first.ljust(_PREFIX_DIGITS, "0")), int(last.ljust(_PREFIX_DIGITS, "9")), brand)
        for brand, rule in _RULES.items()
        for first, last in rule.ranges
    ]
    starts: list[int] = []
    brands: list[Brand | None] = []
    for start in sorted({0, *(low for _, low, _, _ in ranges), *(high + 1 for _, _, high, _ in ranges)}):
        covering = {length: brand for length, low, high, brand in ranges if low <= start <= high}
        narrowest = covering[max(covering)] if covering else None
        if not brands or brands[-1] is not narrowest:
            starts.append(start)
            brands.append(narrowest)
    return starts, brands


_STARTS, _BRANDS = _segments()


def brand_of(digits: str) -> Brand | None:
    """The brand of a number or of its beginning, as soon as no other is possible; else None."""
    prefix = digits[:_PREFIX_DIGITS]
    if not _all_digits(prefix):
        return None
    first = bisect_right(_STARTS, int(prefix.ljust(_PREFIX_DIGITS, "0")))
    last = bisect_right(_STARTS, int(prefix.ljust(_PREFIX_DIGITS, "9")))
    return _BRANDS[first - 1] if first == last else None


def luhn_valid(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = ord(char) - 48
        if index % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return bool(digits) and total % 10 == 0


def check_number(digits: str, accepted: frozenset[Brand] | None = None) -> CaptureError | None:
    """What is wrong with a keyed card number, or None.

    ``accepted`` limits the brands; None accepts all, unknown ones included. A leading 0 is no card's: ISO/IEC
    7812 keeps it for other uses, and a caller who holds the 0 to reach somebody would pass the Luhn check.
    """
    brand = brand_of(digits)
    lengths = brand.rule.lengths if brand else _UNKNOWN_LENGTHS
    if not _all_digits(digits) or digits[0] == "0" or len(digits) not in lengths:
        return CaptureError.INVALID_CARD_NUMBER
    if (brand is None or brand.rule.luhn) and not luhn_valid(digits):
        return CaptureError.INVALID_CARD_NUMBER
    if accepted is not None and brand not in accepted and not _carried_by(accepted, digits):
        return CaptureError.INVALID_CARD_TYPE
    return None


def _all_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _carried_by(accepted: frozenset[Brand], digits: str) -> bool:
    """Whether a second network, which is accepted, carries the card too."""
    first, last = _UNIONPAY_ON_DISCOVER
    return Brand.DISCOVER in accepted and first <= digits[: len(first)] <= last


def number_is_final(digits: str) -> bool:
    """Whether a valid number of this length can't be the beginning of a longer one of its brand."""
    brand = brand_of(digits)
    return len(digits) == max(brand.rule.lengths if brand else _UNKNOWN_LENGTHS)


def code_length(brand: Brand | None) -> int | None:
    """How long the brand's security code is; None while the brand is not known (three or four)."""
    return brand.rule.code_length if brand else None


@dataclass(frozen=True, order=True)
class Expiry:
    """The last month in which a card is good."""

    year: int
    month: int

    @classmethod
    def parse(cls, digits: str) -> Expiry:
        """Read the four keyed digits MMYY.

        Raises
        ------
        CardDataError
            With ``invalid-date``.
        """
        if not (len(digits) == 4 and _all_digits(digits) and 1 <= int(digits[:2]) <= 12):
            del digits  # a traceback that shows variables would show it
            raise CardDataError(CaptureError.INVALID_DATE)
        return cls(year=2000 + int(digits[2:]), month=int(digits[:2]))

    def good_in(self, year: int, month: int) -> bool:
        """Whether the card is good in that month, and the date not absurdly far ahead."""
        return (year, month) <= (self.year, self.month) and self.year <= year + MAX_EXPIRY_YEARS

    def __str__(self) -> str:
        return f"{self.month:02d}/{self.year % 100:02d}"
