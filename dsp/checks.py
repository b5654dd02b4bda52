"""What every entry of the package asks of the samples it is handed.

Rule: an answer is given before any state changes, so that a refused block leaves a stream as it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Floats = NDArray[np.float64]

SUPPORTED_RATES_HZ = (8000, 16000)


def check_rate(sample_rate_hz: int) -> int:
    """Return the sampling rate, or raise ``ValueError`` unless it is 8000 or 16000 Hz."""
    if isinstance(sample_rate_hz, bool) or sample_rate_hz not in SUPPORTED_RATES_HZ:
        raise ValueError("sample_rate_hz must be 8000 or 16000")
    return int(sample_rate_hz)


def check_numbers(what: str, *values: Any) -> None:
    """Raise ``ValueError`` unless every one of ``values`` is a finite number."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise ValueError(f"{what} must be finite numbers")
        if not math.isfinite(value):
            raise ValueError(f"{what} must be finite numbers")


def check_pcm(pcm: Any, ndim: int = 1) -> Pcm:
    """Return linear samples as a C-contiguous int16 array.

    Parameters
    ----------
    pcm : ndarray of int16
        Shape ``(n,)``, or ``(channels, n)`` with ``ndim=2``. ``n`` may be 0.

    Raises
    ------
    ValueError
        Not a numpy array, another dtype (floats are refused: nobody can tell whether their full
        scale is 1 or 32768, and they may hold NaN), or another number of dimensions (stereo).
    """
    if not isinstance(pcm, np.ndarray):
        raise ValueError("samples must be a numpy array of int16")
    if pcm.dtype.kind != "i" or pcm.dtype.itemsize != 2:
        raise ValueError("samples must be int16 (linear PCM)")
    if pcm.ndim != ndim:
        raise ValueError(
            "samples must be one-dimensional: one channel, not interleaved or stacked"
            if ndim == 1
            else "samples must be two-dimensional: (channels, samples)"
        )
    return np.ascontiguousarray(pcm, dtype=np.int16)
