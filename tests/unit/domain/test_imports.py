"""What import-linter cannot say: everything that a package may import, instead of what it may not."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
IMPURE = {"asyncio", "socket", "ssl", "subprocess", "threading", "time", "os", "io", "logging", "random"}


def imported(package: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: imports are absolute"
                yield file, str(node.module)


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("paycall/domain", ("paycall.domain",)),
        ("dsp", ("dsp", "numpy")),
        (
            "gateway_adapters",
            # FastAPI, of the simulator, is made of pydantic and starlette.
            "gateway_adapters paycall.domain httpx iso8583 sqlalchemy fastapi pydantic starlette".split(),
        ),
    ],
)
def test_a_package_imports_the_standard_library_and_what_the_design_names(
    package: str, allowed: Sequence[str]
) -> None:
    others = [
        (file.name, name)
        for file, name in imported(ROOT / package)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not any(name == each or name.startswith(f"{each}.") for each in allowed)
    ]
    assert others == []


def test_the_domain_does_no_io_and_has_no_clock() -> None:
    domain = imported(ROOT / "paycall/domain")
    assert [(file.name, name) for file, name in domain if name.split(".")[0] in IMPURE] == []
