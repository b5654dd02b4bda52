"""What the console shows of a process that did not start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from paycall.supervisor import Child, Supervisor

OLD = "paycall: the complaint of another run\n"


@pytest.mark.parametrize(
    ("script", "status", "shown"),
    [
        ("print('{}'); print('paycall: a setting is wrong'); sys.exit(2)", 2, ": a setting is wrong "),
        ("print('Traceback: 4111111111111111'); sys.exit(1)", 1, " "),
    ],
)
def test_only_its_own_complaint_of_this_run_is_shown(
    script: str, status: int, shown: str, tmp_path: Path
) -> None:
    log_path = tmp_path / "one.log"
    log_path.write_text(OLD)
    # Somebody else answers in its place: a process that has died has failed nevertheless.
    child = Child("one", [sys.executable, "-c", f"import sys; {script}"], log_path, ready=lambda: dead(child))
    supervisor = Supervisor([child])
    said: list[str] = []
    try:
        assert supervisor.start(20, said.append) == status
    finally:
        supervisor.stop()
    assert said == ["starting one", f"one did not start{shown}(its log is {log_path})"]


def dead(child: Child) -> bool:
    return not child.alive()


def test_one_that_is_not_ready_in_time_has_failed(tmp_path: Path) -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(30)"]
    child = Child("one", sleeps, tmp_path / "one.log", ready=lambda: False)
    supervisor = Supervisor([child])
    said: list[str] = []
    try:
        assert supervisor.start(0.2, said.append) == 1
    finally:
        supervisor.stop()
    assert not child.alive()
    assert said[-1] == f"one did not start (its log is {tmp_path / 'one.log'})"
