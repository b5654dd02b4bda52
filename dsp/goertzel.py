"""The power of the eight DTMF tones in every window of many channels, exactly.

A window is 20 ms (160 samples) under half a sine wave. Goertzel's recursion is a filter for one
frequency and one channel; here the same sums for all of them are one matrix product of the samples
with a table of windowed cosines and sines.

Exactness: samples are integers, cut to their upper 12 bits (the finest step of A-law), and the table is
rounded to 7 bits and a sign, so every product and every sum is an integer below 2**24, which float32 holds without
rounding. The result therefore cannot depend on the order in which a BLAS adds, on the number of channels,
or on how a stream was cut into blocks; and float32 is twice as fast as float64. What is computed from the
sums is elementwise and in a fixed order, for the same reason; functions whose last bit varies with the
length of an array (arctan2, hypot, pairwise sums) are not used.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsp.checks import Floats
from dsp.tones import HIGH_HZ, LOW_HZ

RATE_HZ: Final = 8000
BLOCK: Final = 80  # samples: 10 ms, the step from window to window
WINDOW: Final = 2 * BLOCK
DTMF_HZ: Final = LOW_HZ + HIGH_HZ
SAMPLE_SHIFT: Final = 4  # bits that are cut: 16 of full scale's 32768, 85 dB below it
TABLE_SCALE: Final = 120.0  # a coarse table: its rounding adds sidelobes 69 dB down


def sine_window(length: int) -> Floats:
    """Half a sine wave: main lobe ±1.5 bins, sidelobes falling by 12 dB an octave.

    At 20 ms a tone 257 Hz away (dial tone at 440 Hz beside 697 Hz) is 40 dB down.
    """
    return np.asarray(np.sin(np.pi * (np.arange(length) + 0.5) / length))


def _integer_table() -> NDArray[np.float32]:
    """Windowed cosines, then sines, shape ``(16, 160)``. Phases count from the middle of the window."""
    time_s = (np.arange(WINDOW) - (WINDOW - 1) / 2.0) / RATE_HZ
    angle = 2.0 * np.pi * np.outer(DTMF_HZ, time_s)
    waves = sine_window(WINDOW) * np.vstack([np.cos(angle), -np.sin(angle)])
    return np.asarray(np.rint(TABLE_SCALE * waves), dtype=np.float32)


_TABLE: Final = _integer_table()
_TABLE_BY_SAMPLE: Final = np.ascontiguousarray(_TABLE.T)
_FEW: Final = 32
LARGEST_SUM: Final = 2.0 ** (15 - SAMPLE_SHIFT) * float(np.abs(_TABLE).sum(axis=1).max())
"""What a sum can reach at most; it must stay below 2**24 (tests/unit/dsp/test_dsp_goertzel.py)."""
POWER_TO_PEAK_SQUARED: Final = (
    2.0**SAMPLE_SHIFT * 2.0 / (TABLE_SCALE * float(sine_window(WINDOW).sum()))
) ** 2
"""Factor from ``re**2 + im**2`` to the squared peak of a steady tone."""


def tone_sums(windows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Real parts of the eight tones, then imaginary parts, of every window.

    Parameters
    ----------
    windows : ndarray of float32, shape ``(steps, n, 160)``
        Samples cut to their upper 12 bits: whole numbers.
    out : ndarray of float32, shape ``(steps, 16, n)``
        Where to put them.
    """
    steps, count, _ = windows.shape
    if steps > 1 and count < _FEW:  # one product, though what it gives must be turned round
        sums = windows.reshape(steps * count, WINDOW) @ _TABLE_BY_SAMPLE
        out[...] = sums.reshape(steps, count, 16).transpose(0, 2, 1)
    else:
        np.matmul(_TABLE, windows.transpose(0, 2, 1), out=out)
