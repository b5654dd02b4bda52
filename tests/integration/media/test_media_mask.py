"""The mask fails closed: a broken stage, a leaking one, a foreign connection - the agent hears nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.phones.rtp import before_others

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def labs() -> dict[str, dict[str, Any]]:
    """Every case, each in a process of its own, side by side."""
    running = {
        case: subprocess.Popen(
            [sys.executable, "-m", "tests.phones.bridge_lab", case],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for case in ("off", "broken", "leaky", "joined", "taped", "moved", "stalled")
    }
    for process in running.values():
        before_others(process.pid)
    results = {}
    for case, process in running.items():
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
        results[case] = json.loads(output.strip().splitlines()[-1])
    return results


def test_on_and_off(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["off"]
    assert result["before"] != ""
    assert result["masked"] == ""
    assert result["after"] >= 2
    assert result["alarms"] == []
    assert result["pressed"] >= 3


def test_python_is_in_the_path_while_the_mask_is_on_only(labs: dict[str, dict[str, Any]]) -> None:
    before, masked, after = labs["off"]["python"]
    assert before == 0
    assert masked > 30, "a second of blocks"
    assert after == masked


def test_a_clock_that_stalls_while_the_mask_comes_on_is_no_alarm(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["stalled"]
    assert result["alarms"] == []
    assert result["masked"] == ""


def test_a_broken_stage_gives_silence_and_an_alarm(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["broken"]
    assert result["masked"] == ""
    assert result["loudest_late"] == 0
    assert result["alarms"] == ["audio-path-error"]


def test_a_leak_is_heard_and_the_agent_muted(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["leaky"]
    assert result["alarms"] == ["key-on-agent-leg"]
    assert result["heard_by_listener"] >= 1
    assert result["loudest_late"] == 0


def test_a_foreign_connection_is_found_cut_and_alarmed(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["joined"]
    assert result["alarms"] == ["bridge-connection"]
    assert result["loudest_late"] == 0


def test_a_recording_holds_what_the_agent_hears(labs: dict[str, dict[str, Any]]) -> None:
    assert labs["off"]["taped_before"] != ""
    assert labs["off"]["taped_masked"] == ""
    for case in ("broken", "leaky", "joined"):
        assert labs[case]["taped_loudest_late"] == 0, "an alarm mutes it as well"


def test_the_caller_fed_to_the_recording_is_found_cut_and_alarmed(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["taped"]
    assert result["alarms"] == ["bridge-connection"]
    assert (result["taped_loudest_late"], result["loudest_late"]) == (0, 0)


def test_a_recording_follows_a_transfer_and_stays_masked(labs: dict[str, dict[str, Any]]) -> None:
    result = labs["moved"]
    assert result["taped_before"] != ""
    assert (result["taped_masked"], result["alarms"]) == ("", [])
    first, second = result["said_loudest"]
    assert first == 0, "the first agent said nothing"
    assert second > 5000, "the second one did"
    assert result["loudest_late"] == 0, "the first agent hears nothing any more"


def test_a_port_is_ended_while_its_callback_is_under_way() -> None:
    lab = subprocess.run(
        [sys.executable, "-m", "tests.phones.port_lab"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert lab.stdout.splitlines()[-1:] == ["survived"], lab.stderr[-2000:]
