"""``paycall acquirer``: which acquirers there are, and the skeleton of a new one.

``paycall acquirer new NAME`` writes the adapter's folder and its first test into the source tree it is run in.
What it writes runs at once and is safe: until its tables are filled in, every answer is unknown.
"""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

from paycall.domain.errors import InputError

# What the vault's column and the webhooks' address take.
MAX_NAME_LENGTH = 32
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TESTS = Path("tests/unit/gateway_adapters")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action, and for ``new`` the name and where."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    actions.add_parser("list", help="the adapters that are there")
    new = actions.add_parser("new", help="write the skeleton of an adapter with its first test")
    new.add_argument("name", help="its name in the settings, such as my_bank")
    new.add_argument("--tree", type=Path, default=Path(), help="the source tree (default: here)")


def run(args: argparse.Namespace) -> int:
    """Carry the action out; 0 if it worked."""
    lines = names() if args.action == "list" else new(args.name, args.tree)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def names() -> list[str]:
    """The folders of ``gateway_adapters`` that hold an adapter."""
    return sorted(
        entry.name for entry in files("gateway_adapters").iterdir() if entry.joinpath("adapter.py").is_file()
    )


def new(name: str, tree: Path) -> list[str]:
    """Write the skeleton; gives what to tell.

    Raises
    ------
    InputError
        If the name is not one, the tree is no source tree of paycall, or something is there already.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH or keyword.iskeyword(name):
        raise InputError(
            f"an acquirer's name is at most {MAX_NAME_LENGTH} small letters, digits and single underscores, "
            "and no word of Python's"
        )
    package = tree / "gateway_adapters"
    if not (package / "registry.py").is_file():
        raise InputError("run this in paycall's source tree, or name it with --tree")
    folder = package / name
    test = tree / _TESTS / f"test_{name}_wire.py"
    if folder.exists() or test.exists() or (package / f"{name}.py").exists():
        raise InputError("there is an acquirer or a module of this name already")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    folder.mkdir()
    test.parent.mkdir(parents=True, exist_ok=True)
    targets = {
        "init.txt": folder / "__init__.py",
        "wire.txt": folder / "wire.py",
        "adapter.txt": folder / "adapter.py",
        "test_wire.txt": test,
    }
    skeleton = files("gateway_adapters") / "skeleton"
    for source, target in targets.items():
        text = Template(skeleton.joinpath(source).read_text("utf-8"))
        target.write_text(text.substitute(name=name, class_name=class_name), "utf-8")
    return [
        *(f"wrote {target}" for target in targets.values()),
        f'next: "{name}": {class_name}Acquirer.from_settings in gateway_adapters/registry.py,',
        "      its settings in tests/contract/conftest.py, `ruff check --fix`, and docs/adding-an-acquirer.md",
    ]
