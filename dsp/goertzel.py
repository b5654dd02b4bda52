"""The power of the eight DTMF tones in every window of many channels, exactly.

A window is 20 ms (160 samples) under half a sine wave, one every 10 ms. Goertzel's recursion is a
filter for one frequency and one channel; here the same sums for all of them are one matrix product
of the samples with a table of windowed cosines and sines.

Exactness: samples are integers and the table is rounded to integers, so every product and every sum
is an integer below 2**53, which float64 holds without rounding. The result therefore cannot depend
on the order in which a BLAS adds, on the number of channels, or on how a stream was cut into blocks.
What is computed from the sums is elementwise and in a fixed order, for the same reason; functions
whose last bit varies with the length of an array (arctan2, hypot, pairwise sums) are not used.

The window consists of two blocks of 10 ms. Each block is multiplied once with both halves of the
table: as the second half of one window and as the first half of the next.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dsp.checks import Floats
from dsp.tones import HIGH_HZ, LOW_HZ

RATE_HZ: Final = 8000
BLOCK: Final = 80  # samples: 10 ms, the step from window to window
WINDOW: Final = 2 * BLOCK
DTMF_HZ: Final = LOW_HZ + HIGH_HZ
TABLE_SCALE: Final = 2.0**20


def sine_window(length: int) -> Floats:
    """Half a sine wave: main lobe ±1.5 bins, sidelobes falling by 12 dB an octave.

    At 20 ms a tone 257 Hz away (dial tone at 440 Hz beside 697 Hz) is 40 dB down.
    """
    return np.asarray(np.sin(np.pi * (np.arange(length) + 0.5) / length))


def _integer_table() -> Floats:
    """Cosines and sines, shape ``(32, 80)``: first-half cos, sin, then second-half cos, sin.

    Phases count from the middle of the window. Rounded to integers: 2**20 keeps the error of the
    table below -110 dB, and 2**15 * 2**20 * 80 samples is below 2**42.
    """
    window = sine_window(WINDOW)
    time_s = (np.arange(WINDOW) - (WINDOW - 1) / 2.0) / RATE_HZ
    angle = 2.0 * np.pi * np.outer(DTMF_HZ, time_s)
    table = np.rint(TABLE_SCALE * np.vstack([window * np.cos(angle), -window * np.sin(angle)]))
    return np.ascontiguousarray(np.vstack([table[:, :BLOCK], table[:, BLOCK:]]))


_TABLE_BY_SAMPLE: Final = np.ascontiguousarray(_integer_table().T)
_TILE: Final = 16
POWER_TO_PEAK_SQUARED: Final = (2.0 / (TABLE_SCALE * float(sine_window(WINDOW).sum()))) ** 2
"""Factor from ``re**2 + im**2`` to the squared peak of a steady tone."""


def block_sums(blocks: Floats) -> Floats:
    """Both half-window sums of every block.

    Parameters
    ----------
    blocks : ndarray of float64, shape ``(steps, channels, 80)``
        Integer samples.

    Returns
    -------
    ndarray of float64, shape ``(steps, 32, channels)``
        Rows 0-15 with the first half of the table, 16-31 with the second.
    """
    steps, channels, _ = blocks.shape
    if channels % _TILE:
        sums = blocks.reshape(steps * channels, BLOCK) @ _TABLE_BY_SAMPLE
    else:  # small products of one size are the BLAS's quickest
        sums = np.matmul(blocks.reshape(-1, _TILE, BLOCK), _TABLE_BY_SAMPLE)
    return np.ascontiguousarray(sums.reshape(steps, channels, 32).transpose(0, 2, 1))
