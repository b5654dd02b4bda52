"""The promise on which 'bit for bit' rests: every sum is an integer that float32 holds exactly."""

import numpy as np
import pytest

from dsp import goertzel


def test_no_sum_can_leave_what_float32_holds():
    assert goertzel.LARGEST_SUM < 2**24


@pytest.mark.parametrize("channels", [1, 2, 63, 64, 128])
def test_sums_are_those_of_integers(channels):
    rng = np.random.default_rng(channels)
    pcm = rng.choice(
        np.array([-32768, 32767, -1, 0, 1, 12345], dtype=np.int16), (3, channels, goertzel.WINDOW)
    )
    samples = pcm >> goertzel.SAMPLE_SHIFT
    table = goertzel._TABLE.astype(np.int64)
    sums = np.empty((3, 16, channels), dtype=np.float32)
    goertzel.tone_sums(samples.astype(np.float32), sums)
    assert np.array_equal(sums, np.einsum("fn,scn->sfc", table, samples.astype(np.int64)))


def test_a_square_wave_of_full_scale_is_exact_too():
    """The most that a sum can be: samples at the ends of the scale, with the signs of the table."""
    table = goertzel._TABLE.astype(np.int64)
    worst = np.where(table > 0, 2047, -2048)
    sums = np.empty((1, 16, 16), dtype=np.float32)
    goertzel.tone_sums(worst[None].astype(np.float32), sums)
    assert np.array_equal(sums[0], table @ worst.T)
