"""What an eavesdropper hears behind the masker: nothing that helps.

A seeded part of what `make bench-dsp` measures: two strings of 17 keys over each of 34 lines, masked
in 20 ms frames of every phase, and 20 minutes of speech.
"""

import numpy as np
import pytest
from dsp_lab import measure, speech
from dsp_lab.impairments import IMPAIRMENTS

AS_LOUD = "a talker 10 dB below"  # its bursts are as loud as the tones


@pytest.fixture(scope="module")
def masked():
    return {name: measure.masked_over(name, 2) for name in IMPAIRMENTS}


@pytest.mark.parametrize("line", IMPAIRMENTS, ids=[f"{n:02}-{name}" for n, name in enumerate(IMPAIRMENTS, 1)])
def test_line(masked, line):
    found = masked[line]
    assert found.spandsp == 0
    assert found.listener == 0
    assert np.percentile(found.residual_db, 95) <= -50
    assert max(found.worst_10_ms_db) <= -40


def test_over_all_lines(masked):
    total = measure.Masked()
    for name, found in masked.items():
        if name != AS_LOUD:
            total.merge(found)
    assert total.keys == 33 * 2 * 17
    # 6.25 % is chance; 1,122 keys scatter around it with a standard deviation of 0.7 %.
    assert total.matched / total.keys <= 0.07 + 0.007
    assert max(total.residual_db) <= -50


def test_without_the_masker_all_of_it_is_heard():
    """The measure itself is worth something: unmasked, the matched filter recovers what was keyed."""
    keyed, pcm = measure.arrival("white noise 12 dB", 0)
    named = [(symbol, *moment) for symbol, moment in zip(keyed.keys, keyed.moments, strict=True)]
    assert measure.dsp.matched_recovery(pcm, keyed.moments, keyed.keys) == 17
    assert measure.dsp.residual_db(pcm, named, keyed.level_dbm0).max() > -10


def test_speech_is_left_alone():
    """The half of the recordings that no threshold was tuned on."""
    assert measure.muted_share(speech.tapes(1 / 3, music=False, stride=7, part="held out")) <= 0.003


def test_voices_whose_consonants_burst_out_of_silence_are_left_alone():
    assert measure.muted_share(speech.voices(4)) <= 0.0045
