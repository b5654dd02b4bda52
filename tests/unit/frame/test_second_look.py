"""What `make test` forgives, and what it does not: a red run must stay red."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "second_look.py"
FAILS_ONCE = """
from pathlib import Path

def test_late():
    been_here = Path(f"{__file__}.seen")
    first = not been_here.exists()
    been_here.touch()
    assert not first
"""
FAILS = "def test_broken():\n    assert 0\n"


@pytest.mark.parametrize(
    ("room", "text", "files", "expected"),
    [
        pytest.param("tests/integration", FAILS_ONCE, 3, 0, id="once-in-real-time"),
        pytest.param("tests/integration", FAILS, 1, 1, id="twice"),
        pytest.param("tests/unit", FAILS_ONCE, 1, 1, id="not-in-real-time"),
        pytest.param("tests/leak", FAILS_ONCE, 4, 1, id="too-many"),
        pytest.param("tests/browser", "import nowhere\n", 1, 2, id="not-imported"),
    ],
)
def test_only_a_few_late_tests_are_asked_again(
    tmp_path: Path, room: str, text: str, files: int, expected: int
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / room).mkdir(parents=True)
    for number in range(files):
        (tmp_path / room / f"test_{number}.py").write_text(text, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "cache", "-q", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == expected, ran.stdout + ran.stderr
    assert ("FAILED ONCE, passed alone" in ran.stdout) == (expected == 0)
