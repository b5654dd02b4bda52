"""``paycall acquirer``: the skeleton is whole, formatted, typed, and believes nothing yet."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_adapters.registry import REGISTRY
from paycall import acquirer_command
from paycall.domain.errors import InputError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "gateway_adapters"
    package.mkdir()
    (package / "registry.py").write_text("")
    return tmp_path


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    acquirer_command.add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_skeleton_passes_its_own_test_and_lint(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert acquirer_command.run(parsed("new", "my_bank", "--tree", str(tree))) == 0
    told = capsys.readouterr().out
    assert '"my_bank": MyBankAcquirer.from_settings' in told
    test = tree / "tests/unit/gateway_adapters/test_my_bank_wire.py"
    wire = (tree / "gateway_adapters/my_bank/wire.py").read_text()
    assert "$" not in wire
    script = (
        "import sys, gateway_adapters; gateway_adapters.__path__.append(sys.argv[1]);"
        "from gateway_adapters.my_bank.adapter import MyBankAcquirer as A;"
        "A.from_settings({'url': 'https://bank.example', 'api_key': 'k'});"
        "namespace = {}; exec(open(sys.argv[2]).read(), namespace);"
        "[value() for name, value in list(namespace.items()) if name.startswith('test_')]"
    )
    run = [sys.executable, "-c", script, str(tree / "gateway_adapters"), str(test)]
    subprocess.run(run, check=True, timeout=60)
    for check in (["check", "--ignore", "I001,S101"], ["format", "--check"]):  # order hangs on the name
        ruff = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), str(tree)]
        subprocess.run(ruff, check=True, timeout=60, capture_output=True)


def test_what_is_there_is_kept(tree: Path) -> None:
    acquirer_command.new("my_bank", tree)
    wire = tree / "gateway_adapters/my_bank/wire.py"
    wire.write_text("mine")
    with pytest.raises(InputError):
        acquirer_command.new("my_bank", tree)
    assert wire.read_text() == "mine"


@pytest.mark.parametrize("name", ["MyBank", "my-bank", "../x", "", "2bank", "my__bank", "class", "x" * 33])
def test_a_name_that_is_none(tree: Path, name: str) -> None:
    with pytest.raises(InputError):
        acquirer_command.new(name, tree)


@pytest.mark.parametrize("name", ["http", "breaker", "registry", "stripe"])
def test_a_module_that_is_there_is_not_hidden(tree: Path, name: str) -> None:
    here = Path(__file__).parents[3] / "gateway_adapters"
    for module in here.glob("*.py"):
        (tree / "gateway_adapters" / module.name).write_text(module.read_text("utf-8"), "utf-8")
    (tree / "gateway_adapters" / "stripe").mkdir(exist_ok=True)
    before = sorted(tree.rglob("*"))
    with pytest.raises(InputError, match="already"):
        acquirer_command.new(name, tree)
    assert sorted(tree.rglob("*")) == before


def test_elsewhere_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="source tree"):
        acquirer_command.new("my_bank", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_list_is_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert acquirer_command.run(parsed("list")) == 0
    assert capsys.readouterr().out.split() == sorted(REGISTRY)
