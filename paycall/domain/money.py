"""Amounts: an integer number of minor units and an ISO 4217 code. No floating point anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

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
        """Read what a person typed: ``19.99``, ``19,99``, ``1 999``.

        Raises
        ------
        InputError
            If it is not an amount in this currency.
        """
        plain = text.strip().replace(" ", "").replace("\u00a0", "").replace(",", ".")
        places = exponent(currency)
        try:
            minor = Decimal(plain).scaleb(places)
        except InvalidOperation:
            raise InputError("the amount is not a number") from None
        if not minor.is_finite() or minor != minor.to_integral_value():
            raise InputError("the amount has more decimals than the currency")
        return cls(int(minor), currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, with the currency's decimals."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def __str__(self) -> str:
        return f"{self.currency} {self.decimal:,.{exponent(self.currency)}f}"
