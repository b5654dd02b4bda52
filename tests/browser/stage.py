"""What the stories share: how the panel words things in each language, and the cards that they are paid with."""

from __future__ import annotations

from paycall.domain.declines import DeclineText, decline_for
from paycall.panel.languages import money, translations

STATE = "#payment[data-state={}]"
# The simulator's: what becomes of a charge is in the number.
GOOD, EXPIRED, POOR, WRONG_CODE, SLOW = (
    "4242424242424242",
    "4000000000000069",
    "4000000000009995",
    "4000000000000127",
    "4000000000000259",
)


def say(language: str, text: str, **values: object) -> str:
    """The text as the catalogue has it; a test that asks for one that is not there would pass on English."""
    found = translations(language).gettext(text)
    assert language == "en" or found != text, f"{language}: not in the catalogue: {text}"
    return plain(found % values if values else found)


def say_many(language: str, one: str, many: str, num: int) -> str:
    """The text for so many, in the catalogue's own plural form."""
    found = translations(language).ngettext(one, many, num)
    assert language == "en" or found not in (one, many), f"{language}: not in the catalogue: {one}"
    return plain(found % {"num": num})


def say_decline(language: str, code: str) -> DeclineText:
    """What happened and what to say when the simulator answers this code."""
    return decline_for("iso8583_de39", code).text(language)


def shown_money(amount_minor: int, language: str, currency: str = "EUR") -> str:
    """An amount as the language writes it, as a page's text has it."""
    return plain(money(amount_minor, currency, language))


def plain(text: str) -> str:
    """With plain spaces, as a browser hands texts over."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")
