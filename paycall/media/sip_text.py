"""Reads what paycall needs from a SIP message's text. Pure; a malformed message gives fewer headers, no error."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPACT = {
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "v": "via",
    "c": "content-type",
    "l": "content-length",
    "k": "supported",
    "r": "refer-to",
    "b": "referred-by",
}
_TAG = re.compile(r";\s*tag\s*=\s*([^\s;,>]+)", re.IGNORECASE)
_URI = re.compile(r"<\s*([^>\s]+)\s*>|((?:sips?|tel):[^\s;,>]+)", re.IGNORECASE)
_OPERATOR = re.compile(r"[A-Za-z0-9._@+-]{1,60}")
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}")
_BETWEEN_DIGITS = re.compile(r"[-.()]")  # RFC 3966's visual separators
_FOLDED = re.compile(r"\n[ \t]+")
_BETWEEN_VALUES = re.compile(r",(?![^<]*>)")  # no comma inside brackets
_USER = re.compile(r"^(?:sips?|tel):(?:([^@;?]+)@)?([^;?]+)", re.IGNORECASE)


@dataclass(frozen=True)
class SipMessage:
    """A message's first line, its headers (lower-case names, in order) and its body."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]

    def first(self, name: str) -> str:
        """The first value of a header, or an empty text."""
        return next((value for header, value in self.headers if header == name), "")


def parse_message(text: str) -> SipMessage:
    """Split a message as it came over the wire."""
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    head = _FOLDED.sub(" ", head)
    start, *lines = head.split("\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            headers.append((_COMPACT.get(key, key), value.strip()))
    return SipMessage(start.strip(), tuple(headers), body)


def tag_of(value: str) -> str:
    """The tag of a From or To value, or an empty text."""
    found = _TAG.search(value)
    return found.group(1) if found else ""


def uri_of(value: str) -> str:
    """The URI of a From, To, Contact or Refer-To value, without its brackets."""
    found = _URI.search(value)
    return (found.group(1) or found.group(2)) if found else ""


def user_of(uri: str) -> str:
    """The part before the @ (a number or a name); the host where there is none."""
    found = _USER.match(uri)
    if found is None:
        return ""
    return found.group(1) or found.group(2)


def operator_in(message: SipMessage, header: str) -> str:
    """The operator's account or extension that this header names, or an empty text."""
    value = message.first(header.lower())
    return value if _OPERATOR.fullmatch(value) else ""


def number_in(message: SipMessage) -> str:
    """The telephone number that a request is for, without what phones put between its digits; or an empty text."""
    uri = [*message.start.split(" "), ""][1]
    user = user_of(uri) if "@" in uri or uri.lower().startswith("tel:") else ""
    number = _BETWEEN_DIGITS.sub("", user.replace("%23", "#"))
    return number if _NUMBER.fullmatch(number) else ""


def split_list(values: list[str]) -> list[str]:
    """Split comma-separated header values (Record-Route), commas inside brackets left alone."""
    return [part.strip() for value in values for part in _BETWEEN_VALUES.split(value) if part.strip()]
