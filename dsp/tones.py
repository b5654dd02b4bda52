"""The sixteen DTMF keys (ITU-T Q.23) and a generator for them."""

from __future__ import annotations

from typing import Final

import numpy as np

from dsp.checks import Pcm, check_duration, check_level, check_number, check_rate
from dsp.levels import ALAW_FULL_SCALE_DBM0, dbm0_to_peak

LOW_HZ: Final = (697.0, 770.0, 852.0, 941.0)
HIGH_HZ: Final = (1209.0, 1336.0, 1477.0, 1633.0)
KEYPAD: Final = ("123A", "456B", "789C", "*0#D")
SYMBOLS: Final = "".join(KEYPAD)
"""All keys; the key at ``4 * row + column`` sounds ``LOW_HZ[row]`` and ``HIGH_HZ[column]``."""


def frequencies_hz(symbol: str) -> tuple[float, float]:
    """Low and high frequency of a key in Hz; ``ValueError`` if it is none of the sixteen."""
    index = SYMBOLS.find(symbol) if isinstance(symbol, str) and len(symbol) == 1 else -1
    if index < 0:
        raise ValueError("a DTMF key is one of 0-9, A-D, * and #")
    return LOW_HZ[index // 4], HIGH_HZ[index % 4]


def silence(duration_s: float, sample_rate_hz: int = 8000) -> Pcm:
    """Digital silence, int16, ``round(duration_s * sample_rate_hz)`` samples; ``ValueError`` as in a tone."""
    count = round(check_duration("duration_s", duration_s) * check_rate(sample_rate_hz))
    return np.zeros(count, dtype=np.int16)


def dtmf_tone(
    symbol: str,
    duration_s: float,
    level_dbm0: float = -10.0,
    twist_db: float = 0.0,
    sample_rate_hz: int = 8000,
    *,
    low_error: float = 0.0,
    high_error: float = 0.0,
    ramp_s: float = 0.0,
    phase_rad: float = 0.0,
    full_scale_dbm0: float = ALAW_FULL_SCALE_DBM0,
) -> Pcm:
    """One key press.

    Parameters
    ----------
    symbol : str
        One of ``SYMBOLS``.
    duration_s : float
        Length in seconds, ramps included.
    level_dbm0 : float
        Level of each of the two tones without twist; the key is 3 dB louder.
    twist_db : float
        High minus low tone in dB; half of it is added to the high tone, half taken from the low.
    low_error, high_error : float
        Relative frequency error: ``0.015`` is 1.5 % high.
    ramp_s : float
        Length of a raised-cosine ramp at each end, in seconds.
    phase_rad : float
        Phase of the low tone at the first sample; the high tone starts at 2.4 times it.

    Returns
    -------
    ndarray of int16, shape ``(round(duration_s * sample_rate_hz),)``
        Clipped at 16 bits, as a codec would.

    Raises
    ------
    ValueError
        Unknown key, unsupported rate, a number that is not finite or out of its limits: durations from 0 to
        an hour, levels within 300 dB, frequency errors within 1.
    """
    low_hz, high_hz = frequencies_hz(symbol)
    sample_rate_hz = check_rate(sample_rate_hz)
    level_dbm0, twist_db = check_level("level_dbm0", level_dbm0), check_level("twist_db", twist_db)
    low_error = check_number("low_error", low_error, -1.0, 1.0)
    high_error = check_number("high_error", high_error, -1.0, 1.0)
    phase_rad = check_number("phase_rad", phase_rad, -1e6, 1e6)
    ramp_s = check_duration("ramp_s", ramp_s)
    count = round(check_duration("duration_s", duration_s) * sample_rate_hz)
    angle = 2.0 * np.pi * np.arange(count) / sample_rate_hz
    low_peak = dbm0_to_peak(level_dbm0 - twist_db / 2.0, full_scale_dbm0)
    high_peak = dbm0_to_peak(level_dbm0 + twist_db / 2.0, full_scale_dbm0)
    wave = low_peak * np.sin(angle * low_hz * (1.0 + low_error) + phase_rad)
    wave += high_peak * np.sin(angle * high_hz * (1.0 + high_error) + 2.4 * phase_rad)
    ramp = min(round(ramp_s * sample_rate_hz), count // 2)
    if ramp:
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
        wave[:ramp] *= rise
        wave[count - ramp :] *= rise[::-1]
    return np.asarray(np.clip(np.rint(wave), -32768, 32767), dtype=np.int16)


def dtmf_string(
    keys: str,
    on_s: float = 0.1,
    off_s: float = 0.1,
    level_dbm0: float = -10.0,
    twist_db: float = 0.0,
    sample_rate_hz: int = 8000,
) -> Pcm:
    """Key presses of ``on_s`` seconds, each followed by ``off_s`` seconds of silence, as int16.

    Raises
    ------
    ValueError
        As :func:`dtmf_tone`; an empty string of keys gives an empty array.
    """
    if not isinstance(keys, str):
        raise ValueError("a DTMF string is a string of keys")
    pause = silence(off_s, sample_rate_hz)
    parts = [silence(0.0, sample_rate_hz)]
    for key in keys:
        parts += [dtmf_tone(key, on_s, level_dbm0, twist_db, sample_rate_hz), pause]
    return np.concatenate(parts)
