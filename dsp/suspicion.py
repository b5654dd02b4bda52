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

# Each tone is looked for at its frequency and beside it: a lax phone is off by up to 4 %.
BESIDE: Final = (1.0, 0.970, 1.030)
# Share of the window's energy in the strongest low and the strongest high tone.
PAIR: Final = 0.62  # with as much, in the same tones, in the window before
BEFORE: Final = 0.45
SURE: Final = 0.82  # without
SINGLE: Final = 0.80  # likewise, if one of the two is hardly there
OFF: Final = 0.85
OFF_BEFORE: Final = 0.65
MAX_TWIST: Final = 10.0 ** (15.0 / 10.0)
REMAINS: Final = 0.40  # while a key decays: echoes, a codec's smear
DOMINANCE: Final = 0.75  # of the strongest tone in its group
FLOOR_DBM0: Final = -50.0  # a tone that starts below this is not heard over a telephone line's noise
REMAINS_FLOOR_DBM0: Final = -68.0
REMAINS_WINDOWS: Final = 13  # 130 ms after the last sure sign ...
REMAINS_EACH: Final = 4  # ... but 40 ms for each sign: what speech sets off passes sooner
# A piece of a key: its share against that of a tone cut out like it, how quiet it is beside it.
FRAGMENT: Final = 0.65
FRAGMENT_LEAST: Final = 0.20
# ... and what one key's two tones explain of it alone, if it has one part of 2.5 ms, two, or more: of a key's
# never less than 0.70 (two parts) or 0.61, of the bursts of consonants 0.7 and 0.5 in the middle.
FRAGMENT_FIT: Final = (0.80, 0.62, 0.55)
GAP_WINDOWS: Final = 4  # a gap of 20 ms behind the last sign, and the windows that reach over it
LOUD: Final = 0.20
QUIET: Final = 10.0 ** (-25.0 / 10.0)
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


_PARTS: Final = 8  # of 2.5 ms


