"""`paycall demo --json`, as a user runs it, in all three modes at once: everything has to hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.network
MODES = ("inband", "rfc4733", "info")
LIMIT_S = 240


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, dict[str, Any], str]]]:
    """Exit code, report and error output of each mode."""
    folder = tmp_path_factory.mktemp("demo")
    running = {
        mode: subprocess.Popen(
            [sys.executable, "-m", "paycall", "demo", "--json", "--mode", mode],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(_short(mode))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for mode in MODES
    }
    done = {}
    for mode, process in running.items():
        out, errors = process.communicate(timeout=LIMIT_S)
        done[mode] = (process.returncode, json.loads(out), errors.decode())
    yield done
    assert list(folder.iterdir()) == [], "the demo left files where it was started"


def _short(mode: str) -> Path:
    """A folder of our own with a short name: Unix sockets lie in it."""
    path = Path(f"/tmp/pc-{os.getpid()}-{mode}")
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize("mode", MODES)
def test_the_demo_holds(mode: str, reports: dict[str, tuple[int, dict[str, Any], str]]) -> None:
    code, report, errors = reports[mode]
    assert report["holds"], (report, errors)
    assert code == 0
    assert report["outcomes"] == [
        {"state": "declined", "decline_reason": "insufficient_funds", "declined_by": "issuer"},
        {"state": "approved", "decline_reason": None, "declined_by": None},
    ]
    assert report["keys_pressed"] == report["keys_captured"] == 46
    leg = report["agent_leg"]
    assert leg["keys_recovered"] == 0
    assert leg["tone_residual_db"] <= -50
    assert leg["speech_heard"] >= 0.8
    assert report["card_data_found"] == 0
    timings = report["timings_ms"]
    assert timings["key_release_to_event"]["p95"] < 1000
    assert timings["authorize_to_result"]["max"] < 5000


@pytest.mark.timeout(LIMIT_S + 60)
def test_nothing_is_left_behind(reports: dict[str, tuple[int, dict[str, Any], str]]) -> None:
    assert reports
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(f"pc-{os.getpid()}-" in part for part in process.info["cmdline"] or ())
    ]
    assert left == []
    for mode in MODES:
        folder = _short(mode)
        assert list(folder.iterdir()) == [], "the demo left its temporary folder"
        folder.rmdir()
