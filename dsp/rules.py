"""What makes a key: every threshold of the detector, beside the number it comes from.

The limits are those of ITU-T Q.24 (AT&T and NTT columns), ETSI ES 201 235-3 and the MT8870D. A
threshold stands outside the limit that it serves: noise moves what is measured, and half of what
lies exactly on a limit would fall if the threshold stood on it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dsp.checks import Floats
from dsp.goertzel import DTMF_HZ, POWER_TO_PEAK_SQUARED
from dsp.levels import dbm0_to_peak


def _ratio(db: float) -> float:
    """Power ratio of a level difference in dB."""
    return float(10.0 ** (db / 10.0))


# Level a tone: accept -29 dBm0 (MT8870D; AT&T -25), refuse -55 (AT&T).
MIN_LEVEL_DBM0: Final = -33.0
# Twist, high minus low tone: accept -8 ... +8 dB (MT8870D; AT&T -8 ... +4, NTT ±5).
MAX_TWIST_DB: Final = 10.0
MIN_TWIST_DB: Final = -10.5
# Frequency: accept 1.5 % + 2 Hz (MT8870D; NTT 1.8 %), refuse 3.5 % (NTT 3.0 %).
MAX_FREQUENCY_ERROR: Final = 0.022
# Tone: accept 40 ms (all), refuse 23 ms (AT&T). Sum of the relative amplitudes of five windows, one
# every 10 ms: a tone of n ms sums to n / 10.
MIN_TONE_STEPS: Final = 3.1
# Pause: accept 40 ms (NTT 30), bridge an interruption of 10 ms (ETSI: of less than 20 ms).
# Sum of what is missing in five windows, where a drop of less than 4 dB counts as nothing.
MIN_PAUSE_STEPS: Final = 2.0
PRESENT: Final = 0.63
# Talk-off. Share of the two tones in all energy of the windows: 12 dB SNR leaves 94 %, a key clipped
# by 12 dB about 80 %, speech that moves like a key hardly more than 75 %.
MIN_SHARE: Final = 0.775
# Share of the strongest tone in its group's four. A neighbour is 73 Hz away and -13 dB at most.
# The further beside its frequency a tone is, the cleaner it must be: music has many lines.
BESIDE_PENALTY: Final = 0.5
MIN_SHARE_OVER_HUM: Final = 0.85
MIN_DOMINANCE: Final = 0.85
SCREEN_DOMINANCE: Final = 0.60
# How far the phase keeps step from window to window: 1 for a steady tone. Speech glides.
MIN_STEADINESS: Final = 0.945
# A steady low tone (dial tone, hum) is not held against a key: energy below 480 Hz is taken off if it
# has been there for a while, within this ratio.
MAX_HUM_CHANGE_DB: Final = 1.2
# The same two tones, this much weaker and within 240 ms of having been louder, are an echo.
MAX_ECHO_DB: Final = -8.0

MIN_POWER: Final = dbm0_to_peak(MIN_LEVEL_DBM0) ** 2 / POWER_TO_PEAK_SQUARED
MAX_HIGH_OVER_LOW: Final = _ratio(MAX_TWIST_DB)
MAX_LOW_OVER_HIGH: Final = _ratio(-MIN_TWIST_DB)
MAX_HUM_CHANGE: Final = _ratio(MAX_HUM_CHANGE_DB)
MAX_ECHO: Final = _ratio(MAX_ECHO_DB)

_STEP_S: Final = 0.010
_ADVANCE: Final = 2.0 * np.pi * np.array(DTMF_HZ) * _STEP_S
ADVANCE_COS: Final[Floats] = np.cos(_ADVANCE)
ADVANCE_SIN: Final[Floats] = np.sin(_ADVANCE)
"""Turn of a tone's phase from one window to the next, for each of the eight frequencies."""
MIN_TURN_COS: Final[Floats] = np.cos(MAX_FREQUENCY_ERROR * _ADVANCE)
"""Cosine of the largest turn beyond it that the frequency tolerance allows (unambiguous to 50 Hz)."""


def _droop() -> tuple[float, ...]:
    """Power response of the window beside its frequency, as a polynomial of the turn's cosine."""
    turn = np.linspace(0.0, 2.35, 4000)  # as far as the tolerance of the highest tone
    bins = turn / np.pi
    response = (np.cos(turn) / (1.0 - 4.0 * bins * bins)) ** 2
    return tuple(np.polyfit(np.cos(turn), response, 4).tolist())


DROOP: Final = _droop()
