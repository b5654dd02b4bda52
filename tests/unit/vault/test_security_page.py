"""docs/security.md claims nothing that is not there: every test, setting, command and log line it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paycall.cli import PROCESSES, TOOLS
from paycall.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMES = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
SETTINGS = {
    name
    for section, field in Settings.model_fields.items()
    if hasattr(field.annotation, "model_fields")
    for key in field.annotation.model_fields
    for name in (key, f"{section}.{key}")
}
TESTS = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
CODE = "\n".join(path.read_text("utf-8") for path in (ROOT / "paycall").rglob("*.py"))


def test_the_page_names_enough_to_be_checked() -> None:
    assert sum(name.startswith("test") for name in NAMES) >= 15
    assert sum(name in SETTINGS for name in NAMES) >= 5


@pytest.mark.parametrize(
    "name", [name for name in NAMES if re.fullmatch(r"[\w/]*test_\w+(\.py)?|tests/\S+", name)]
)
def test_a_test_that_is_named_exists(name: str) -> None:
    if name.endswith((".py", "/")):
        assert any(str(path).endswith("/" + name) for path in TESTS) or (ROOT / name).exists()
    else:
        assert any(re.search(rf"^def {name}\(", text, re.MULTILINE) for text in TESTS.values())


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if re.fullmatch(r"[a-z]+(\.[a-z]+)?(_[a-z0-9]+)+", name) and "test_" not in name],
)
def test_a_setting_or_log_line_that_is_named_exists(name: str) -> None:
    assert name in SETTINGS or re.search(rf"\b{name}\b", CODE)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("paycall ", "paycall/"))])
def test_a_command_or_module_that_is_named_exists(name: str) -> None:
    if name.startswith("paycall/"):
        assert (ROOT / name).exists()
    else:
        assert name.split()[1] in {*PROCESSES, *TOOLS}
