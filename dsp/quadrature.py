"""Temporary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp.checks import Floats

RATE_HZ = 8000


def quadrature_table(frequencies_hz: tuple[float, ...], window: Floats) -> Floats:
    """Cosines, then sines, under the window, scaled so that a tone of peak A has power A².

    Returns
    -------
    ndarray of float64, shape ``(window.size, 2 * len(frequencies_hz))``
    """
    time_s = (np.arange(window.size) - (window.size - 1) / 2.0) / RATE_HZ
    angle = 2.0 * np.pi * np.outer(time_s, frequencies_hz)
    weight = (2.0 * window / window.sum())[:, None]
    return np.hstack([weight * np.cos(angle), weight * np.sin(angle)])


def powers(windows: NDArray[np.float64], table: Floats) -> Floats:
    """Squared peak of the tone at each frequency; ``windows`` is ``(count, length)``."""
    parts = windows @ table
    half = table.shape[1] // 2
    return np.asarray(parts[:, :half] ** 2 + parts[:, half:] ** 2)
