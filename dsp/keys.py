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
from dsp.goertzel import POWER_TO_PEAK_SQUARED, WINDOW
from dsp.hum import energy_without_hum
from dsp.windows import DEPTH, Indices, Singles, Windows

SPAN: Final = 5  # windows judged together: 60 ms of sound
_BACK: Final = np.arange(SPAN)[:, None]
_BACK_ECHO: Final = np.arange(SPAN, DEPTH, 2)[:, None]
_BACK_LOUDEST: Final = np.arange(8)[:, None, None]
_FLOOR: Final = 1e-9 * rules.MIN_POWER  # keeps digital silence from being divided by
_WHOLE: Final = 0.8  # a window counts for quality if the tone fills it: nothing is known of the rest
# From tone power to the sum of squares of a window that it fills.
_POWER_TO_ENERGY: Final = POWER_TO_PEAK_SQUARED / 2.0 * WINDOW


@dataclass(frozen=True, slots=True)
class Evidence:
    """Windows that prove a key, in order of time.

    Attributes
    ----------
    number, channel, symbol : ndarray of intp, shape ``(n,)``
        Window, channel, and index of the key in ``dsp.SYMBOLS``.
    steps : ndarray of float64, shape ``(n,)``
        How long the tone has been there, in steps of 10 ms.
    power : ndarray of float64, shape ``(2, n)``
        Squared peak of the low and of the high tone.
    """

    number: Indices
    channel: Indices
    symbol: Indices
    steps: Floats
    power: Floats


