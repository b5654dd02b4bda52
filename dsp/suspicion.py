"""Does a window of 20 ms sound like a key, or like the remains of one?

The detector must be sure; this must not miss. One look at a window that a tone fills has to do, for
the start of the tone leaves the delay line soon after. It asks only how much of the energy lies in
the strongest tone of each of the two groups: too short, too weak, too twisted, off frequency or a
single tone, all count. What speech does to it was measured (docs/dtmf.md): a trigger every few
minutes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dsp.checks import Floats, Pcm
from dsp.goertzel import DTMF_HZ, RATE_HZ, WINDOW, sine_window
from dsp.hum import low_basis
from dsp.levels import dbm0_to_rms

# Each tone is looked for at its frequency and beside it: a lax phone is off by more than 1.5 %.
BESIDE: Final = (1.0, 0.968, 1.032)
# Share of the window's energy in the strongest low and the strongest high tone.
PAIR: Final = 0.62  # with as much, in the same tones, in the window before
BEFORE: Final = 0.45
SURE: Final = 0.82  # without
SINGLE: Final = 0.80  # likewise, if one of the two is hardly there
OFF: Final = 0.84
OFF_BEFORE: Final = 0.60
MAX_TWIST: Final = 10.0 ** (15.0 / 10.0)
REMAINS: Final = 0.40  # while a key decays: echoes, a codec's smear
DOMINANCE: Final = 0.75  # of the strongest tone in its group
FLOOR_DBM0: Final = -50.0  # a tone that starts below this is not heard over a telephone line's noise
REMAINS_FLOOR_DBM0: Final = -68.0
REMAINS_WINDOWS: Final = 13  # 130 ms after the last sure sign
MAX_HUM_CHANGE: Final = 10.0 ** (1.8 / 10.0)
_HUM_BACK: Final = 18  # windows of which it must have stood still in all
_HUM_SKIP: Final = 3  # but the last ones


def _tables() -> Floats:
    """One matrix for a window: windowed cosines (24), sines (24), and the basis of all below 480 Hz."""
    window = sine_window(WINDOW)
    time_s = (np.arange(WINDOW) - (WINDOW - 1) / 2.0) / RATE_HZ
    angle = 2.0 * np.pi * np.outer(np.outer(BESIDE, DTMF_HZ).ravel(), time_s)
    # Scaled so that the squares of a tone that fills the window add up to its energy there.
    weight = np.sqrt(2.0 * WINDOW) / window.sum() * window
    return np.ascontiguousarray(np.vstack([weight * np.cos(angle), weight * np.sin(angle), low_basis()]))


_TABLES: Final = _tables()


def _energy(level_dbm0: float) -> float:
    return WINDOW * dbm0_to_rms(level_dbm0) ** 2


_FLOOR: Final = _energy(FLOOR_DBM0)
_REMAINS_FLOOR: Final = _energy(REMAINS_FLOOR_DBM0)


class Suspicion:
    """Judges the windows of one stream, one after the other.

    Attributes
    ----------
    fresh : bool
        Whether the last suspicious window was the first after clean ones.
    """

    def __init__(self) -> None:
        self.fresh = False
        self._hot = False
        self._tones = (-1, -1)
        self._share = 0.0
        self._beside = 0.0
        self._watch = 0
        self._watched = (0, 4)
        self._lows: list[float] = []

    def judge(self, window: Pcm) -> bool:
        """Whether ``window``, int16, shape ``(160,)``, 80 samples after the last one, must not be heard."""
        samples = window.astype(np.float64)
        energy = float(samples @ samples)
        parts = _TABLES @ samples
        low_band = float(parts[48:] @ parts[48:])
        squares = parts[:48] * parts[:48]
        all_tones = squares[:24] + squares[24:]
        tones = all_tones.tolist()
        energy -= self._hum(low_band)
        suspicious = self._weigh(tones[:8], energy)
        suspicious = self._lax(tones, energy) or suspicious
        self.fresh = suspicious and not self._hot
        self._hot = suspicious
        return suspicious

    def _hum(self, low_band: float) -> float:
        """How much of the energy below 480 Hz is dial tone or hum, which must not hide a key.

        It is what stood still before: not in the last windows, for the edge of a key reaches down
        there. While too little has been heard to tell, all of it: that is the suspicious answer.
        """
        self._lows.append(low_band)
        if len(self._lows) <= _HUM_BACK:
            return low_band
        del self._lows[0]
        before = self._lows[:-_HUM_SKIP]
        loudest = max(before)
        return min(low_band, 1.5 * loudest) if loudest < MAX_HUM_CHANGE * min(before) else 0.0

    def _lax(self, tones: list[float], energy: float) -> bool:
        """Two tones off frequency, by up to 5 %: they must be purer, for much speech lies there."""
        low = max(max(tones[0:4]), max(tones[8:12]), max(tones[16:20]))
        high = max(max(tones[4:8]), max(tones[12:16]), max(tones[20:24]))
        beside = (low + high) / max(energy, 1.0)
        before, self._beside = self._beside, beside
        return low + high > _FLOOR and beside > OFF and before > OFF_BEFORE

    def _weigh(self, tones: list[float], energy: float) -> bool:
        low, high = tones.index(max(tones[:4])), tones.index(max(tones[4:8]), 4)
        energy = max(energy, 1.0)
        pair = tones[low] + tones[high]
        share, before = pair / energy, self._share
        same = low == self._tones[0], high == self._tones[1]
        self._tones, self._share = (low, high), share
        if pair > _FLOOR and share > PAIR:
            low_leads = tones[low] >= tones[high]
            weaker, stronger = (high, low) if low_leads else (low, high)
            clear = tones[stronger] > DOMINANCE * sum(tones[:4] if low_leads else tones[4:])
            two = tones[weaker] * MAX_TWIST > tones[stronger]
            known = before > BEFORE and (all(same) if two else same[not low_leads])
            if clear and (share > SURE or (known and (two or share > SINGLE))):
                self._watch, self._watched = REMAINS_WINDOWS, (low, high)
                return True
        if not self._watch:
            return False
        self._watch -= 1
        left = tones[self._watched[0]] + tones[self._watched[1]]
        return left > _REMAINS_FLOOR and left > REMAINS * energy
