"""What the tree promises to those who clone it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from paycall.settings_file import load_settings

ROOT = Path(__file__).parents[3]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("lock", "least"),
    [("requirements-pip.lock", 1), ("requirements.lock", 20), ("requirements-dev.lock", 20)],
)
def test_locks_pin_with_hashes_and_name_no_address(lock: str, least: int) -> None:
    text = (ROOT / lock).read_text()
    assert len(_pins(lock)) >= least
    assert "://" not in text
    assert all(re.search(rf"^{re.escape(pin)}.*\\\n\s+--hash=sha256:", text, re.M) for pin in _pins(lock))


def test_no_package_is_in_both_locks_as_both_are_installed_at_the_same_time() -> None:
    runs, tests = (
        {pin.partition("==")[0] for pin in _pins(lock)}
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert runs & tests == set()


def _pins(lock: str) -> list[str]:
    return re.findall(r"^[a-zA-Z0-9_.\[\]-]+==[^ ]+", (ROOT / lock).read_text(), re.M)


def test_no_third_party_code_in_the_tree() -> None:
    assert [
        f for f in tracked() if re.search(r"\.min\.(js|css)$|node_modules/|vendor/|\.whl$|\.so$", f)
    ] == []


def test_the_readme_names_the_commands_that_the_makefile_has() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", readme)):
        assert re.search(rf"^(?:[a-z-]+ )*{target}(?: [a-z-]+)*:", makefile, re.M), target
    assert {"run", "test"} <= set(re.findall(r"make ([a-z-]+)", readme))


def test_links_in_the_documents_lead_somewhere() -> None:
    for name in [f for f in tracked() if f.endswith(".md")]:
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", (ROOT / name).read_text()):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_every_setting_that_compose_gives_is_one_that_the_processes_know() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        environment = {key: str(value) for key, value in service.get("environment", {}).items()}
        load_settings(environ=environment)
        if service.get("image") == "paycall":
            assert environment.get("PAYCALL_PROCESS") == service["command"][0], name


def test_the_image_is_built_by_the_makefiles_own_steps() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "make .venv/.runtime" in dockerfile
    assert "pip install" not in dockerfile
    assert re.search(r"^USER paycall$", dockerfile, re.M)


def test_the_example_settings_are_valid() -> None:
    load_settings(ROOT / "config" / "paycall.toml", environ={})
