"""Levels: from 16-bit samples to dBm0 and back.

ITU-T G.711 fixes the top of the scale: the largest sine that A-law can carry, with a peak of 4096 of
its 13-bit steps, is +3.14 dBm0; the largest of µ-law, 8159 of its 14-bit steps, is +3.17 dBm0. In
16-bit samples that is a peak of 32 768 and of 32 636. So 0 dBm0 is a sine with a peak of 22 827 (an
RMS of 16 141) where samples come from A-law, and 0.07 dB less where they come from µ-law.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dsp.checks import Floats, Pcm, check_level, check_pcm

FULL_SCALE_PEAK = 32768.0
ALAW_FULL_SCALE_DBM0 = 3.14  # of a sine with a peak of 32768
ULAW_FULL_SCALE_DBM0 = 3.17 + 20.0 * float(np.log10(FULL_SCALE_PEAK / 32636.0))
SILENCE_DBM0 = -120.0  # reported for digital silence, which has no level


def dbm0_to_peak(level_dbm0: float, full_scale_dbm0: float = ALAW_FULL_SCALE_DBM0) -> float:
    """Peak (in 16-bit units) of a sine of this level; ``ValueError`` unless it is within 300 dB of 0."""
    over_full_scale_db = check_level("level_dbm0", level_dbm0) - check_level(
        "full_scale_dbm0", full_scale_dbm0
    )
    return FULL_SCALE_PEAK * float(10.0 ** (over_full_scale_db / 20.0))


def dbm0_to_rms(level_dbm0: float, full_scale_dbm0: float = ALAW_FULL_SCALE_DBM0) -> float:
    """RMS (in 16-bit units) of any signal of this level; ``ValueError`` unless it is within 300 dB of 0."""
    return dbm0_to_peak(level_dbm0, full_scale_dbm0) / float(np.sqrt(2.0))


def power_to_dbm0(mean_square: ArrayLike, full_scale_dbm0: float = ALAW_FULL_SCALE_DBM0) -> Floats:
    """Level in dBm0 of a mean square in squared 16-bit units; silence gives ``SILENCE_DBM0``.

    Raises
    ------
    ValueError
        Something that is no number, negative or not finite; a full scale that is none.
    """
    squares = np.asarray(mean_square)
    if squares.dtype.kind not in "iuf" or not np.isfinite(squares).all() or (squares < 0).any():
        raise ValueError("mean squares must be finite numbers of at least 0")
    full_scale_dbm0 = check_level("full_scale_dbm0", full_scale_dbm0)
    full_scale = FULL_SCALE_PEAK**2 / 2.0
    floor = full_scale * 10.0 ** ((SILENCE_DBM0 - full_scale_dbm0) / 10.0)
    power = np.maximum(squares.astype(np.float64), floor)
    return np.asarray(10.0 * np.log10(power / full_scale) + full_scale_dbm0)


def level_dbm0(pcm: Pcm, full_scale_dbm0: float = ALAW_FULL_SCALE_DBM0) -> float:
    """Level in dBm0 of a whole block of samples.

    Raises
    ------
    ValueError
        The block is empty or is not one channel of int16.
    """
    samples = check_pcm(pcm)
    if samples.size == 0:
        raise ValueError("an empty block has no level")
    return float(power_to_dbm0(np.mean(np.square(samples, dtype=np.float64)), full_scale_dbm0))
