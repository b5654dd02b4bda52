"""The report's own arithmetic, and that it says no where it has to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsp.tones import dtmf_string, silence
from paycall.demo.cards import APPROVED, WALLET
from paycall.demo.leg_evidence import Spoken
from paycall.demo.operator import PanelEvent
from paycall.demo.phone_audio import write_wav
from paycall.demo.report import (
    Report,
    Search,
    chance_limit,
    key_delays_ms,
    make_report,
    no_report,
    percentiles,
    search_files,
)
from paycall.demo.scenario import KeyPress, Leg, Record
from paycall.demo.speech import load
from paycall.domain.fields import Field

KEYS = APPROVED.number
FIRST_KEY = 30_000
DECLINE = {"reason": "insufficient_funds", "declined_by": "issuer"}
ATTEMPTS = [{"state": "declined", "decline": DECLINE}, {"state": "approved", "decline": None}]
EVERYWHERE = {"events", "logs", "the panel's database", "the vault's database"}


def _leg(folder: Path, name: str, sentence: str, tones: bool) -> Leg:
    """A recording of a sentence, and of the keys if they leak."""
    pcm = np.concatenate([silence(0.5), load(sentence), silence(20.0)])
    if tones:
        sound = dtmf_string(KEYS)
        pcm[FIRST_KEY : FIRST_KEY + sound.size] = sound
    write_wav(folder / name, pcm)
    return Leg([Spoken(load(sentence), 4000, "before")], 10.0, 10.0, folder / name)


def _record(folder: Path, *, leak: bool = False, dots: int = len(KEYS), delay_s: float = 0.02) -> Record:
    keys = [
        KeyPress(k, 0, Field.CARD_NUMBER, i, FIRST_KEY + 1600 * i, FIRST_KEY + 1600 * i + 800, 20 + i * 0.2)
        for i, k in enumerate(KEYS)
    ]
    events = [
        PanelEvent(
            i, key.released_at + delay_s, "capture.progress", {"field": key.field_name.value, "digits": i + 1}
        )
        for i, key in enumerate(keys[:dots])
    ]
    return Record(
        mode="inband",
        payment={"id": "pay_x", "state": "settled", "attempts": ATTEMPTS},
        call={"id": "call_x", "alarm": None},
        keys=keys,
        events=events,
        authorize_s=[0.1, 0.3],
        to_agent=_leg(folder, "agent.wav", "caller-hello", leak),
        to_caller=_leg(folder, "caller.wav", "operator-greeting", False),
    )


def _report(record: Record, **search: Any) -> Report:
    return make_report(record, Search(knows_payment=set(EVERYWHERE), **search))


def _broken(report: Report) -> list[str]:
    return [check.claim for check in report.checks if not check.holds]


def test_a_clean_run_holds_and_says_so_in_numbers(tmp_path: Path) -> None:
    report = _report(_record(tmp_path))
    assert _broken(report) == []
    assert report.holds
    assert report.data["outcomes"] == [
        {"state": "declined", "decline_reason": "insufficient_funds", "declined_by": "issuer"},
        {"state": "approved", "decline_reason": None, "declined_by": None},
    ]
    assert report.data["keys_pressed"] == report.data["keys_captured"] == 16
    assert report.data["agent_leg"]["keys_recovered"] == 0
    assert report.data["agent_leg"]["speech_heard"] == 1.0
    assert report.data["timings_ms"]["key_release_to_event"] == {"p50": 20.0, "p95": 20.0, "max": 20.0}
    assert report.data["timings_ms"]["authorize_to_result"] == {"p50": 200.0, "p95": 290.0, "max": 300.0}


def test_tones_on_the_agent_leg_break_three_claims(tmp_path: Path) -> None:
    report = _report(_record(tmp_path, leak=True))
    assert report.data["agent_leg"]["keys_recovered"] == 16
    assert len(_broken(report)) == 3
    assert not report.holds


def test_a_key_that_reached_the_agent_as_an_event_breaks_the_claim(tmp_path: Path) -> None:
    record = _record(tmp_path)
    record.keys_on_agent_phone = 1
    assert _broken(_report(record)) == ["no key can be recovered from the agent leg"]


def test_a_key_without_a_dot_breaks_the_claim(tmp_path: Path) -> None:
    report = _report(_record(tmp_path, dots=15))
    assert report.data["keys_captured"] == 15
    assert _broken(report) == ["every key was captured"]


def test_a_dot_before_the_release_counts_as_no_delay(tmp_path: Path) -> None:
    assert set(key_delays_ms(_record(tmp_path, delay_s=-0.1))) == {0.0}


def test_another_outcome_breaks_the_claim(tmp_path: Path) -> None:
    record = _record(tmp_path)
    record.payment = {**record.payment, "attempts": ATTEMPTS[1:]}
    assert _broken(_report(record)) == ["one attempt declined, one approved"]


def test_a_search_that_sees_nothing_is_not_taken_for_a_clean_one(tmp_path: Path) -> None:
    report = make_report(_record(tmp_path), Search())
    assert _broken(report) == ["the search sees what is there"]


def test_card_data_in_a_file_of_the_stack_is_reported_by_place_only(tmp_path: Path) -> None:
    class _Stack:
        folder = tmp_path / "stack"

    (_Stack.folder / "log").mkdir(parents=True)
    (_Stack.folder / "log" / "panel.log").write_text(f"call_x number {WALLET[0].number}")
    search = Search()
    search_files(_Stack, search, ["call_x"])  # type: ignore[arg-type]
    assert search.knows_payment == {"logs"}
    assert {finding.place for finding in search.findings} == {"panel.log"}
    report = make_report(_record(tmp_path), search)
    assert report.data["card_data_found"] == len(search.findings) > 0
    assert "no card data in logs, databases and events" in _broken(report)
    assert WALLET[0].number not in str(report.data)


@pytest.mark.parametrize(("keys", "most"), [(0, 0), (16, 7), (46, 11)])
def test_chance_is_one_in_sixteen(keys: int, most: int) -> None:
    assert abs(chance_limit(keys) - most) <= 1


def test_percentiles_of_nothing() -> None:
    assert percentiles([]) == {"p50": None, "p95": None, "max": None}


def test_a_story_that_broke_off_prints_the_same_names(tmp_path: Path) -> None:
    report = make_report(_record(tmp_path), Search())
    broken = no_report("inband", "a fixed text")
    assert set(broken) == {*report.data, "error"}
    assert broken["holds"] is False
