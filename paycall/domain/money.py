"""Amounts: an integer number of minor units and an ISO 4217 code. No floating point anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from paycall.domain.errors import InputError

# ISO 4217:2015 and amendments up to 177: currencies whose minor unit is not 1/100.
_EXPONENTS: dict[str, int] = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
CURRENCIES: frozenset[str] = frozenset(_EXPONENTS) | frozenset(
    """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP
    CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN
    NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
    STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG""".split()
)
MAX_AMOUNT_MINOR = 10**11
# Whole part, its sign for thousands (blank, no-break blanks, apostrophe, comma, point), decimals.
_AMOUNT = re.compile(
    r"(?P<whole>[0-9]+|[0-9]{1,3}(?P<group>[ \u00a0\u2009\u202f'.,])[0-9]{3}(?:(?P=group)[0-9]{3})*)"
    r"(?:(?P<sign>[.,])(?P<decimals>[0-9]+))?"
)
_MAX_TYPED_CHARS = 40


def exponent(currency: str) -> int:
    """How many decimals the currency has (0, 2, 3 or 4).

    Raises
    ------
    InputError
        If there is no such currency.
    """
    if currency not in CURRENCIES:
        raise InputError("currency must be an ISO 4217 code in capitals")
    return _EXPONENTS.get(currency, 2)


@dataclass(frozen=True)
class Money:
    """A positive amount, such as ``Money(1999, "EUR")`` for EUR 19.99.

    Raises
    ------
    InputError
        If the currency is unknown, or the amount not a whole number between 1 and 10**11.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)
        if isinstance(self.amount_minor, bool) or not isinstance(self.amount_minor, int):
            raise InputError("amount_minor must be a whole number of minor units")
        if not 0 < self.amount_minor <= MAX_AMOUNT_MINOR:
            raise InputError("amount_minor must be more than 0 and at most 10**11")

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Read what a person typed: ``1999.50``, ``1999,50``, ``1 999,50``, ``1,999.50``, ``1.999,50``.

        Thousands are grouped in threes, by one sign throughout. Where one sign could be either a decimal or a
        thousands sign (``1,999``) the amount is refused: a mistake of a factor of a thousand is worse than
        typing again. Only a point before three digits is taken for decimals, in currencies that have as many.

        Raises
        ------
        InputError
            If it is not an amount in this currency, or not certainly one.
        """
        places = exponent(currency)
        plain = text.strip()
        match = _AMOUNT.fullmatch(plain) if len(plain) <= _MAX_TYPED_CHARS else None
        if match is None:
            raise InputError("the amount is not a number that can be read; write it like 1999.50")
        whole, sign, decimals = match["whole"], match["sign"], match["decimals"] or ""
        like_thousands = len(decimals) == 3 and re.fullmatch("[1-9][0-9]{0,2}", whole)
        if (like_thousands and (sign == "," or places < 3)) or (sign and sign == match["group"]):
            raise InputError("the amount can be read in two ways; write it without a sign for thousands")
        if len(decimals) > places:
            raise InputError("the amount has more decimals than the currency")
        digits = "".join(char for char in whole if char.isdigit())
        return cls(int(digits + decimals.ljust(places, "0")), currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, with the currency's decimals."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def __str__(self) -> str:
        return f"{self.currency} {self.decimal:,.{exponent(self.currency)}f}"
