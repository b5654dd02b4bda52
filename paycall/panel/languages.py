"""The panel's languages: gettext catalogues, read from their ``.po`` files when first needed.

Rules: English is the language of the sources. A catalogue is compiled in memory, so that the tree holds only
what people edit. Money and dates are written as the language writes them (Babel).
"""

from __future__ import annotations

import gettext
import io
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from babel.dates import format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency

from paycall.domain.money import Money, exponent

LANGUAGES: dict[str, str] = {"en": "English", "ru": "Русский", "uk": "Українська", "hu": "Magyar"}
DOMAIN = "panel"
_MOMENTS = {"hu": "y. MMM d. HH:mm"}  # the year first
CATALOGUES = Path(__file__).parent / "translations"


@lru_cache(maxsize=len(LANGUAGES))
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; for English, and any other name, the source's own words."""
    source = CATALOGUES / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if language == "en" or language not in LANGUAGES or not source.exists():
        return gettext.NullTranslations()
    with source.open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def money(amount_minor: int, currency: str, language: str) -> str:
    """An amount as the language writes it: €1,999.50 or 1 999,50 €."""
    Money(amount_minor, currency)  # an amount of a payment: never nothing, never too much
    return sum_money(amount_minor, currency, language)


def sum_money(amount_minor: int, currency: str, language: str) -> str:
    """A sum of amounts, which may be nothing or very much."""
    value = Decimal(amount_minor).scaleb(-exponent(currency))
    return format_currency(value, currency, locale=_locale(language), currency_digits=True)


def moment(value: datetime, language: str) -> str:
    """Date and time, to the minute."""
    return format_datetime(
        value.astimezone(), _MOMENTS.get(language, "d MMM y HH:mm"), locale=_locale(language)
    )


def clock_time(value: datetime, language: str) -> str:
    """The time of day, to the second."""
    return format_time(value.astimezone(), "HH:mm:ss", locale=_locale(language))


def preferred(accept_language: str, default: str) -> str:
    """The first of our languages that a browser asks for."""
    for part in accept_language.split(","):
        name = part.partition(";")[0].strip().lower().partition("-")[0]
        if name in LANGUAGES:
            return name
    return default


def _locale(language: str) -> str:
    return language if language in LANGUAGES else "en"
