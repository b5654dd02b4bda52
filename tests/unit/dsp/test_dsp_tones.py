"""Generator and levels: what is asked for is what comes out."""

import math

import numpy as np
import pytest

import dsp


def peak_at(pcm, frequency_hz, rate=8000):
    angle = 2j * np.pi * frequency_hz / rate * np.arange(pcm.size)
    return abs(pcm.astype(float) @ np.exp(angle)) * 2 / pcm.size


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("symbol", dsp.SYMBOLS)
def test_a_key_is_its_two_tones_at_their_levels(symbol, rate):
    low_hz, high_hz = dsp.frequencies_hz(symbol)
    pcm = dsp.dtmf_tone(symbol, 1.0, level_dbm0=-12.0, twist_db=3.0, sample_rate_hz=rate)
    assert pcm.dtype == np.int16 and pcm.shape == (rate,)
    assert peak_at(pcm, low_hz, rate) == pytest.approx(dsp.dbm0_to_peak(-13.5), rel=0.01)
    assert peak_at(pcm, high_hz, rate) == pytest.approx(dsp.dbm0_to_peak(-10.5), rel=0.01)
    assert dsp.level_dbm0(pcm) == pytest.approx(10 * math.log10(10**-1.35 + 10**-1.05), abs=0.05)


def test_full_scale_is_3_14_dbm0():
    assert dsp.dbm0_to_peak(3.14) == pytest.approx(32768)
    assert dsp.dbm0_to_rms(0.0) == pytest.approx(16141, abs=1)
    assert dsp.power_to_dbm0(0.0) == -120.0


def test_a_string_of_keys_has_its_timing():
    pcm = dsp.dtmf_string("12", on_s=0.05, off_s=0.03)
    assert pcm.size == 2 * (400 + 240)
    assert not pcm[400:640].any() and pcm[640:1040].any()
    assert dsp.dtmf_string("").size == 0


def test_a_loud_key_is_clipped_not_wrapped():
    pcm = dsp.dtmf_tone("5", 0.1, level_dbm0=1.0).astype(int)
    assert np.abs(np.diff(pcm)).max() < 45000
    assert pcm.max() == 32767


@pytest.mark.parametrize(
    "arguments",
    [
        ("E", 0.1),
        ("12", 0.1),
        ("", 0.1),
        ("1", -0.1),
        ("1", math.nan),
        ("1", 0.1, math.inf),
        ("1", 0.1, -10.0, 0.0, 44100),
    ],
)
def test_impossible_tones_are_refused(arguments):
    with pytest.raises(ValueError, match=r"^(a DTMF key|duration_s|level_dbm0|sample_rate_hz) "):
        dsp.dtmf_tone(*arguments)


def test_an_empty_block_has_no_level():
    with pytest.raises(ValueError, match="empty"):
        dsp.level_dbm0(np.zeros(0, dtype=np.int16))


@pytest.mark.parametrize("number", [math.nan, math.inf, None, "1", True, 1e308, 10**400, np.array([1.0])])
def test_what_is_no_finite_number_is_refused(number):
    pcm = dsp.silence(0.2)
    for refuse in (
        lambda: dsp.dtmf_tone("1", number),
        lambda: dsp.dtmf_string("1", 0.1, number),
        lambda: dsp.silence(number),
        lambda: dsp.dbm0_to_peak(number),
        lambda: dsp.dbm0_to_rms(number),
        lambda: dsp.power_to_dbm0(1.0, number),
        lambda: dsp.level_dbm0(pcm, number),
        lambda: dsp.matched_recovery(pcm, [(0.0, number)], "1"),
        lambda: dsp.residual_db(pcm, [("1", 0.0, 0.1)], number),
    ):
        with pytest.raises(ValueError, match="finite"):
            refuse()


@pytest.mark.parametrize("mean_square", [math.nan, math.inf, None, "1", True, -1.0, [1.0, -1.0], 1j])
def test_what_is_no_power_has_no_level(mean_square):
    with pytest.raises(ValueError, match="mean squares"):
        dsp.power_to_dbm0(mean_square)


def test_a_number_of_numpy_is_a_number():
    """Even a small one, whose arithmetic would overflow."""
    assert np.array_equal(dsp.dtmf_tone("1", np.uint8(1), np.int16(-10)), dsp.dtmf_tone("1", 1.0, -10.0))
    assert dsp.dbm0_to_peak(np.float32(0), np.uint8(3)) == dsp.dbm0_to_peak(0, 3)


@pytest.mark.parametrize("key", [None, 5, b"1", ["1"], "12", "x"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="DTMF"):
        dsp.dtmf_tone(key, 0.1)
