"""The examiner of a leg: finds what is there, and does not find what is not."""

from __future__ import annotations

import numpy as np

from dsp.g711 import decode_alaw, encode_alaw
from dsp.tones import dtmf_string, silence
from paycall.demo.leg_evidence import Pressed, Spoken, examine
from paycall.demo.speech import TEXTS, load

KEYS = "4242424242"
LEAD, GAP, WAY = 4000, 1600, 777


def _call() -> tuple[np.ndarray, list[Spoken], list[Pressed]]:
    """Half a second of silence, a sentence, keys, another sentence; and what lies where."""
    hello, done = load("caller-hello"), load("caller-done")
    tones = dtmf_string(KEYS)
    first_key = LEAD + hello.size + GAP
    pressed = [Pressed(k, first_key + 1600 * i, first_key + 1600 * i + 800) for i, k in enumerate(KEYS)]
    second = first_key + tones.size
    sent = np.concatenate([silence(0.5), hello, silence(0.2), tones, done, silence(0.5)])
    return sent, [Spoken(hello, LEAD, "before"), Spoken(done, second, "during")], pressed


def _over_the_wire(sent: np.ndarray) -> np.ndarray:
    late = np.concatenate([np.zeros(WAY, dtype=np.int16), sent])
    return decode_alaw(encode_alaw(late))


def test_an_open_leg_gives_every_key_away_and_all_speech() -> None:
    sent, spoken, pressed = _call()
    found = examine(_over_the_wire(sent), 0, spoken, pressed)
    assert found.keys_detected == len(KEYS)
    assert found.keys_matched == len(KEYS)
    assert abs(found.tone_residual_db) < 1.0
    assert found.speech_heard == {"before": 1.0, "during": 1.0}


def test_a_masked_leg_gives_no_key_away_and_all_speech() -> None:
    sent, spoken, pressed = _call()
    for key in pressed:
        sent[key.start_sample : key.end_sample] = 0
    found = examine(_over_the_wire(sent), 0, spoken, pressed)
    assert found.keys_detected == 0
    assert found.tone_residual_db < -50
    assert found.speech_heard == {"before": 1.0, "during": 1.0}


def test_a_fifth_of_a_tone_that_leaks_is_seen() -> None:
    sent, spoken, pressed = _call()
    for key in pressed:
        sent[key.start_sample + 160 : key.end_sample] = 0
    found = examine(_over_the_wire(sent), 0, spoken, pressed)
    assert found.keys_matched >= 8
    assert found.tone_residual_db > -20


def test_speech_that_was_muted_is_missed() -> None:
    sent, spoken, pressed = _call()
    sent[pressed[-1].end_sample :] = 0
    found = examine(_over_the_wire(sent), 0, spoken, pressed)
    assert found.speech_heard == {"before": 1.0, "during": 0.0}


def test_phones_that_drift_apart_are_followed() -> None:
    """Every second an eighth of one is lost on the way, as where the recording phone gets no time."""
    sent, spoken, _ = _call()
    wire = _over_the_wire(sent)
    kept = np.concatenate([wire[start : start + 7000] for start in range(0, wire.size, 8000)])
    assert wire.size - kept.size > 6000
    found = examine(kept, 0, spoken, [])
    assert min(found.speech_heard.values()) >= 0.6, "most of the quarters were not touched"
    assert examine(np.zeros_like(kept), 0, spoken, []).speech_heard == {"before": 0.0, "during": 0.0}


def test_a_recording_that_stops_early_is_no_error() -> None:
    sent, spoken, pressed = _call()
    found = examine(_over_the_wire(sent)[:1000], 0, spoken, pressed)
    assert found.speech_heard == {"before": 0.0, "during": 0.0}
    assert found.keys_detected == 0


def test_the_speech_files_are_short_and_sound_like_no_key() -> None:
    from dsp.detector import detect

    for name in TEXTS:
        pcm = load(name)
        assert 8000 < pcm.size < 30_000, name
        assert detect(pcm) == [], name
