"""Recordings at rest: unreadable without the key, whole or named as damaged, deleted in time."""

from __future__ import annotations

import io
import struct
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import dsp
from paycall.domain.errors import SettingsError
from paycall.domain.ids import new_id
from paycall.media.counts import Counts
from paycall.media.recorder import CallRecording, Recorder
from paycall.media.recording import (
    RecordingError,
    RecordingFile,
    create_keys,
    delete_older,
    export_wav,
    open_recording,
    read_private_key,
    read_public_key,
    recordings,
    summary,
)

KEY = X25519PrivateKey.generate()
CHUNKS = [bytes([number]) * 16000 for number in range(1, 4)]


def write(folder: Path, *, began: float = 1000.0, ended: bool = True) -> Path:
    """A recording of three chunks, a second each."""
    file = RecordingFile(folder, new_id("rec"), new_id("call"), began, KEY.public_key())
    for number, chunk in enumerate(CHUNKS):
        file.write(chunk, last=ended and number == len(CHUNKS) - 1)
    file.close()
    return file.path


def offsets(data: bytes) -> list[int]:
    """Where each chunk begins."""
    at = 14 + 4 + int.from_bytes(data[14:18], "big")
    found = []
    while at < len(data):
        found.append(at)
        at += 5 + int.from_bytes(data[at + 1 : at + 5], "big")
    return found


def test_what_was_written_is_read_with_the_private_key_only(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert list(open_recording(path, KEY)) == CHUNKS
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RecordingError, match="another key"):
        list(open_recording(path, X25519PrivateKey.generate()))
    (found,) = recordings(tmp_path)
    assert (found.seconds, found.complete) == (3.0, True)


def test_the_file_does_not_look_like_sound(tmp_path: Path) -> None:
    """Its bytes are as even as noise, where a steady tone's would be a few values."""
    file = RecordingFile(tmp_path, new_id("rec"), new_id("call"), 0.0, KEY.public_key())
    tone = dsp.encode_alaw((8000 * np.sin(2 * np.pi * 500 * np.arange(16000) / 8000)).astype(np.int16))
    for _ in range(8):
        file.write(np.repeat(tone, 2).astype(np.uint8).tobytes())
    file.close()
    counts = np.bincount(np.frombuffer(file.path.read_bytes(), np.uint8), minlength=256)
    assert counts.max() / counts.mean() < 1.3
    assert tone[:400].tobytes() not in file.path.read_bytes()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_changed_chunk_is_named(number: int, tmp_path: Path) -> None:
    path = write(tmp_path)
    data = bytearray(path.read_bytes())
    data[offsets(data)[number - 1] + 100] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=f"chunk {number} was changed"):
        list(open_recording(path, KEY))


