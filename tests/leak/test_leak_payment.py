"""Nothing of a caller's card is anywhere but where it has to be, whatever goes wrong on the way (DESIGN 3.1).

One whole payment with every kind of failure (``story``); then each place that bytes were left in is searched. Every
search is checked by what it must find.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import dsp
from tests.leak.story import CANARIES, DECLINED, Left, Search, tell_story

_WITNESSED = (
    "vault.log",
    "panel.sqlite3",
    "vault.sqlite3-wal",
    "panel and vault",
    "control link",
    "answers to the browser",
    "event stream",
    "memory of panel",
    "memory of vault",
)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    return tell_story(tmp_path_factory.mktemp("leak"))


def test_every_place_was_searched_by_a_search_that_finds(left: Left) -> None:
    assert {"panel", "vault", "media", "sandbox", "cell", "serve"} <= set(left.processes)
    assert [place for place in _WITNESSED if not left.searched.get(place)] == []
    assert left.cell_held_keys, "what is being keyed must be found in the cell"
    for card in CANARIES:
        for data in (
            card.number.encode(),
            card.number[::-1].encode(),
            bytes.fromhex(card.number.rjust(16, "0")),
        ):
            assert Search().bytes(b"\x00" * 8 + data + b"\x00" * 8, "here"), data
        assert Search().text(b'{"count": %s}' % card.security_code.encode(), "here")


def test_a_key_provider_that_is_down_holds_the_field_and_not_the_call(left: Left) -> None:
    assert left.went_on_without_keys


@pytest.mark.parametrize(
    "kind",
    [
        "log",
        "sqlite3",
        "panel and vault",
        "control link",
        "answers",
        "event stream",
        "started",
        "open files",
        "metrics",
        "recordings",
    ],
)
def test_nothing_written_or_sent_holds_the_card(left: Left, kind: str) -> None:
    places = {place: found for place, found in left.found.items() if kind in place}
    assert places, "nothing of this kind was searched"
    assert [one for found in places.values() for one in found] == []


@pytest.mark.parametrize("name", ["panel", "media", "cell"])
def test_no_process_without_a_need_has_it_in_memory(left: Left, name: str) -> None:
    assert left.found[f"memory of {name}"] == []


def test_the_vault_keeps_no_fragment_of_a_request_with_the_code(left: Left) -> None:
    assert left.found["memory of vault"] == []


def test_the_vault_s_own_block_held_the_code_and_is_zeroed(left: Left) -> None:
    assert DECLINED.security_code.encode() in left.codes_before, "the search itself must work"
    assert left.codes_after == bytes(len(left.codes_before))


def test_no_core_is_dumped_where_cores_are_wanted(left: Left) -> None:
    assert left.core_control, "a process without secrets must be able to dump"
    assert left.cores == []


def test_the_recording_of_the_call_holds_no_key(left: Left) -> None:
    assert left.recorded_s > 10
    assert left.recorded_keys == 0


def test_the_operator_s_phone_heard_no_key(left: Left, tmp_path: Path) -> None:
    assert left.agent_heard.size > 8000 * 10
    assert dsp.detect(left.agent_heard) == []
