"""Recordings of real calls: the operator on one side, what they heard on the other, no key, nothing in clear."""

from __future__ import annotations

import resource
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import dsp
from paycall.cli import main
from paycall.domain.errors import StateError
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.media.prompts import RECORDING_NOTICE, PromptLibrary
from paycall.media.recording import (
    RecordingFile,
    Summary,
    create_keys,
    export_wav,
    read_private_key,
    read_public_key,
    recordings,
)
from tests.phones.call import Call
from tests.phones.rtp import Stream
from tests.phones.site import Site, kill, until
from tests.phones.sounds import loudness, share_found, where
from tests.phones.spandsp import spandsp_keys

SPEECH = Path(__file__).parents[3] / "paycall" / "demo" / "speech"
CARD = "4111111111111111"
SURE, NOT_AT_ALL = 0.6, 0.2  # shares: the mask takes a syllable of what is said while it is on


def speech(name: str) -> np.ndarray:
    """A sentence of the demo's."""
    with wave.open(str(SPEECH / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def settings(folder: Path, **more: object) -> dict[str, object]:
    """Recording on, with keys of its own."""
    private, public = folder / "recording.key", folder / "recording.pub"
    create_keys(private, public)
    where_to = {"folder": str(folder / "recordings"), "public_key": str(public), "private_key": str(private)}
    return {"enabled": True, **where_to, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the keys and recordings lie."""
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    """A node that records."""
    with Site(recording=settings(folder)) as node:
        yield node


def recorded(folder: Path, call_id: str, *, complete: bool = True) -> Summary:
    """The call's recording, once it has ended."""

    def found() -> Summary | None:
        ours = [one for one in recordings(folder / "recordings") if one.header.call_id == call_id]
        return ours[0] if ours and (ours[0].complete or not complete) else None

    return found() if not complete else until(found, what="recording that has ended")


def exported(folder: Path, one: Summary) -> tuple[np.ndarray, np.ndarray]:
    """What the operator said, and what the operator heard."""
    target = folder / f"{one.header.recording_id}.wav"
    with target.open("wb") as file:
        export_wav(one.path, read_private_key(folder / "recording.key"), file)
    with wave.open(str(target)) as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


def assert_no_key(sound: np.ndarray) -> None:
    """No detector recovers one."""
    assert dsp.detect(sound) == []
    assert spandsp_keys(sound) == ""
    assert dsp.ToneListener().process(sound) == 0


def test_a_call_with_a_capture_is_recorded_as_its_operator_lived_it(site: Site, folder: Path) -> None:
    call = Call(site)
    began = time.monotonic()
    notice = PromptLibrary(None).sound("en", RECORDING_NOTICE)
    time.sleep(notice.size / 8000 + 0.5)
    until(lambda: share_found(call.caller_heard().pcm, notice) > SURE, what="notice to the caller")
    before, asking = speech("caller-hello"), speech("operator-key")
    call.caller_plays(Stream().audio(before), wait=False)
    call.agent_plays(Stream().audio(asking))
    call.caller_rtp.wait()
    payment = call.capture(fields=[Field.CARD_NUMBER])
    call.caller_plays(Stream().silence(0.2).keys(CARD + "#", 0.07, 0.06).silence(0.3))
    site.panel.wait("capture.completed", call_id=call.call_id)
    during = speech("caller-done")
    call.caller_plays(Stream().audio(during).silence(0.3))
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    lasted = time.monotonic() - began
    call.hang_up()
    one = recorded(folder, call.call_id)
    assert lasted - 2 < one.seconds < lasted + 10  # we may be told late that the call is there
    said, heard = exported(folder, one)
    found = [share_found(*each) for each in ((said, asking), (heard, before), (heard, during))]
    assert min(found) > SURE, found
    asked_at, told_at, done_at = (
        where(side, part)[0]
        for side, part in ((said, asking[:4000]), (heard, before[:4000]), (heard, during[:4000]))
    )
    assert abs(asked_at - told_at) < 8000, "both sides lie where they were"
    assert done_at > told_at + before.size + 17 * 0.13 * 8000 * 0.9
    assert max(share_found(heard, asking), share_found(said, before)) < NOT_AT_ALL
    assert_no_key(said)
    assert_no_key(heard)
    # The file is not sound: not as linear samples, not as G.711, at any offset of a sample.
    data = one.path.read_bytes()
    for raw in (
        np.frombuffer(data[: len(data) // 2 * 2], "<i2"),
        dsp.decode_alaw(np.frombuffer(data, np.uint8)),
    ):
        assert share_found(np.asarray(raw, dtype=np.int16), asking) == 0
    assert CARD.encode() not in data


def test_a_change_in_the_file_is_found_and_named(
    site: Site, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Call(site)
    time.sleep(1.2)
    call.hang_up()
    one = recorded(folder, call.call_id)
    config = folder / "paycall.toml"
    table = "\n".join(f'{name} = "{folder / place}"' for name, place in PLACES.items())
    panel = f'[media]\ncontrol_address = "{site.settings["control_address"]}"\n'  # it is told who exports
    config.write_text(f"{panel}[media.recording]\n{table}\n")
    command = ["recording", "--config", str(config), "export", one.header.recording_id]
    assert main([*command, str(folder / "whole.wav")]) == 0
    data = bytearray(one.path.read_bytes())
    data[-40] ^= 0x10
    one.path.write_bytes(data)
    assert main([*command, str(folder / "changed.wav")]) == 1
    assert "was changed, moved or taken from elsewhere" in capsys.readouterr().err
    assert not (folder / "changed.wav").exists()


PLACES = {"folder": "recordings", "public_key": "recording.pub", "private_key": "recording.key"}


def test_a_killed_cell_leaves_what_it_had_written(site: Site, folder: Path) -> None:
    call = Call(site)
    asking = speech("operator-key")
    call.agent_plays(Stream().audio(asking).silence(1.6))
    kill(site.pids()[site.sip_port])
    site.panel.wait("node.cell-lost")
    one = recorded(folder, call.call_id, complete=False)
    assert not one.complete
    said, _ = exported(folder, one)
    assert share_found(said, asking) > SURE
    site.hang_up_all()
    until(lambda: site.pids(), what="another cell")


def test_the_call_goes_on_when_nothing_more_can_be_written(site: Site, folder: Path) -> None:
    """The kernel refuses to let the cell's files grow, as a full disk would."""
    call = Call(site)
    until(lambda: recorded(folder, call.call_id, complete=False), what="recording")
    cell = psutil.Process(site.pids()[site.sip_port])
    assert "recording_failed" not in site.log()
    log_bytes = (site.folder / "node.log").stat().st_size  # the cell writes into it as well
    cell.rlimit(resource.RLIMIT_FSIZE, (log_bytes + 20_000, resource.RLIM_INFINITY))
    until(lambda: "recording_failed" in site.log(), what="alarm")
    assert site.panel.wait("call.recording", 2, call_id=call.call_id).recording == "failed"
    with pytest.raises(StateError):
        site.panel.run(site.panel.hub.pause_recording(call.call_id, True))
    since = time.monotonic()
    sentence = speech("caller-hello")
    call.caller_plays(Stream().audio(sentence).silence(0.3))
    until(lambda: loudness(call.agent_heard(since).pcm).max(initial=0) > 1000, what="speech")
    payment = call.capture(fields=[Field.SECURITY_CODE])
    call.caller_plays(Stream().silence(0.2).events("123", 0.06, 0.05))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.SECURITY_CODE: "123"}


def test_what_is_paused_is_silence_and_old_recordings_are_deleted(tmp_path: Path) -> None:
    """By setting while the caller keys, and by the operator's word."""
    recording = settings(tmp_path, captures=False, notice=False, keep_days=30)
    key = read_public_key(tmp_path / "recording.pub")
    old = RecordingFile(tmp_path / "recordings", new_id("rec"), new_id("call"), time.time() - 31 * 86400, key)
    old.close()
    kept, captured, paused = speech("caller-moment"), speech("caller-done"), speech("caller-other")
    with Site(recording=recording) as node:
        call = Call(node)
        payment = call.capture(fields=[Field.CARD_NUMBER])
        call.caller_plays(Stream().silence(0.2).audio(captured).silence(1.0))
        node.panel.run(node.panel.hub.end_capture(call.call_id, payment))
        node.panel.wait("call.mask", 2, call_id=call.call_id)
        node.panel.run(node.panel.hub.pause_recording(call.call_id, True))
        call.caller_plays(Stream().silence(0.2).audio(paused).silence(1.0))
        node.panel.run(node.panel.hub.pause_recording(call.call_id, False))
        node.panel.wait("call.recording", 3)
        assert [event.recording for event in node.panel.of_type("call.recording")] == ["on", "paused", "on"]
        call.caller_plays(Stream().silence(0.3).audio(kept).silence(0.3))
        call.hang_up()
        said, heard = exported(tmp_path, recorded(tmp_path, call.call_id))
    assert share_found(heard, kept) > SURE
    for left_out in (captured, paused):
        assert share_found(heard, left_out) < NOT_AT_ALL
    before = heard[4000 : where(heard, kept[:4000])[0] - 1600]
    assert before.size > captured.size + paused.size, "silence, not a cut"
    assert loudness(before).max() < 20
    assert said.size == heard.size
    assert not old.path.exists(), "what is older than thirty days is deleted"


def test_prepare_makes_the_keys(tmp_path: Path) -> None:
    config = tmp_path / "paycall.toml"
    config.write_text(f'[site]\nvar = "{tmp_path / "var"}"\n')
    assert main(["prepare", "--config", str(config)]) == 0
    private, public = (tmp_path / "var" / f"recording.{end}" for end in ("key", "pub"))
    assert private.stat().st_mode & 0o777 == 0o600
    assert read_private_key(private)
    assert public.exists()
