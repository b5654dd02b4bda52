"""`paycall recording`: what is exported or deleted is told to the panel before, and not done where it cannot be."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import pytest

from paycall.cli import main
from paycall.domain.ids import new_id
from paycall.media.recording import RecordingFile, create_keys, read_public_key
from tests.phones.site import Panel


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Settings, keys and a recording; gives the settings file."""
    config = tmp_path / "paycall.toml"
    config.write_text(f'[site]\nvar = "{tmp_path}"\n')
    (tmp_path / "run").mkdir()
    create_keys(tmp_path / "recording.key", tmp_path / "recording.pub")
    file = RecordingFile(
        tmp_path / "recordings",
        new_id("rec"),
        new_id("call"),
        0.0,
        read_public_key(tmp_path / "recording.pub"),
    )
    file.write(b"\xd5" * 16000, last=True)
    file.close()
    return config


def test_the_command_lists_exports_and_deletes(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def paycall(*arguments: str) -> tuple[int, str]:
        code = main(["recording", "--config", str(kept), *arguments])
        said = capsys.readouterr()
        return code, said.err or said.out

    panel = Panel(f"unix:{kept.parent}/run/control.sock")

    def told() -> list[tuple[str, str]]:
        """What the panel was told since the last time."""
        events = [event for _, _, event in panel.events]
        panel.events.clear()
        assert {event.by for event in events} <= {f"cli uid={os.getuid()}"}
        assert {event.recording_id for event in events} <= {path.stem}
        return [(event.action, event.result) for event in events]

    (path,) = (kept.parent / "recordings").iterdir()
    code, said = paycall("list")
    assert code == 0
    assert path.stem in said
    assert "0:01  ended" in said
    assert told() == []
    target = kept.parent / "out.wav"
    assert paycall("export", path.stem, str(target))[0] == 0
    assert target.stat().st_mode & 0o777 == 0o600
    with wave.open(str(target)) as sound:
        assert sound.getnframes() == 8000
    assert told() == [("exported", "done")]
    assert paycall("export", path.stem, str(target))[0] == 1, "what is there is not overwritten"
    assert told() == []
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, said = paycall("export", path.stem, str(kept.parent / "second.wav"))
    assert (code, said) == (1, "paycall: chunk 1 was changed, moved or taken from elsewhere\n")
    assert not (kept.parent / "second.wav").exists()
    assert told() == [("exported", "done"), ("exported", "failed")]
    assert paycall("export", "../recording", "x.wav")[0] == 1
    panel.stop()
    for command in (("export", path.stem, str(kept.parent / "third.wav")), ("delete", path.stem)):
        assert paycall(*command) == (1, "paycall: the panel cannot be told of it\n")
    assert path.exists()
    assert not (kept.parent / "third.wav").exists()
    panel.start()
    assert paycall("delete", path.stem)[0] == 0
    assert not path.exists()
    assert told() == [("deleted", "done")]
    assert paycall("delete", path.stem)[0] == 1
    panel.close()
