"""The mask fails closed: a broken stage, a leaking one, a foreign connection - the agent hears nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def lab(case: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.phones.bridge_lab", case],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def test_on_and_off() -> None:
    result = lab("off")
    assert result["before"] != ""
    assert result["masked"] == ""
    assert result["after"] >= 2
    assert result["alarms"] == []
    assert result["pressed"] >= 3


def test_a_broken_stage_gives_silence_and_an_alarm() -> None:
    result = lab("broken")
    assert result["masked"] == ""
    assert result["loudest_late"] == 0
    assert result["alarms"] == ["audio-path-error"]


def test_a_leak_is_heard_and_the_agent_muted() -> None:
    result = lab("leaky")
    assert result["alarms"] == ["key-on-agent-leg"]
    assert result["heard_by_listener"] >= 1
    assert result["loudest_late"] == 0


def test_a_foreign_connection_is_found_cut_and_alarmed() -> None:
    result = lab("joined")
    assert result["alarms"] == ["bridge-connection"]
    assert result["loudest_late"] == 0
