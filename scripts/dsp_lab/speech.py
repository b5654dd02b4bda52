"""Recorded human speech: Debian's prompt packages for Asterisk, and tapes made of them.

Needs asterisk-core-sounds-{en,ru,fr,es,it}-wav and asterisk-moh-opsound-wav (scripts/system-tools.sh).

The recordings fall into two halves by a hash of their names. Thresholds are tuned on the tuning half; the
held-out half, and synthetic voices in languages of which nothing was tuned on, say what they are worth.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import wave
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

ROOT = Path("/usr/share/asterisk")
LANGUAGES = ("en", "ru", "fr", "es", "it")
# Beeps are no speech; they are left out of the speech, whatever a detector makes of them.
_NOT_SPEECH = {"beep.wav", "beeperr.wav", "ascending-2tone.wav", "descending-2tone.wav"}
# espeak-ng speaks numbers in each of these by itself.
VOICES = (
    "de",
    "nl",
    "pl",
    "pt",
    "sv",
    "da",
    "nb",
    "fi",
    "cs",
    "hu",
    "ro",
    "tr",
    "el",
    "uk",
    "hi",
    "ja",
    "cmn",
    "ko",
)
SPEEDS = (1.0, 0.93, 1.08, 1.17)
LEVELS_DB = (0.0, -10.0, 4.0, -18.0)


Part = Literal["tuning", "held out"]


def part_of(path: Path) -> Part:
    """Which half of the recordings one belongs to."""
    name = path.relative_to(ROOT).as_posix()
    return "held out" if hashlib.sha256(name.encode()).digest()[0] % 2 else "tuning"


def _read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as source:
        assert (source.getframerate(), source.getnchannels(), source.getsampwidth()) == (8000, 1, 2)
        return np.frombuffer(source.readframes(source.getnframes()), dtype=np.int16)


@cache
def recordings(music: bool = True, part: Part | None = None) -> tuple[np.ndarray, ...]:
    """Every prompt (of one half), and every piece of music on hold, once, in a fixed order, as int16 at 8 kHz."""
    files = sorted(p for p in ROOT.rglob("*.wav") if not p.is_symlink() and p.name not in _NOT_SPEECH)
    if not music:
        files = [p for p in files if ROOT / "moh" not in p.parents]
    found = {p.name[:2] for p in (ROOT / "sounds").glob("??_*")} | (
        {"moh"} if (ROOT / "moh").is_dir() else set()
    )
    if not found >= {*LANGUAGES, "moh"}:
        raise RuntimeError("the recorded speech is missing: run scripts/system-tools.sh")
    return tuple(_read(path) for path in files if part is None or part_of(path) == part)


def change_speed(pcm: np.ndarray, speed: float) -> np.ndarray:
    """Played faster (and higher) or slower: the spectrum is cut or padded, so nothing aliases."""
    wave = pcm.astype(np.float64)
    if speed == 1.0 or not wave.size:
        return wave
    padded = np.zeros(1 << (wave.size + 255).bit_length())  # a power of two is quick to transform
    padded[: wave.size] = wave
    size = 2 * round(padded.size / speed / 2)
    spectrum = np.fft.rfft(padded)
    kept = np.zeros(size // 2 + 1, dtype=complex)
    shared = min(kept.size, spectrum.size)
    kept[:shared] = spectrum[:shared]
    slower = np.fft.irfft(kept, size) * (size / padded.size)
    return slower[: int(wave.size * size / padded.size)]


def variation(pcm: np.ndarray, speed: float, level_db: float) -> np.ndarray:
    changed = change_speed(pcm, speed) * 10 ** (level_db / 20)
    return np.asarray(np.clip(np.rint(changed), -32768, 32767), dtype=np.int16)


def tapes(
    hours: float, music: bool = True, stride: int = 1, part: Part | None = None
) -> Iterator[np.ndarray]:
    """Recordings with speed and level varied, one after the other, until ``hours`` are full.

    ``stride`` takes every n-th recording only, so that a short tape has all languages, too.
    """
    left = int(hours * 3600 * 8000)
    for round_ in range(64):
        for index, recording in enumerate(recordings(music, part)[round_ % stride :: stride]):
            if left <= 0:
                return
            speed = SPEEDS[round_ % len(SPEEDS)] * (1.0 + 0.02 * (round_ // len(SPEEDS)))
            level = LEVELS_DB[(round_ + index) % len(LEVELS_DB)]
            sound = variation(recording, speed, level)[:left]
            left -= sound.size
            yield sound


def voices(minutes: float, languages: tuple[str, ...] = VOICES) -> Iterator[np.ndarray]:
    """Synthetic voices that read numbers, as callers do: a few seconds of each language in turn."""
    left = int(minutes * 60 * 8000)
    rng = np.random.default_rng(24)
    while left > 0:
        for language in languages:
            text = " ".join(str(int(10 ** rng.uniform(0, 7))) for _ in range(12))
            pitch, speed = rng.integers(10, 90), rng.integers(120, 210)
            say = ["espeak-ng", "-v", language, "-p", str(pitch), "-s", str(speed), "--stdout", text]
            spoken = subprocess.run(say, check=True, capture_output=True).stdout
            with wave.open(io.BytesIO(spoken)) as source:
                pcm = np.frombuffer(spoken[44:], dtype=np.int16)
                rate = source.getframerate()
            level = LEVELS_DB[int(rng.integers(len(LEVELS_DB)))]
            yield variation(pcm, rate / 8000, level)[: max(left, 0)]
            left -= int(pcm.size * 8000 / rate)


def tone_likeness(pcm: np.ndarray, window: int = 256, hop: int = 128) -> np.ndarray:
    """Share of energy above 500 Hz that the likeliest pair of DTMF lines explains, for every window.

    An FFT measure that is neither spandsp's nor ours, so that the mined tape favours nobody.
    """
    if pcm.size < window:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, window)[::hop] * np.hanning(window)
    spectrum = np.abs(np.fft.rfft(frames, 1024, axis=1)) ** 2
    bins = np.fft.rfftfreq(1024, 1 / 8000)
    total = spectrum[:, bins > 300].sum(axis=1) + 1e6

    def best(lines: tuple[float, ...]) -> np.ndarray:
        return np.max([spectrum[:, np.abs(bins - f) <= 45].sum(axis=1) for f in lines], axis=0)

    low, high = best((697, 770, 852, 941)), best((1209, 1336, 1477, 1633))
    balance = np.minimum(low, high) / np.maximum(np.maximum(low, high), 1e-9)
    return np.where(balance > 0.05, (low + high) / total, 0.0)


def adversarial_tape(
    minutes: float,
    speeds: tuple[float, ...],
    fragment_s: float = 1.0,
    stride: int = 1,
    part: Part | None = None,
) -> np.ndarray:
    """The most tone-like fragments of every ``stride``-th recording at all ``speeds``, strung together."""
    sources = recordings(part=part)
    half = int(fragment_s * 4000)
    found: list[tuple[float, int, float, int]] = []
    for speed in speeds:
        for number, recording in enumerate(sources):
            if number % stride:
                continue
            pcm = variation(recording, speed, 0.0)
            score = tone_likeness(pcm)
            if score.size < 3:
                continue
            held = np.minimum(score[1:-1], np.maximum(score[:-2], score[2:]))  # for two windows in a row
            while held.size and held.max() > 0.5:
                at = int(np.argmax(held))
                found.append((float(held[at]), number, speed, (at + 1) * 128))
                held[max(0, at - half // 128) : at + half // 128] = 0.0
    found.sort(reverse=True)
    parts, cached = [], {}
    for _, number, speed, at in found[: int(minutes * 60 / fragment_s)]:
        key = (number, speed)
        if key not in cached:
            cached[key] = variation(sources[number], speed, 0.0)
        parts.append(cached[key][max(at - half, 0) : at + half])
    return np.concatenate(parts)
