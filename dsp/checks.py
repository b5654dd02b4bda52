"""What every entry of the package asks of the samples it is handed.

Rule: an answer is given before any state changes, so that a refused block leaves a stream as it was.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Floats = NDArray[np.float64]

SUPPORTED_RATES_HZ: Final = (8000, 16000)
MAX_DURATION_S: Final = 3600.0  # of a tone or a pause: more is a slip of the unit, and would fill the memory
MAX_DB: Final = 300.0  # beyond every level and every twist; its power still fits into a float


def check_rate(sample_rate_hz: Any) -> int:
    """Return the sampling rate, or raise ``ValueError`` unless it is 8000 or 16000 Hz."""
    if not _is_number(sample_rate_hz) or sample_rate_hz not in SUPPORTED_RATES_HZ:
        raise ValueError("sample_rate_hz must be 8000 or 16000")
    return int(sample_rate_hz)


def check_number(what: str, value: Any, least: float, most: float) -> float:
    """Return ``value`` as a float, or raise ``ValueError`` unless it is a finite number in these limits."""
    if not _is_number(value) or not least <= value <= most:  # NaN is in no limits
        raise ValueError(f"{what} must be a finite number from {least:g} to {most:g}")
    return float(value)


def check_duration(what: str, value: Any) -> float:
    """Return seconds as a float, or raise ``ValueError`` unless they are from 0 to ``MAX_DURATION_S``."""
    return check_number(what, value, 0.0, MAX_DURATION_S)


def check_level(what: str, value: Any) -> float:
    """Return dB as a float, or raise ``ValueError`` unless they are within ``MAX_DB`` of 0."""
    return check_number(what, value, -MAX_DB, MAX_DB)


def check_whole(what: str, value: Any, least: int, most: int, step: int = 1) -> int:
    """Return ``value`` as an int, or raise ``ValueError`` unless it is a multiple of ``step`` in these limits."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value <= most or value % step:
        kind = "whole number" if step == 1 else f"multiple of {step}"
        raise ValueError(f"{what} must be a {kind} from {least} to {most}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_pcm(pcm: Any, ndim: int = 1) -> Pcm:
    """Return linear samples as a C-contiguous int16 array.

    Parameters
    ----------
    pcm : ndarray of int16
        Shape ``(n,)``, or ``(channels, n)`` with ``ndim=2``. ``n`` may be 0.

    Raises
    ------
    ValueError
        Not a numpy array or a masked one, another dtype (floats are refused: nobody can tell whether their full
        scale is 1 or 32768, and they may hold NaN), or another number of dimensions (stereo).
    """
    if not isinstance(pcm, np.ndarray) or isinstance(pcm, MaskedArray):  # a masked sample has no value
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