def test_chunks_that_are_swapped_taken_out_repeated_or_cut_off_are_found(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    a, b, c = offsets(data)
    for damaged, chunk in (
        (data[:a] + data[b:c] + data[a:b] + data[c:], 1),
        (data[:b] + data[c:], 2),
        (data[:b] + data[a:], 2),
        (data[: c - 1 + 1] + b"\x00" + data[c + 1 :], 3),  # the last one no longer says that it is
    ):
        path.write_bytes(damaged)
        with pytest.raises(RecordingError, match=f"chunk {chunk} was changed"):
            list(open_recording(path, KEY))
    path.write_bytes(data + data[a:b])
    with pytest.raises(RecordingError, match="something was added"):
        list(open_recording(path, KEY))
    path.write_bytes(data[:c])  # the end cut off at a chunk: readable, and told
    assert list(open_recording(path, KEY)) == CHUNKS[:2]
    assert not summary(path).complete
    other = write(tmp_path / "other").read_bytes()
    path.write_bytes(data[:a] + other[offsets(other)[0] :])
    with pytest.raises(RecordingError, match="chunk 1 was changed"):
        list(open_recording(path, KEY))


@pytest.mark.parametrize("field", [b'"call_id": "call_', b'"started_at": 1', b'"sealed": "'])
def test_a_changed_header_is_found(field: bytes, tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    at = data.index(field) + len(field)
    if field.startswith(b'"started'):
        path.write_bytes(data.replace(b"1000.0", b"2000.0"))
    else:
        other = b"B" if data[at : at + 1] == b"A" else b"A"
        path.write_bytes(data[:at] + other + data[at + 1 :])
    assert path.read_bytes() != data
    with pytest.raises(RecordingError):
        list(open_recording(path, KEY))


def test_a_file_that_broke_off_is_whole_up_to_its_last_chunk(tmp_path: Path) -> None:
    path = write(tmp_path, ended=False)
    assert list(open_recording(path, KEY)) == CHUNKS
    whole = path.read_bytes()
    for cut in (1, 3, 5000, 15999):
        path.write_bytes(whole[:-cut])
        assert list(open_recording(path, KEY)) == CHUNKS[:2]
        assert not summary(path).complete


def test_keys_are_made_once_for_this_user_and_a_public_one_opens_nothing(tmp_path: Path) -> None:
    private, public = tmp_path / "recording.key", tmp_path / "recording.pub"
    create_keys(private, public)
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    create_keys(private, public)
    assert private.read_bytes() == before
    assert read_private_key(private).public_key() == read_public_key(public)
    with pytest.raises(SettingsError):
        read_private_key(public)
    private.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        read_private_key(private)


def test_old_recordings_are_deleted(tmp_path: Path) -> None:
    day = 86400.0
    old, fresh = write(tmp_path, began=10 * day), write(tmp_path, began=12 * day)
    (tmp_path / "notes.rec").write_text("no recording")
    assert len(delete_older(tmp_path, 30, now=41 * day)) == 1
    assert (old.exists(), fresh.exists()) == (False, True)


def test_the_operator_is_left_and_what_was_heard_is_right(tmp_path: Path) -> None:
    now = [100.0]
    recording = CallRecording(new_id("call"), lambda: now[0])
    recording.start()
    for _ in range(10):
        now[0] += 0.1
        recording.said.add(np.full(800, 4000, np.int16))
        recording.heard.add(np.full(800, -2000, np.int16))
    now[0] += 1.0  # PJSIP calls nobody for a second: silence keeps both together
    recording.said.add(np.full(800, 4000, np.int16))
    recording.heard.add(np.full(800, -2000, np.int16))
    file = RecordingFile(tmp_path, new_id("rec"), recording.call_id, 0.0, KEY.public_key())
    file.write(recording.take(all_of_it=True), last=True)
    file.close()
    target = io.BytesIO()
    export_wav(file.path, KEY, target)
    target.seek(0)
    with wave.open(target) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getsampwidth()) == (2, 8000, 2)
        both = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2)
    assert both.shape == (16000, 2)
    assert np.allclose(both[:8000], [4000, -2000], rtol=0.05)
    assert np.abs(both[8000:15200]).max() <= 8
    assert np.allclose(both[15200:], [4000, -2000], rtol=0.05)


def test_a_muted_recording_keeps_its_length() -> None:
    now = [0.0]
    recording = CallRecording(new_id("call"), lambda: now[0])
    recording.start()
    for muted in (False, True, False):
        recording.mute(muted)
        now[0] += 0.1
        for side in (recording.said, recording.heard):
            side.add(np.full(800, 4000, np.int16))
    taken = np.frombuffer(recording.take(all_of_it=True), np.uint8).reshape(-1, 2)
    loud = np.abs(dsp.decode_alaw(taken[:, 0]).astype(int)) > 1000
    assert loud.tolist() == [True] * 800 + [False] * 800 + [True] * 800


def test_a_folder_that_cannot_be_written_ends_nothing_but_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    counts = Counts()
    recorder = Recorder(tmp_path / "taken", KEY.public_key(), counts)
    failed = threading.Event()
    recording = recorder.begin(new_id("call"), failed.set)
    recording.start()
    recording.said.add(np.zeros(800, np.int16))
    assert failed.wait(10), "whoever was told that it is recorded is told that it is not"
    recording.said.add(np.zeros(800, np.int16))
    assert recording.take(all_of_it=True) == b"", "nothing is kept that nobody takes"
    recorder.end(recording)
    recorder.stop()
    assert counts.all() == {"recording_failures": 1}
    assert "recording_failed" in capsys.readouterr().out


def test_a_chunk_s_head_is_five_bytes() -> None:
    """The layout that ``offsets`` above and the module's docstring rely on."""
    assert struct.calcsize("!?I") == 5
