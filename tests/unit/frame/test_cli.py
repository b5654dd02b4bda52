"""A wrong setting stops the start with one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from paycall.cli import PROCESSES, TOOLS, main


@pytest.mark.parametrize("command", [*PROCESSES, "serve", "prepare"])
def test_a_wrong_setting_stops_the_start_and_is_named_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "paycall.toml"
    config.write_text('[media]\ncells = "4111111111111111x"\n')
    assert main([command, "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "media.cells" in error
    assert "4111" not in error


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "X", "keys", "status"],
        ["keys", "--config=X", "status"],
        ["keys", "status", "--config", "X"],
    ],
)
def test_the_settings_file_is_named_anywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "settings file X cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*PROCESSES, *TOOLS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert "--config" in capsys.readouterr().out


def test_a_missing_settings_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["panel", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
