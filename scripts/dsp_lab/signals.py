"""Strings of keys as people and telephones send them, with the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import dsp
from dsp.levels import dbm0_to_peak

RATE = 8000


@dataclass(frozen=True)
class Keyed:
    """A signal (float, 16-bit scale, not clipped), its keys and when each was down."""

    wave: np.ndarray
    keys: str
    moments: tuple[tuple[float, float], ...]
    level_dbm0: float  # of one tone


def press(
    rng: np.random.Generator,
    symbol: str,
    seconds: float,
    level_dbm0: float,
    twist_db: float,
    error: tuple[float, float],
) -> np.ndarray:
    low_hz, high_hz = dsp.frequencies_hz(symbol)
    time_s = np.arange(round(seconds * RATE)) / RATE
    phases = rng.uniform(0, 2 * np.pi, 2)
    low = dbm0_to_peak(level_dbm0 - twist_db / 2) * np.sin(
        2 * np.pi * low_hz * (1 + error[0]) * time_s + phases[0]
    )
    high = dbm0_to_peak(level_dbm0 + twist_db / 2) * np.sin(
        2 * np.pi * high_hz * (1 + error[1]) * time_s + phases[1]
    )
    return low + high


def key_string(
    rng: np.random.Generator,
    *,
    count: int = 17,
    style: str = "human",
    symbols: str = dsp.SYMBOLS,
    level_dbm0: float | None = None,
) -> Keyed:
    """A string of keys.

    ``human``: 60-250 ms presses, 60-300 ms pauses. ``handset``: the same with the level wobbling
    and soft edges. ``dialler``: 40 ms on, 40 ms off.
    """
    keys = "".join(rng.choice(list(symbols), count))
    level = float(rng.uniform(-22, -6)) if level_dbm0 is None else level_dbm0
    twist = float(rng.uniform(-6, 3))
    error = tuple(rng.uniform(-0.012, 0.012, 2))
    parts, moments = [np.zeros(round(rng.uniform(0.1, 0.3) * RATE))], []
    at = parts[0].size
    for key in keys:
        on, off = (0.04, 0.04) if style == "dialler" else (rng.uniform(0.06, 0.25), rng.uniform(0.06, 0.3))
        wave = press(rng, key, on, level, twist, error)
        if style == "handset":
            depth, rate = rng.uniform(0, 0.3), rng.uniform(3, 12)
            wave *= 1 - depth * (
                0.5 + 0.5 * np.sin(2 * np.pi * rate * np.arange(wave.size) / RATE + rng.uniform(0, 6))
            )
            edge = min(round(rng.uniform(0.0, 0.006) * RATE), wave.size // 4)
            if edge:
                ramp = np.sin(np.pi / 2 * (np.arange(edge) + 0.5) / edge) ** 2
                wave[:edge] *= ramp
                wave[-edge:] *= ramp[::-1]
        pause = np.zeros(round(off * RATE))
        moments.append((at / RATE, (at + wave.size) / RATE))
        parts += [wave, pause]
        at += wave.size + pause.size
    parts.append(np.zeros(round(0.4 * RATE)))
    return Keyed(np.concatenate(parts), keys, tuple(moments), level)
