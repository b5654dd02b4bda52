"""Talk-off: recorded speech must not sound like keys.

A seeded part of what `make bench-dsp` measures there on eight hours and on an hour of mined speech:
24 minutes of each half of the recordings (thresholds are tuned on one of them) in all languages at four
speeds and levels, two minutes of synthetic voices, and the most tone-like fragments of every tenth recording.
"""

import pytest
from dsp_lab import measure, speech

PARTS = [pytest.param("tuning", id="tuning"), pytest.param("held out", id="held-out")]


def test_the_halves_share_no_recording_and_make_the_whole():
    halves = [speech.recordings(part=part) for part in ("tuning", "held out")]
    assert sum(map(len, halves)) == len(speech.recordings())
    assert min(map(len, halves)) > 0.45 * len(speech.recordings())


@pytest.mark.parametrize("part", PARTS)
def test_recorded_speech_holds_no_keys(part):
    counts, hours = measure.false_keys(speech.tapes(0.4, stride=9, part=part))
    assert hours > 0.39
    assert counts["dsp"] == 0


def test_voices_on_which_nothing_was_tuned_hold_no_keys():
    counts, hours = measure.false_keys(speech.voices(2.0))
    assert hours > 0.03
    assert counts["dsp"] == 0


@pytest.mark.parametrize("part", PARTS)
def test_the_most_tone_like_speech_fools_it_no_more_than_spandsp(part):
    tape = speech.adversarial_tape(1.5, (0.85, 1.0, 1.2), stride=10, part=part)
    counts, hours = measure.false_keys([tape])
    assert hours > 0.02
    assert counts["dsp"] <= counts["spandsp"]
