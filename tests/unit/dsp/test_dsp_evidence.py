"""The eavesdropper's measures: they find what is there and nothing where nothing is."""

import numpy as np
import pytest

import dsp

KEYS = "4071*D"
MOMENTS = [(0.1 * number, 0.1 * number + 0.05) for number in range(len(KEYS))]
NAMED = [(key, *moment) for key, moment in zip(KEYS, MOMENTS, strict=True)]


@pytest.mark.parametrize("rate", [8000, 16000])
def test_an_unmasked_string_is_recovered_whole(rate):
    pcm = dsp.dtmf_string(KEYS, 0.05, 0.05, -20.0, sample_rate_hz=rate)
    assert dsp.matched_recovery(pcm, MOMENTS, KEYS, rate) == len(KEYS)
    assert dsp.residual_db(pcm, NAMED, -20.0, rate) == pytest.approx(np.zeros(len(KEYS)), abs=1.0)


def test_a_matched_filter_needs_very_little():
    rng = np.random.default_rng(5)
    leak = dsp.dtmf_string(KEYS, 0.05, 0.05, -50.0) + rng.normal(0, 60, 4800).astype(np.int16)
    assert dsp.matched_recovery(leak.astype(np.int16), MOMENTS, KEYS) == len(KEYS)
    assert dsp.residual_db(leak.astype(np.int16), NAMED, -10.0) == pytest.approx(np.full(6, -40.0), abs=2.5)


def test_silence_holds_nothing():
    pcm = dsp.silence(1.0)
    assert dsp.residual_db(pcm, NAMED).tolist() == [-120.0] * len(KEYS)
    assert dsp.matched_recovery(pcm, MOMENTS, KEYS) == KEYS.count("1")  # a guess is always the first key


def test_a_moment_beyond_the_end_holds_nothing():
    assert dsp.residual_db(dsp.silence(0.1), [("5", 3.0, 3.1)]).tolist() == [-120.0]


def test_moments_and_symbols_must_match():
    with pytest.raises(ValueError, match="one moment for each"):
        dsp.matched_recovery(dsp.silence(1.0), MOMENTS, "1")
    with pytest.raises(ValueError, match="DTMF key"):
        dsp.matched_recovery(dsp.silence(1.0), [(0.0, 0.1)], ["x"])


@pytest.mark.parametrize(
    "moments", [None, 5, [1], [None], "1", [(0.0, 0.1, 0.2)], [(0.0, "x")], [(0.0, np.inf)]]
)
def test_what_is_no_moment_is_refused(moments):
    pcm = dsp.silence(0.2)
    with pytest.raises(ValueError, match="moment"):
        dsp.matched_recovery(pcm, moments, "1")
    with pytest.raises(ValueError, match="moment"):
        dsp.residual_db(pcm, moments if not isinstance(moments, list) else [("1", m) for m in moments])
