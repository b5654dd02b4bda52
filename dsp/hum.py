"""Energy of windows without the dial tone or hum under them.

A key over a dial tone 22 dB louder holds half a percent of the energy. What lies below 480 Hz may
be taken off, but not always: in speech it is the best sign that this is no key. So it is taken off
only where it has stood still for a quarter of a second, as no voice does.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsp import rules
from dsp.checks import Floats
from dsp.goertzel import RATE_HZ, WINDOW
from dsp.windows import Indices, Windows

HUM_BELOW_HZ: Final = 480.0
_LOOK_BACK: Final = (6, 8, 10, 12, 14, 16, 18, 20)  # windows before the one judged: 60 to 200 ms


def low_basis() -> Floats:
    """An orthonormal basis of what windows of 160 samples can hold below 480 Hz, ``(n, 160)``."""
    time_s = (np.arange(WINDOW) - (WINDOW - 1) / 2.0) / RATE_HZ
    angle = 2.0 * np.pi * np.outer(np.arange(0.0, HUM_BELOW_HZ, 5.0), time_s)
    _, weight, basis = np.linalg.svd(np.vstack([np.cos(angle), np.sin(angle)]), full_matrices=False)
    return np.asarray(basis[weight > 1e-3 * weight[0]])


# Integers, and few enough bits that the sum of the squares is exact, too: see dsp.goertzel.
_SCALE: Final = 2.0**11
_BASIS: Final = np.rint(low_basis() * _SCALE)


def _low_energy(windows: Windows, number: Indices, channel: Indices) -> Floats:
    """Energy below 480 Hz of each window, shape as ``number``."""
    parts = windows.samples(number, channel) @ _BASIS.T
    return np.asarray(np.vecdot(parts, parts) / _SCALE**2)


def energy_without_hum(
    windows: Windows, number: Indices, channel: Indices, whole: NDArray[np.bool_]
) -> Floats:
    """Energy of the five windows up to ``number`` that count, less the steady part below 480 Hz.

    Where nothing stands still the energy is infinite: there is no excuse to take anything off.
    """
    judged = number - np.arange(5)[:, None]
    place = np.broadcast_to(channel, judged.shape)
    low = _low_energy(windows, judged, place)
    earlier = number - np.array(_LOOK_BACK)[:, None]
    reference = _low_energy(windows, earlier, np.broadcast_to(channel, earlier.shape))
    now = low[0] + low[1] + low[2] + low[3] + low[4]
    then = 5.0 * reference
    still = (then < now * rules.MAX_HUM_CHANGE) & (now < then * rules.MAX_HUM_CHANGE)
    steady = np.logical_and.reduce(still, axis=0)
    rest = (windows.energies(number, channel) - low) * whole
    without = rest[0] + rest[1] + rest[2] + rest[3] + rest[4]
    return np.where(steady, without, np.inf)
