"""The search for card data finds every form it names, and does not cry wolf."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from pathlib import Path

import pytest

from paycall.demo.cards import APPROVED, DECLINED, WALLET
from paycall.demo.leaks import Searcher, number_forms

SEARCHER = Searcher(WALLET)
NUMBER, CODE = APPROVED.number, APPROVED.security_code


@pytest.mark.parametrize("card", WALLET)
def test_every_form_of_a_number_is_found_in_the_middle_of_anything(card: object) -> None:
    number = card.number  # type: ignore[attr-defined]
    for form, what in number_forms(number):
        found = SEARCHER.in_bytes(os.urandom(50) + form + os.urandom(50), "a file")
        assert what in {finding.what for finding in found}, what


@pytest.mark.parametrize("lead", ["", "x", "xy", "xyz"])
def test_a_number_inside_a_longer_base64_text_is_found(lead: str) -> None:
    text = base64.b64encode(f"{lead}{NUMBER}&more".encode())
    assert SEARCHER.in_bytes(text, "a file")


@pytest.mark.parametrize(
    "leak",
    [
        json.dumps({"value": CODE}),
        json.dumps({"value": int(CODE)}),
        json.dumps({"security-code": CODE}),
        json.dumps({"anything": CODE}),
        f"the caller keyed {CODE} for the code",
        f"cvv={CODE}&amount=5",
        f"Signal={CODE}",
    ],
)
def test_a_security_code_in_a_log_is_found(leak: str) -> None:
    assert SEARCHER.in_text(leak.encode(), "a log")


def test_what_may_be_there_is_not_taken_for_card_data() -> None:
    harmless = {
        "last4": NUMBER[-4:],
        "brand": "visa",
        "expiry": "09/32",
        "token": "tok_abcdefghijklmnopqrstuv",
        "at": f"2026-11-22T08:35:09.{CODE}Z",
        "seconds": float(f"0.{CODE}"),
        "port": int(f"5{CODE}"),
        "took": f"{CODE}ms",
    }
    assert SEARCHER.in_text(json.dumps(harmless).encode(), "a log") == []


def test_random_bytes_hold_no_card() -> None:
    assert [f for f in SEARCHER.in_bytes(os.urandom(2_000_000), "noise") if f.what != "security code"] == []


def _database(path: Path, value: object) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE cards (id TEXT, content)")
        database.execute("INSERT INTO cards VALUES ('card_a', ?)", (value,))
    database.close()


@pytest.mark.parametrize(
    "value", [CODE, int(CODE), CODE.encode(), NUMBER, int(NUMBER), NUMBER.encode(), f"n {NUMBER}"]
)
def test_a_cell_of_a_database_that_holds_card_data_is_found(tmp_path: Path, value: object) -> None:
    _database(tmp_path / "panel.sqlite3", value)
    assert SEARCHER.in_file(tmp_path / "panel.sqlite3")


@pytest.mark.parametrize("value", ["4242", 5739, "tok_abc", b"\x01\x02", None, 7390, "x586y"])
def test_a_cell_without_card_data_is_not_found(tmp_path: Path, value: object) -> None:
    _database(tmp_path / "panel.sqlite3", value)
    assert SEARCHER.in_file(tmp_path / "panel.sqlite3") == []


def test_a_journal_is_searched_as_bytes(tmp_path: Path) -> None:
    journal = tmp_path / "vault.sqlite3-wal"
    journal.write_bytes(os.urandom(500) + DECLINED.number.encode() + os.urandom(500))
    assert SEARCHER.in_file(journal)


def test_a_finding_does_not_repeat_the_data() -> None:
    for finding in SEARCHER.in_text(f"{NUMBER} {CODE}".encode(), "a log"):
        assert NUMBER not in repr(finding)
        assert CODE not in repr(finding)
    assert NUMBER not in repr(SEARCHER)
