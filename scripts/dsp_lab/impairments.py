"""Bad telephone lines: each takes a keyed signal and returns what arrives, as int16 of the same length.

All are seeded through the generator they are handed. Levels named `snr` are of the whole key
(both tones) over the noise in the telephone band.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import dsp
from dsp.levels import dbm0_to_rms
from dsp_lab import spandsp, speech
from dsp_lab.signals import RATE, Keyed

Line = Callable[[np.random.Generator, Keyed], np.ndarray]


def to_pcm(wave: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


def alaw(pcm: np.ndarray) -> np.ndarray:
    return dsp.decode_alaw(dsp.encode_alaw(pcm))


def ulaw(pcm: np.ndarray) -> np.ndarray:
    return dsp.decode_ulaw(dsp.encode_ulaw(pcm))


def _key_rms(keyed: Keyed) -> float:
    return dbm0_to_rms(keyed.level_dbm0) * np.sqrt(2.0)


def _band(wave: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(wave)
    f = np.fft.rfftfreq(wave.size, 1 / RATE)
    spectrum[(f < low_hz) | (f > high_hz)] = 0
    return np.fft.irfft(spectrum, wave.size)


def voice(rng: np.random.Generator, size: int, talkers: int) -> np.ndarray:
    """Recorded speech of ``talkers`` people at once, RMS 1 over what is not pause."""
    prompts = [r for r in speech.recordings() if 8000 < r.size < 80000]
    total = np.zeros(size)
    for _ in range(talkers):
        line = np.zeros(0)
        while line.size < size:
            piece = prompts[rng.integers(len(prompts))].astype(float)
            loud = piece[np.abs(piece) > 200]
            if loud.size > 4000:
                line = np.concatenate([line, piece / np.sqrt(np.mean(loud**2))])
        start = rng.integers(line.size - size + 1)
        total += line[start : start + size]
    return total / np.sqrt(talkers)


def white(snr_db: float) -> Line:
    def line(rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        noise = _band(rng.standard_normal(keyed.wave.size), 200, 3400)
        noise *= _key_rms(keyed) * 10 ** (-snr_db / 20) / np.sqrt(np.mean(noise**2))
        return alaw(to_pcm(keyed.wave + noise))

    return line


def talkers(count: int, below_db: float) -> Line:
    """Other people under the tones: one is a talker, six are babble."""

    def line(rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        other = voice(rng, keyed.wave.size, count) * _key_rms(keyed) * 10 ** (-below_db / 20)
        return alaw(to_pcm(keyed.wave + other))

    return line


def loss(share: float, concealed: bool) -> Line:
    """20 ms packets lost: zeroed, or concealed by repeating the last one, fading."""

    def line(rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        pcm = alaw(to_pcm(keyed.wave)).copy()
        last_lost = False
        for at in range(160, pcm.size - 160, 160):
            lost = not last_lost and rng.random() < share
            if lost:
                pcm[at : at + 160] = pcm[at - 160 : at] * np.linspace(1, 0.6, 160) if concealed else 0
            last_lost = lost
        return pcm

    return line


def slips(share: float, samples: int) -> Line:
    """A jitter buffer that drops or repeats some samples now and then, at packet borders."""

    def line(rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        pcm = alaw(to_pcm(keyed.wave))
        parts: list[np.ndarray] = []
        for at in range(0, pcm.size, 160):
            part = pcm[at : at + 160]
            if rng.random() < share:
                part = part[samples:] if rng.random() < 0.5 else np.concatenate([part[:samples], part])
            parts.append(part)
        joined = np.concatenate(parts)[: pcm.size]
        return np.concatenate([joined, np.zeros(pcm.size - joined.size, dtype=np.int16)])

    return line


def clipped(over_db: float) -> Line:
    """The peaks of the key are cut ``over_db`` below their height."""

    def line(_rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        ceiling = np.abs(keyed.wave).max() * 10 ** (-over_db / 20)
        return alaw(to_pcm(np.clip(keyed.wave, -ceiling, ceiling)))

    return line


def tones(frequencies_hz: tuple[float, ...], over_db: float) -> Line:
    """Steady tones (dial tone, hum), each ``over_db`` above one tone of the key; the sum is kept from clipping."""

    def line(rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        time_s = np.arange(keyed.wave.size) / RATE
        peak = dbm0_to_rms(keyed.level_dbm0) * np.sqrt(2) * 10 ** (over_db / 20)
        other = sum(peak * np.sin(2 * np.pi * f * time_s + rng.uniform(0, 6)) for f in frequencies_hz)
        both = keyed.wave + other
        return alaw(to_pcm(both * min(1.0, 32000 / np.abs(both).max())))

    return line


def hum(mains_hz: float, over_db: float) -> Line:
    return tones((mains_hz, 3 * mains_hz, 5 * mains_hz), over_db)


def echo(delay_s: float, loss_db: float, repeats: int = 1) -> Line:
    def line(_rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        wave = keyed.wave.copy()
        for number in range(1, repeats + 1):
            shift = round(number * delay_s * RATE)
            wave[shift:] += keyed.wave[: wave.size - shift] * 10 ** (-number * loss_db / 20)
        return alaw(to_pcm(wave))

    return line


def drop_outs(seconds: float) -> Line:
    """One interruption in every key that is long enough to be whole without it."""

    def line(rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        wave = keyed.wave.copy()
        for begin, end in keyed.moments:
            if end - begin > 0.08 + seconds:
                at = round(rng.uniform(begin + 0.01, end - 0.01 - seconds) * RATE)
                wave[at : at + round(seconds * RATE)] = 0
        return alaw(to_pcm(wave))

    return line


def narrow(low_hz: float, high_hz: float) -> Line:
    def line(_rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        return alaw(to_pcm(_band(keyed.wave, low_hz, high_hz)))

    return line


def codecs(*steps: Callable[[np.ndarray], np.ndarray], loss_db: float = 0.0) -> Line:
    def line(_rng: np.random.Generator, keyed: Keyed) -> np.ndarray:
        pcm = to_pcm(keyed.wave)
        for step in steps:
            pcm = step(to_pcm(pcm * 10 ** (-loss_db / 20)))
        return pcm

    return line


# name -> (style of the string, line). 34 of them.
IMPAIRMENTS: dict[str, tuple[str, Line]] = {
    "A-law": ("human", codecs(alaw)),
    "µ-law": ("human", codecs(ulaw)),
    "tandem A-law µ-law A-law": ("human", codecs(alaw, ulaw, alaw)),
    "tandem with 3 dB loss each": ("human", codecs(ulaw, alaw, ulaw, loss_db=3.0)),
    "GSM": ("human", codecs(spandsp.gsm)),
    "GSM twice": ("human", codecs(spandsp.gsm, alaw, spandsp.gsm)),
    "white noise 20 dB": ("human", white(20)),
    "white noise 15 dB": ("human", white(15)),
    "white noise 12 dB": ("human", white(12)),
    "babble 20 dB": ("human", talkers(6, 20)),
    "babble 15 dB": ("human", talkers(6, 15)),
    "babble 12 dB": ("human", talkers(6, 12)),
    "a talker 20 dB below": ("human", talkers(1, 20)),
    "a talker 15 dB below": ("human", talkers(1, 15)),
    "a talker 10 dB below": ("human", talkers(1, 10)),
    "1 % lost, zeroed": ("human", loss(0.01, concealed=False)),
    "3 % lost, zeroed": ("human", loss(0.03, concealed=False)),
    "1 % lost, concealed": ("human", loss(0.01, concealed=True)),
    "5 % lost, concealed": ("human", loss(0.05, concealed=True)),
    "slips of 5 ms": ("human", slips(0.02, 40)),
    "slips of 10 ms": ("human", slips(0.02, 80)),
    "clipped by 6 dB": ("human", clipped(6)),
    "clipped by 12 dB": ("human", clipped(12)),
    "hum 50 Hz": ("human", hum(50, 0)),
    "hum 60 Hz, 10 dB above": ("human", hum(60, 10)),
    "dial tone 350+440 Hz, 10 dB above": ("human", tones((350, 440), 10)),
    "dial tone 425 Hz, 16 dB above": ("human", tones((425,), 16)),
    "echo 30 ms, 15 dB": ("human", echo(0.03, 15)),
    "echo 60 ms, 12 dB, three times": ("human", echo(0.06, 12, 3)),
    "10 ms drop-outs": ("human", drop_outs(0.010)),
    "narrow band 300-3000 Hz": ("human", narrow(300, 3000)),
    "wobbling handset": ("handset", codecs(alaw)),
    "wobbling handset, GSM": ("handset", codecs(spandsp.gsm)),
    "40 ms on, 40 ms off": ("dialler", codecs(ulaw)),
}
