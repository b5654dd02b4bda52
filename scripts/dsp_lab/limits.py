"""Every limit of the standards, at the exact limit: what must be accepted and what refused.

Numbers and names as in the table of docs/dtmf.md (ITU-T Q.24 administrations, ETSI ES 201 235-3,
MT8870D data sheet; the order is that of the Mitel test tape: bandwidth, twist, range, guard time,
noise). Each case builds one A-law coded signal of one key; all sixteen keys are tried, each at many
phases of the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import dsp
from dsp.levels import dbm0_to_peak, dbm0_to_rms
from dsp_lab.impairments import alaw, to_pcm
from dsp_lab.signals import RATE, press

Build = Callable[[np.random.Generator, str], np.ndarray]


@dataclass(frozen=True)
class Limit:
    name: str
    keys: int  # how often the key must be heard: 0 refused, 1 accepted, 2 as two presses
    build: Build


def _on_line(rng: np.random.Generator, wave: np.ndarray, under: np.ndarray | None = None) -> np.ndarray:
    before = 3200 + int(rng.integers(0, 160))  # every phase of the frame
    line = np.concatenate([np.zeros(before), wave, np.zeros(2400)])
    return alaw(to_pcm(line if under is None else line + under[: line.size]))


def _frequency(error: Callable[[float], float], tones_off: int, seconds: float) -> Build:
    def build(rng: np.random.Generator, symbol: str) -> np.ndarray:
        errors = [float(rng.choice([-1, 1])) * error(f) for f in dsp.frequencies_hz(symbol)]
        if tones_off == 1:
            errors[int(rng.integers(2))] = 0.0
        return _on_line(rng, press(rng, symbol, seconds, -10, 0, (errors[0], errors[1])))

    return build


def _tone(seconds: float = 0.05, level_dbm0: float = -10.0, twist_db: float = 0.0) -> Build:
    def build(rng: np.random.Generator, symbol: str) -> np.ndarray:
        return _on_line(rng, press(rng, symbol, seconds, level_dbm0, twist_db, (0, 0)))

    return build


def _twice(seconds: float, pause_s: float) -> Build:
    def build(rng: np.random.Generator, symbol: str) -> np.ndarray:
        first, second = (press(rng, symbol, seconds, -10, 0, (0, 0)) for _ in range(2))
        return _on_line(rng, np.concatenate([first, np.zeros(round(pause_s * RATE)), second]))

    return build


def _interrupted(seconds: float, gap_s: float) -> Build:
    def build(rng: np.random.Generator, symbol: str) -> np.ndarray:
        wave, gap = press(rng, symbol, seconds, -10, 0, (0, 0)), round(gap_s * RATE)
        at = int(rng.integers(0.02 * RATE, wave.size - gap - 0.02 * RATE))
        wave[at : at + gap] = 0
        return _on_line(rng, wave)

    return build


def _noise(snr_db: float) -> Build:
    """Noise up to 3.4 kHz, ``snr_db`` below the weaker tone, as on the MT8870D's sheet."""

    def build(rng: np.random.Generator, symbol: str) -> np.ndarray:
        spectrum = np.fft.rfft(rng.standard_normal(RATE))
        spectrum[3400:] = 0
        noise = np.fft.irfft(spectrum)
        noise *= dbm0_to_rms(-10 - snr_db) / np.sqrt(np.mean(noise**2))
        return _on_line(rng, press(rng, symbol, 0.05, -10, 0, (0, 0)), noise)

    return build


def _dial_tone(frequencies_hz: tuple[float, ...], over_db: float) -> Build:
    def build(rng: np.random.Generator, symbol: str) -> np.ndarray:
        time_s = np.arange(RATE) / RATE
        peak = dbm0_to_peak(-28 + over_db)
        under = sum(peak * np.sin(2 * np.pi * f * time_s + rng.uniform(0, 6)) for f in frequencies_hz)
        return _on_line(rng, press(rng, symbol, 0.05, -28, 0, (0, 0)), np.asarray(under))

    return build


LIMITS: tuple[Limit, ...] = (
    Limit("frequency: ±1.5 % accepted, both tones", 1, _frequency(lambda _: 0.015, 2, 0.05)),
    Limit("frequency: ±(1.5 % + 2 Hz) accepted, both tones", 1, _frequency(lambda f: 0.015 + 2 / f, 2, 0.05)),
    Limit("frequency: ±1.8 % accepted, both tones (NTT)", 1, _frequency(lambda _: 0.018, 2, 0.05)),
    Limit("frequency: ±3.5 % refused, one tone", 0, _frequency(lambda _: 0.035, 1, 0.1)),
    Limit("frequency: ±3.5 % refused, both tones", 0, _frequency(lambda _: 0.035, 2, 0.1)),
    Limit("frequency: ±3.0 % refused, one tone (NTT)", 0, _frequency(lambda _: 0.030, 1, 0.1)),
    Limit("twist: +4 dB accepted (AT&T)", 1, _tone(twist_db=4)),
    Limit("twist: -8 dB accepted (AT&T)", 1, _tone(twist_db=-8)),
    Limit("twist: +5 dB accepted (NTT)", 1, _tone(twist_db=5)),
    Limit("twist: -5 dB accepted (NTT)", 1, _tone(twist_db=-5)),
    Limit("twist: +8 dB accepted (MT8870D)", 1, _tone(twist_db=8)),
    Limit("level: +1 dBm0 a tone accepted (MT8870D; clips)", 1, _tone(level_dbm0=1)),
    Limit("level: -25 dBm0 a tone accepted (AT&T)", 1, _tone(level_dbm0=-25)),
    Limit("level: -29 dBm0 a tone accepted (MT8870D)", 1, _tone(level_dbm0=-29)),
    Limit("level: -55 dBm0 a tone refused (AT&T)", 0, _tone(seconds=0.1, level_dbm0=-55)),
    Limit("tone: 40 ms accepted", 1, _tone(seconds=0.040)),
    Limit("tone: 23 ms refused (AT&T)", 0, _tone(seconds=0.023)),
    Limit("tone: 20 ms refused (ETSI)", 0, _tone(seconds=0.020)),
    Limit("pause: 40 ms makes two keys", 2, _twice(0.05, 0.040)),
    Limit("pause: 30 ms makes two keys (NTT)", 2, _twice(0.05, 0.030)),
    Limit("rate: 93 ms a key (AT&T), 50 + 43 ms", 2, _twice(0.050, 0.043)),
    Limit("rate: 80 ms a key, 40 + 40 ms", 2, _twice(0.040, 0.040)),
    Limit("interruption: 10 ms bridged, in 60 ms", 1, _interrupted(0.06, 0.010)),
    Limit("interruption: 10 ms bridged, in 100 ms", 1, _interrupted(0.10, 0.010)),
    Limit("interruption: 19 ms bridged, in 150 ms (ETSI)", 1, _interrupted(0.15, 0.019)),
    Limit("noise: 12 dB below a tone", 1, _noise(12)),
    Limit("dial tone: 350 + 440 Hz, each 22 dB above a tone", 1, _dial_tone((350, 440), 22)),
    Limit("dial tone: 425 Hz, 22 dB above a tone", 1, _dial_tone((425,), 22)),
    Limit("hum: 50 Hz, 20 dB above a tone", 1, _dial_tone((50,), 20)),
)