_NONE: Final = np.zeros(0, dtype=np.intp)
NO_EVIDENCE: Final = Evidence(_NONE, _NONE, _NONE, np.zeros(0), np.zeros((2, 0)))


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Windows that may become evidence; ``(n,)``, and for the five windows and two tones as named."""

    number: Indices
    channel: Indices
    tone: Indices  # (2, n): rows of the low and of the high tone
    power: Singles  # (5, 2, n)
    relative: Singles  # (5, n): amplitude against the loudest window
    steps: Floats

    def only(self, kept: Indices) -> _Candidates:
        return _Candidates(
            self.number[kept],
            self.channel[kept],
            self.tone[:, kept],
            self.power[:, :, kept],
            self.relative[:, kept],
            self.steps[kept],
        )


@dataclass(frozen=True, slots=True)
class Suspects:
    """Windows that could complete a key, and its two tones; see :func:`screen`."""

    number: Indices
    channel: Indices
    tone: Indices  # (2, n)

    def only(self, kept: NDArray[np.bool_]) -> Suspects:
        return Suspects(self.number[kept], self.channel[kept], self.tone[:, kept])

    @property
    def symbol(self) -> Indices:
        """Index of the key in ``dsp.SYMBOLS``, shape ``(n,)``."""
        return np.asarray(4 * self.tone[0] + self.tone[1] - 4)


NO_SUSPECTS: Final = Suspects(_NONE, _NONE, np.zeros((2, 0), dtype=np.intp))


def screen(windows: Windows, first: int) -> Suspects:
    """The cheap test on every window: one strong tone in each group, balanced, twice running."""
    powers, groups = windows.latest(first)
    pairs = np.maximum(powers[:, 0::2], powers[:, 1::2])
    strongest = np.maximum(pairs[:, 0::2], pairs[:, 1::2])
    low, high = strongest[:, 0], strongest[:, 1]
    clear = strongest > np.maximum(rules.SCREEN_DOMINANCE * groups, rules.MIN_POWER)
    possible = clear[:, 0] & clear[:, 1]
    possible &= high < low * rules.MAX_HIGH_OVER_LOW
    possible &= low < high * rules.MAX_LOW_OVER_HIGH
    twice = windows.twice_running(possible)
    if not twice.any():
        return NO_SUSPECTS
    step, channel = np.nonzero(twice)
    now = powers[step, :, channel]
    tone = np.stack([now[:, :4].argmax(axis=1), 4 + now[:, 4:].argmax(axis=1)])
    return Suspects(step + first, channel, tone)


def evidence(windows: Windows, suspects: Suspects) -> Evidence:
    """Those of the screened windows at which a key is certain."""
    if not suspects.number.size:
        return NO_EVIDENCE
    candidates = _long_enough(windows, suspects)
    if not candidates.number.size:
        return NO_EVIDENCE
    candidates, droop = _on_frequency(windows, candidates)
    if not candidates.number.size:
        return NO_EVIDENCE
    candidates, droop = _pure(windows, candidates, droop)
    if not candidates.number.size:
        return NO_EVIDENCE
    loudest = candidates.power.max(axis=0)
    echo = _is_echo(windows, candidates, loudest)
    found = candidates.only(np.flatnonzero(~echo))
    power = (loudest / droop * POWER_TO_PEAK_SQUARED)[:, ~echo]
    symbol = 4 * found.tone[0] + found.tone[1] - 4
    return Evidence(found.number, found.channel, symbol, found.steps, power)


def _long_enough(windows: Windows, suspects: Suspects) -> _Candidates:
    number, channel, tone = suspects.number, suspects.channel, suspects.tone
    power = windows.power((number - _BACK)[:, None], tone, channel)
    relative = np.sqrt((power / power.max(axis=0)).min(axis=1))
    steps = _sum5(relative)
    all_of_them = _Candidates(number, channel, tone, power, relative, steps)
    return all_of_them.only(np.flatnonzero(steps >= rules.MIN_TONE_STEPS))


def _on_frequency(windows: Windows, candidates: _Candidates) -> tuple[_Candidates, Floats]:
    """Both tones turn from window to window as their frequency asks, and keep step.

    Also returns, shape ``(2, n)``, how much of a tone's power is left beside its nominal frequency.
    """
    re, im = windows.vector((candidates.number - _BACK)[:, None], candidates.tone, candidates.channel)
    along = _sum4(re[:-1] * re[1:] + im[:-1] * im[1:])
    across = _sum4(im[:-1] * re[1:] - re[:-1] * im[1:])
    length = _sum4(np.sqrt(candidates.power[:-1] * candidates.power[1:]))
    size = np.sqrt(along * along + across * across)
    turn = along * rules.ADVANCE_COS[candidates.tone] + across * rules.ADVANCE_SIN[candidates.tone]
    steady = (turn >= rules.MIN_TURN_COS[candidates.tone] * size) & (size >= rules.MIN_STEADINESS * length)
    kept = np.flatnonzero(steady[0] & steady[1])
    if not kept.size:
        return candidates.only(kept), size[:, kept]
    cosine = turn[:, kept] / size[:, kept]
    droop = np.full_like(cosine, rules.DROOP[0])
    for coefficient in rules.DROOP[1:]:
        droop = droop * cosine + coefficient
    return candidates.only(kept), droop


def _pure(windows: Windows, candidates: _Candidates, droop: Floats) -> tuple[_Candidates, Floats]:
    """Nothing but the two tones: in their groups, and (hum apart) in the whole band."""
    rings = (candidates.number - _BACK) % windows.size
    whole = candidates.relative > _WHOLE
    power = _sum5(candidates.power * whole[:, None])
    groups = _sum5(windows.groups[rings, :, candidates.channel] * whole[:, :, None]).T
    energy = _sum5(windows.energy(candidates.number - _BACK, candidates.channel) * whole)
    alone = power >= rules.MIN_DOMINANCE * groups
    corrected = power / droop
    tones = (corrected[0] + corrected[1]) * _POWER_TO_ENERGY
    beside = 1.0 - (power[0] + power[1]) / np.maximum(corrected[0] + corrected[1], _FLOOR)
    stricter = rules.BESIDE_PENALTY * beside
    enough = tones > (rules.MIN_SHARE + stricter) * energy
    doubtful = np.flatnonzero(alone[0] & alone[1] & ~enough)
    if doubtful.size:
        number, channel = candidates.number[doubtful], candidates.channel[doubtful]
        without = energy_without_hum(windows, number, channel, whole[:, doubtful])
        enough[doubtful] = tones[doubtful] > (rules.MIN_SHARE_OVER_HUM + stricter[doubtful]) * without
    kept = np.flatnonzero(alone[0] & alone[1] & enough)
    return candidates.only(kept), droop[:, kept]


def _is_echo(windows: Windows, candidates: _Candidates, loudest: Floats) -> NDArray[np.bool_]:
    """Both tones are the weak repetition of a key that was just there."""
    earlier = (candidates.number - _BACK_ECHO)[:, None]
    before = windows.power(earlier, candidates.tone, candidates.channel).max(axis=0)
    weaker = loudest < rules.MAX_ECHO * before
    return np.asarray(weaker[0] & weaker[1])


def missing_steps(windows: Windows, first: int, channel: Indices, symbol: Indices) -> tuple[Floats, Floats]:
    """How much of a key is missing at the end of each window's five, in steps of 10 ms.

    Parameters
    ----------
    symbol : ndarray of intp, shape ``(steps, n)``
        The key that is, or was, down in each of the ``n`` channels.

    Returns
    -------
    tuple of ndarray, shape ``(steps, n)``
        By the rule that bridges drops (less than 4 dB is nothing), and plainly.
    """
    steps = np.arange(symbol.shape[0])[:, None]
    tone = np.stack([symbol // 4, 4 + symbol % 4])
    power = windows.power((first + steps - _BACK_LOUDEST)[:, None], tone, channel)
    amplitude = np.sqrt(power[:SPAN] / np.maximum(power.max(axis=0), _FLOOR))
    left = 0.5 * (amplitude[:, 0] + amplitude[:, 1])
    bridged = 1.0 - np.minimum(left * (1.0 / rules.PRESENT), 1.0)
    return _sum5(bridged), SPAN - _sum5(left)


def _sum5(x: NDArray[Any]) -> Floats:
    """Sum over the first axis in a fixed order, whatever the other axes' lengths."""
    return np.asarray(x[0] + x[1] + x[2] + x[3] + x[4])


def _sum4(x: NDArray[Any]) -> Floats:
    return np.asarray(x[0] + x[1] + x[2] + x[3])
