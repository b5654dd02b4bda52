"""Is there a key in the last windows, and is the one that was there gone?

Both are functions of the last five windows (and of the loudest of the last eight), with no state of
their own. Amplitudes are relative to the loudest window, so that a tone which begins or ends inside
a window counts by its part of it: summed over windows 10 ms apart, the relative amplitudes measure
how long the tone was there, to about a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dsp import rules
from dsp.checks import Floats
from dsp.goertzel import POWER_TO_PEAK_SQUARED, SAMPLE_SHIFT, WINDOW
from dsp.hum import energy_without_hum
from dsp.windows import TONES_OF_KEY, Flags, Indices, Singles, Windows

SPAN: Final = 5  # windows judged together: 60 ms of sound
_BACK: Final = np.arange(SPAN)[:, None]
_BACK_TONES: Final = _BACK[:, None]
_BACK_ECHO: Final = np.arange(0, 18, 2)[:, None, None]  # whole windows, 50 to 230 ms before
_BACK_LOUDEST: Final = np.arange(8)[:, None, None, None]
_ADVANCE_COS: Final = rules.ADVANCE_COS[TONES_OF_KEY]
_ADVANCE_SIN: Final = rules.ADVANCE_SIN[TONES_OF_KEY]
_MIN_TURN_COS: Final = rules.MIN_TURN_COS[TONES_OF_KEY]
_FLOOR: Final = np.float32(1e-9 * rules.MIN_POWER)  # keeps digital silence from being divided by
_WHOLE: Final = np.float32(0.8)  # a window counts for quality if the tone fills it
# From tone power to the sum of squares of a window that it fills, samples in steps of 16.
_POWER_TO_ENERGY: Final = POWER_TO_PEAK_SQUARED / 4.0**SAMPLE_SHIFT / 2.0 * WINDOW


@dataclass(frozen=True, slots=True)
class Suspects:
    """Windows that could complete a key, in order of time.

    Attributes
    ----------
    number, channel, symbol : ndarray of intp, shape ``(n,)``
        Window, channel, and index of the key in ``dsp.SYMBOLS``.
    """

    number: Indices
    channel: Indices
    symbol: Indices

    def only(self, kept: Indices | Flags) -> Suspects:
        return Suspects(self.number[kept], self.channel[kept], self.symbol[kept])


@dataclass(frozen=True, slots=True)
class Evidence:
    """Windows that prove a key, in order of time.

    Attributes
    ----------
    proven : Suspects
    steps : ndarray of float, shape ``(n,)``
        How long the tone has been there, in steps of 10 ms.
    power : ndarray of float64, shape ``(2, n)``
        Squared peak of the low and of the high tone.
    """

    proven: Suspects
    steps: NDArray[Any]
    power: Floats


_NONE: Final = np.zeros(0, dtype=np.intp)
NO_EVIDENCE: Final = Evidence(Suspects(_NONE, _NONE, _NONE), np.zeros(0), np.zeros((2, 0)))


def evidence(windows: Windows, suspects: Suspects) -> Evidence:
    """Those of the suspects at which a key is certain.

    The tests stand in the order of what they cost; each is put only to what passed the one before.
    """
    if not suspects.number.size:
        return NO_EVIDENCE
    vector = windows.vectors(suspects.number - _BACK_TONES, suspects.channel, suspects.symbol)
    relative = np.sqrt(np.minimum.reduce(vector[2] / np.maximum.reduce(vector[2], axis=0), axis=1))
    steps = _sum5(relative)
    kept = np.flatnonzero(steps >= rules.MIN_TONE_STEPS)
    if not kept.size:
        return NO_EVIDENCE
    vector = vector.take(kept, axis=3)
    steady, cosine = _on_frequency(vector, suspects.symbol[kept])
    again = np.flatnonzero(steady)
    if not again.size:
        return NO_EVIDENCE
    kept = kept[again]
    cosine, power = cosine.take(again, axis=1), vector[2].take(again, axis=2)
    droop = np.full_like(cosine, rules.DROOP[0])
    for coefficient in rules.DROOP[1:]:
        droop = droop * cosine + coefficient
    left = suspects.only(kept)
    pure = _pure(windows, left, power, relative.take(kept, axis=1) > _WHOLE, droop)
    loudest = np.maximum.reduce(power, axis=0)
    pure &= ~_is_echo(windows, left, loudest)
    return Evidence(left.only(pure), steps[kept][pure], (loudest / droop * POWER_TO_PEAK_SQUARED)[:, pure])


def _on_frequency(vector: Singles, symbol: Indices) -> tuple[Flags, Singles]:
    """Both tones turn from window to window as their frequency asks, and keep step.

    Also returns, shape ``(2, n)``, the cosine of how far they turn beyond it.
    """
    parts = vector[:2]
    before, after = parts[:, 1:], parts[:, :-1]
    same, other = after * before, after[::-1] * before
    along = _sum4(same[0] + same[1])
    across = _sum4(other[0] - other[1])
    length = _sum4(np.sqrt(vector[2, 1:] * vector[2, :-1]))
    size = np.sqrt(along * along + across * across)
    turn = along * _ADVANCE_COS.take(symbol, axis=1) + across * _ADVANCE_SIN.take(symbol, axis=1)
    cosine = turn / np.maximum(size, _FLOOR)
    steady = (cosine >= _MIN_TURN_COS.take(symbol, axis=1)) & (size >= rules.MIN_STEADINESS * length)
    return steady[0] & steady[1], cosine


def _pure(windows: Windows, suspects: Suspects, power: Singles, whole: Flags, droop: Singles) -> Flags:
    """Nothing but the two tones: in their groups, and (hum apart) in the whole band."""
    number = suspects.number - _BACK
    power = _sum5(power * whole[:, None])
    alone = power >= rules.MIN_DOMINANCE * _sum5(windows.groups(number, suspects.channel) * whole[:, None])
    energy = _sum5(windows.energies(suspects.number, suspects.channel) * whole)
    corrected = power / droop
    both, heard = corrected[0] + corrected[1], power[0] + power[1]
    stricter = rules.BESIDE_PENALTY * (1.0 - heard / np.maximum(both, _FLOOR))
    tones = both * _POWER_TO_ENERGY
    single = alone[0] & alone[1]
    enough = single & (tones > (rules.MIN_SHARE + stricter) * energy)
    doubtful = np.flatnonzero(single > enough)
    if doubtful.size:
        left = suspects.only(doubtful)
        without = energy_without_hum(windows, left.number, left.channel, whole[:, doubtful])
        enough[doubtful] = tones[doubtful] > (rules.MIN_SHARE_OVER_HUM + stricter[doubtful]) * without
    return np.asarray(enough)


def _is_echo(windows: Windows, suspects: Suspects, loudest: Singles) -> Flags:
    """Both tones are the weak repetition of a key that was just there."""
    latest = (suspects.number - SPAN - 1) | 1  # a whole window
    powers = windows.powers(latest - _BACK_ECHO, suspects.channel, suspects.symbol)
    before = np.maximum.reduce(powers, axis=0)
    weaker = loudest < rules.MAX_ECHO * before
    return np.asarray(weaker[0] & weaker[1])


def missing_steps(windows: Windows, first: int, channel: Indices, symbol: Indices) -> tuple[Singles, Singles]:
    """How much of a key is missing at the end of each window's five, in steps of 10 ms.

    Parameters
    ----------
    symbol : ndarray of intp, shape ``(steps, n)`` or ``(1, n)``
        The key that is, or was, down in each of the ``n`` channels.

    Returns
    -------
    tuple of ndarray, shape ``(steps, n)``
        By the rule that bridges drops (less than 4 dB is nothing), and plainly.
    """
    number = np.arange(first, windows.next)[:, None] - _BACK_LOUDEST
    power = windows.powers(number, channel, symbol)
    amplitude = np.sqrt(power[:SPAN] / np.maximum(np.maximum.reduce(power, axis=0), _FLOOR))
    left = amplitude[:, 0] + amplitude[:, 1]
    bridged = np.minimum(left * np.float32(0.5 / rules.PRESENT), np.float32(1.0))
    return np.asarray(SPAN - _sum5(bridged)), np.asarray(SPAN - np.float32(0.5) * _sum5(left))


def _sum5(x: NDArray[Any]) -> NDArray[Any]:
    """Sum over the first axis in a fixed order, whatever the other axes' lengths."""
    return np.asarray(x[0] + x[1] + x[2] + x[3] + x[4])


def _sum4(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(x[0] + x[1] + x[2] + x[3])