def _expected() -> list[list[float]]:
    """By the first part and the one behind the last: share of a tone that sounds only there."""
    below = (
        np.concatenate([[0.0], np.cumsum(sine_window(WINDOW))])[:: WINDOW // _PARTS]
        / sine_window(WINDOW).sum()
    )
    length = np.maximum(np.arange(_PARTS + 1) - np.arange(_PARTS)[:, None], 1)
    expected: list[list[float]] = ((below - below[:_PARTS, None]) ** 2 * _PARTS / length).tolist()
    return expected


_EXPECTED: Final = _expected()


def _key_bases(length: int) -> Floats:
    """For each of the 16 keys an orthonormal basis of its two tones over ``length`` samples, ``(16, 4, length)``."""
    turns = np.exp(2j * np.pi * np.outer(DTMF_HZ, np.arange(length) / RATE_HZ))
    pairs = [(turns[low], turns[4 + high]) for low in range(4) for high in range(4)]
    waves = np.array([[low.real, low.imag, high.real, high.imag] for low, high in pairs])
    return np.ascontiguousarray(np.linalg.qr(waves.transpose(0, 2, 1))[0].transpose(0, 2, 1))


_KEY_BASES: Final = [_key_bases(parts * WINDOW // _PARTS) for parts in range(1, _PARTS + 1)]


class Suspicion:
    """Judges the windows of one stream, one after the other.

    Attributes
    ----------
    sign : bool
        Whether the last window had one.
    """

    def __init__(self) -> None:
        self.sign = False
        self._tones = (-1, -1)
        self._share = 0.0
        self._beside = 0.0
        self._signs = 0
        self._since = REMAINS_WINDOWS  # windows since the last of them
        self._watched = (0, 4)
        self._lows: list[float] = []

    def judge(self, windows: Pcm) -> list[tuple[bool, bool]]:
        """Whether the next windows, int16, shape ``(n, 160)``, 80 samples from one to the next, must not be heard.

        Also, for each, whether it is the first with a sign: suspicious, and more than remains. How many are judged
        together makes no difference; a call of numpy costs much the same for any number.
        """
        samples = windows.astype(np.float64)
        parts = np.matvec(_TABLES, samples)
        low = parts[:, 48:]
        squares = parts[:, :48] * parts[:, :48]
        all_tones = squares[:, :24] + squares[:, 24:]
        judged = []
        for each, energy, low_band, tones in zip(
            samples,
            np.vecdot(samples, samples).tolist(),
            np.vecdot(low, low).tolist(),
            all_tones.tolist(),
            strict=True,
        ):
            energy -= self._hum(low_band)
            lowest, highest = max(tones[:4]), max(tones[4:8])
            sign = self._weigh(tones, lowest, highest, energy)
            sign = sign or self._fragment(each, lowest, highest, energy)
            sign = self._lax(tones, lowest, highest, energy) or sign
            fresh, self.sign = sign and not self.sign, sign
            judged.append((sign or self._remains(tones, energy), fresh))
        return judged

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

    def _lax(self, tones: list[float], low: float, high: float, energy: float) -> bool:
        """Two tones off frequency, by up to 5 %: they must be purer, for much speech lies there."""
        low = max(low, *tones[8:12], *tones[16:20])
        high = max(high, *tones[12:16], *tones[20:24])
        beside = (low + high) / max(energy, 1.0)
        before, self._beside = self._beside, beside
        return low + high > _FLOOR and beside > OFF and before > OFF_BEFORE

    def _fragment(self, samples: Floats, low: float, high: float, energy: float) -> bool:
        """A piece of two tones that a lost packet cuts out of a key: quiet, loud and quiet again.

        Its share of the window's energy is less than a tone's that fills the window; how much less
        follows from where it lies under the half sine. What is left of a key right behind the gap may
        be too short even for that, and is not asked what it is.
        """
        two = low + high > FRAGMENT_LEAST * energy and low < MAX_TWIST * high and high < MAX_TWIST * low
        behind_a_gap = self._signs > 1 and self._since <= GAP_WINDOWS
        if energy < _FLOOR or not (two or behind_a_gap):
            return False
        parts = samples.reshape(_PARTS, -1)
        energies = np.vecdot(parts, parts).tolist()
        loudest = max(energies)
        loud = [place for place, part in enumerate(energies) if part > LOUD * loudest]
        first, end = loud[0], loud[-1] + 1
        around = (
            energies[: max(first - 1, 0)] + energies[end + 1 :]
        )  # but the parts that it begins and ends in
        if not around or max(around) > QUIET * loudest:
            return False
        if behind_a_gap and end - first <= _PARTS // 2:
            return True
        if not two or low + high <= FRAGMENT * _EXPECTED[first][end] * energy:
            return False
        alone = parts[first:end].ravel()
        in_tones = _KEY_BASES[end - first - 1] @ alone
        explained = float(np.vecdot(in_tones, in_tones).max())
        return explained > FRAGMENT_FIT[min(end - first, len(FRAGMENT_FIT)) - 1] * float(alone @ alone)

    def _weigh(self, tones: list[float], lowest: float, highest: float, energy: float) -> bool:
        low, high = tones.index(lowest, 0, 4), tones.index(highest, 4, 8)
        energy = max(energy, 1.0)
        pair = lowest + highest
        share, before = pair / energy, self._share
        same = low == self._tones[0], high == self._tones[1]
        self._tones, self._share = (low, high), share
        if pair > _FLOOR and share > PAIR:
            low_leads = tones[low] >= tones[high]
            weaker, stronger = (high, low) if low_leads else (low, high)
            clear = tones[stronger] > DOMINANCE * sum(tones[:4] if low_leads else tones[4:8])
            two = tones[weaker] * MAX_TWIST > tones[stronger]
            known = before > BEFORE and (all(same) if two else same[not low_leads])
            if clear and (share > SURE or (known and (two or share > SINGLE))):
                self._signs = self._signs + 1 if self._since < REMAINS_WINDOWS else 1
                self._since, self._watched = 0, (low, high)
                return True
        self._since += 1
        return False

    def _remains(self, tones: list[float], energy: float) -> bool:
        """The last key's two tones, decaying: echoes, a codec's smear."""
        if not 0 < self._since <= min(REMAINS_WINDOWS, REMAINS_EACH * self._signs):
            return False
        left = tones[self._watched[0]] + tones[self._watched[1]]
        return left > max(_REMAINS_FLOOR, REMAINS * energy)
