"""The promise on which 'bit for bit' rests: every sum is an integer that float32 holds exactly."""

import numpy as np
import pytest

from dsp import goertzel


def test_no_sum_can_leave_what_float32_holds():
    assert goertzel.LARGEST_SUM < 2**24


@pytest.mark.parametrize("channels", [1, 2, 63, 64, 128])
def test_sums_are_those_of_integers(channels):
    rng = np.random.default_rng(channels)
    blocks = rng.choice(
        np.array([-32768, 32767, -1, 0, 1, 12345], dtype=np.int16), (3, channels, goertzel.BLOCK)
    )
    table = goertzel._TABLE.astype(np.int64)
    expected = np.einsum("fn,scn->sfc", table, blocks.astype(np.int64) >> goertzel.SAMPLE_SHIFT)
    assert np.array_equal(goertzel.block_sums(blocks), expected)
