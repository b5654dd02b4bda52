"""The stages between the legs, and the ports' promise: an error gives silence, never the caller's sound."""

from __future__ import annotations

import numpy as np
import pjsua2 as pj
import pytest

import dsp
from paycall.media.frames import FAST, FrameWriter, read_samples
from paycall.media.pipeline import Pipeline, build_pipeline


def run(pipeline: Pipeline, pcm: np.ndarray, block: int = 160) -> np.ndarray:
    return np.concatenate(
        [pipeline.process(pcm[i : i + block]) for i in range(0, pcm.size - block + 1, block)]
    )


def keyed(keys: str) -> np.ndarray:
    parts = [dsp.silence(0.3)]
    for key in keys:
        parts += [dsp.dtmf_tone(key, 0.1, -10.0), dsp.silence(0.1)]
    return np.concatenate([*parts, dsp.silence(0.3)])


def test_keys_are_reported_with_their_moments_and_taken_out() -> None:
    heard: list[tuple[str, float, float]] = []
    pipeline = build_pipeline(lambda *key: heard.append(key), "silence")
    out = run(pipeline, keyed("4111"))
    assert [key for key, _, _ in heard] == list("4111")
    for _, began, ended in heard:
        assert 0.08 < began - ended < 0.13
        assert 0.0 <= ended < 0.08
    assert dsp.detect(out) == []


def test_the_tap_waits_in_quiet_and_misses_nothing() -> None:
    heard: list[tuple[str, float, float]] = []
    pipeline = build_pipeline(lambda *key: heard.append(key), "silence")
    talk = (np.random.default_rng(2).standard_normal(8000) * 1000).astype(np.int16)
    run(pipeline, np.concatenate([talk, keyed("70"), talk, keyed("9"), talk]))
    assert [key for key, _, _ in heard] == list("709")
    assert all(0.0 <= ended < 0.065 for _, _, ended in heard)  # three blocks, whatever waited before


def test_a_held_key_is_known_while_it_sounds() -> None:
    heard: list[str] = []
    pipeline = build_pipeline(lambda key, *_: heard.append(key), "silence")
    run(pipeline, np.concatenate([dsp.silence(0.3), dsp.dtmf_tone("5", 0.3, -10.0)]))
    assert (pipeline.key_sounds, heard) == (True, [])
    run(pipeline, dsp.silence(0.3))
    assert (pipeline.key_sounds, heard) == (False, ["5"])


def test_sound_around_an_event_is_hushed_but_still_tapped() -> None:
    heard: list[str] = []
    pipeline = build_pipeline(lambda key, *_: heard.append(key), "silence")
    noise = (np.random.default_rng(1).standard_normal(8000) * 3000).astype(np.int16)
    run(pipeline, noise)
    pipeline.cover_event()
    out = run(pipeline, noise)
    quiet = np.flatnonzero(np.abs(out.astype(int)) > 0)
    assert np.max(np.diff(quiet)) >= 0.09 * 8000


def test_a_chain_prints_itself() -> None:
    assert str(build_pipeline(lambda *_: None, "silence")) == "caller -> tap -> hush -> mask -> agent"


def test_released_it_leaves_without_delay() -> None:
    pipeline = build_pipeline(lambda *_: None, "silence")
    tone = (5000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype(np.int16)
    run(pipeline, tone)
    assert pipeline.masking
    pipeline.release()
    run(pipeline, tone)
    assert not pipeline.masking
    assert np.array_equal(pipeline.process(tone[:160]), tone[:160])


def test_frames_are_written_and_read_back_fast() -> None:
    assert FAST  # the pinned wheel's layout; a wheel where this fails still works, at 25 times the cost
    frame, pcm = pj.MediaFrame(), np.arange(-80, 80, dtype=np.int16)
    FrameWriter(160).write(frame, pcm)
    assert np.array_equal(read_samples(frame, 160), pcm)
    frame.buf = pj.ByteVector(b"")
    assert not read_samples(frame, 160).any()
    with pytest.raises(ValueError, match="length"):
        FrameWriter(160).write(frame, pcm[:-1])
