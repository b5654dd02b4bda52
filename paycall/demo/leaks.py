"""Searches what a payment left behind for the card that was keyed.

A card number is long enough to be searched for as bytes, everywhere, in the ways in which software writes one down
(plain, grouped, wide characters, base64, hexadecimal, packed decimal, as an integer, backwards, hashed without a
key). A security code of three digits is not: any database holds those three bytes by chance. It is searched for
where it can be told from chance: as a whole value or a whole word in JSON, in a log line, in a database's cell, and
as bytes only next to a name or a quotation mark. The expiry is not searched for: the operator may see it.

The search itself is tested in every run: it has to find an identifier of the payment that is known to be there.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paycall.demo.cards import TestCard

_PART = 12
"""So many digits in a row from either end of a number are taken for the number."""
_CODE_NAMES = rb"code|cvc|cvv|cvn|csc|security|value|digits?|keys?|signal|field"


@dataclass(frozen=True)
class Finding:
    """Card data in a place where it must not be. It names the place and the form, never the data."""

    place: str
    what: str


@dataclass
class Searcher:
    """Knows every form of the cards that were keyed."""

    cards: Sequence[TestCard] = field(repr=False)

    def __post_init__(self) -> None:
        self._forms = {form: what for card in self.cards for form, what in number_forms(card.number)}
        codes = b"|".join(card.security_code.encode() for card in self.cards)
        # As a whole value in JSON, or up to 16 bytes behind a name that a code would be kept under.
        self._code_in_bytes = re.compile(
            rb'["\'](?:%s)["\']|(?:%s)\W{1,16}(?:%s)(?![0-9.])' % (codes, _CODE_NAMES, codes), re.IGNORECASE
        )
        self._code_as_word = re.compile(rb"(?<![0-9A-Za-z.:_-])(?:%s)(?![0-9A-Za-z.:_-])" % codes)
        self._codes = {card.security_code for card in self.cards}

    def in_bytes(self, data: bytes, place: str) -> list[Finding]:
        """Search bytes of any kind."""
        found = [Finding(place, what) for form, what in self._forms.items() if form in data]
        found += [Finding(place, "security code") for _ in self._code_in_bytes.finditer(data)]
        return found

    def in_text(self, data: bytes, place: str) -> list[Finding]:
        """Search text, where a security code could also stand as a word of its own."""
        found = self.in_bytes(data, place)
        if self._code_as_word.search(data):
            found.append(Finding(place, "security code as a word"))
        return found

    def in_file(self, path: Path, skip: int = 0) -> list[Finding]:
        """Search a file by what it is; ``skip`` leaves out its first bytes."""
        data = path.read_bytes()[skip:]
        if path.suffix == ".sqlite3":
            return self.in_bytes(data, path.name) + self.in_database(path)
        return self.in_bytes(data, path.name) if ".sqlite3" in path.name else self.in_text(data, path.name)

    def in_database(self, path: Path) -> list[Finding]:
        """Read every cell of an SQLite file: a security code may be a whole value of any type."""
        found = []
        for table, column, value in cells(path):
            place = f"{path.name}: {table}.{column}"
            if isinstance(value, bytes):
                found += self.in_bytes(value, place)
                whole = value.decode("ascii", "replace")
            else:
                whole = str(value)
                found += self.in_bytes(whole.encode(), place)
            if whole in self._codes:
                found.append(Finding(place, "security code as a value"))
        return found


def cells(path: Path) -> Iterator[tuple[str, str, object]]:
    """Table, column and value of everything in an SQLite file; nothing where it is not one (yet)."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:
            tables = [
                row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
        except sqlite3.DatabaseError:
            return
        for table in tables:
            quoted = '"' + table.replace('"', '""') + '"'
            rows = database.execute(f"SELECT * FROM {quoted}")  # noqa: S608 - the name comes from the database
            names = [column[0] for column in rows.description]
            for row in rows:
                yield from ((table, name, value) for name, value in zip(names, row, strict=True))


def number_forms(number: str) -> Iterator[tuple[bytes, str]]:
    """The ways in which software writes a card number down, each with a name for the report."""
    plain = number.encode()
    groups = [number[i : i + 4] for i in range(0, len(number), 4)]
    yield plain[:_PART], "part of a number"
    yield plain[-_PART:], "part of a number"
    yield plain[::-1][:_PART], "number backwards"
    for separator in (" ", "-", ".", "_"):
        yield separator.join(groups).encode(), "number in groups"
    for separator in (",", ", ", " ", "\n", '","', '", "', "\x00"):
        yield separator.join(number).encode(), "number digit by digit"
    for encoding in ("utf-16-le", "utf-16-be"):
        yield number.encode(encoding), "number in wide characters"
    yield from ((form, "number in base64") for form in _base64_forms(plain))
    yield plain.hex().encode(), "number in hexadecimal"
    yield plain[::-1].hex().encode(), "number backwards in hexadecimal"
    yield bytes.fromhex(number if len(number) % 2 == 0 else number + "f"), "number in packed decimal"
    size = (int(number).bit_length() + 7) // 8
    yield int(number).to_bytes(size, "big"), "number as an integer"
    yield int(number).to_bytes(size, "little"), "number as an integer"
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, plain, usedforsecurity=False)
        yield digest.digest(), f"number hashed with {name}, without a key"
        yield digest.hexdigest().encode(), f"number hashed with {name}, without a key"


def _base64_forms(plain: bytes) -> Iterator[bytes]:
    """Base64 of the number wherever it lies in a longer text: the part that does not depend on its neighbours."""
    for shift in range(3):
        encoded = base64.b64encode(b"\x00" * shift + plain)
        yield encoded[(0, 2, 3)[shift] : len(encoded) // 4 * 4 - 4]
