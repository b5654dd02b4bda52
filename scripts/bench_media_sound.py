"""What the callers of `make bench-media` say, and how what the agents hear is compared with it."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dsp
from tests.phones.load import Leg, sound_of

ROOT = Path(__file__).resolve().parents[1]
RATE = 8000
FRAME_S = 0.02
KEYS = "4111111111111111#"
KEY_S, TALK_S = 0.1, 0.7  # a key, then speech until the next
NEAR_S = 0.3
LATE_PERCENT = 95.0


@dataclass
class Sound:
    """What callers say: speech with keys in it. ``moments`` are the keys' starts in seconds."""

    pcm: np.ndarray
    moments: list[float]


def speech() -> np.ndarray:
    """The demo's caller, at 8 kHz."""
    parts = []
    for path in sorted((ROOT / "paycall/demo/speech").glob("caller-*.wav")):
        with wave.open(str(path)) as file:
            parts.append(np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16))
    talk = np.concatenate(parts)
    loud = talk[np.abs(talk.astype(int)) > 0]  # no pauses: what is missing near a key is then the mask's
    return np.asarray(loud, dtype=np.int16)


def caller_sound() -> Sound:
    """Speech, and a key every ``TALK_S``; keys and speech do not overlap."""
    talk, parts, moments, at = speech(), [], [], 0
    step = int(TALK_S * RATE)
    for key in KEYS:
        piece = np.take(talk, range(at, at + step), mode="wrap")
        moments.append((sum(part.size for part in parts) + step) / RATE)
        parts += [piece, dsp.dtmf_tone(key, KEY_S, -10.0)]
        at += step
    parts.append(np.take(talk, range(at, at + step), mode="wrap"))
    return Sound(np.concatenate(parts), moments)


def on_time_s(leg: Leg) -> float:
    """When the first sample of what a leg recorded came, by what is usual of its packets."""
    return float(np.median(_firsts_s(leg)))


def lateness_s(leg: Leg) -> float:
    """By how much more all but one in twenty of its packets are late."""
    return float(np.percentile(_firsts_s(leg), LATE_PERCENT)) - on_time_s(leg)


def _firsts_s(leg: Leg) -> np.ndarray:
    """When, by each packet, the first sample came."""
    first = leg.payloads[0][0]
    since = np.array([(timestamp - first) & 0xFFFFFFFF for timestamp, _ in leg.payloads])
    return np.array(leg.arrivals) - since / RATE


def begun_s(leg: Leg) -> float:
    """When the first sample of what a leg plays left, by all of its packets."""
    return float(np.median(np.array(leg.sent) - FRAME_S * np.arange(len(leg.sent))))


def heard_from(leg: Leg, from_s: float) -> np.ndarray:
    """What a leg recorded, from a moment on."""
    late = round((on_time_s(leg) - from_s) * RATE)
    heard = sound_of(leg)
    return np.concatenate([np.zeros(late, dtype=np.int16), heard]) if late > 0 else heard[-late:]


def delay_s(sent: np.ndarray, heard: np.ndarray) -> float:
    """How much later the same sound is in ``heard``, by cross-correlation; both begin at the same moment."""
    size = 1 << int(np.ceil(np.log2(sent.size + heard.size)))
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(sent.astype(float), size))
    return float(np.argmax(np.fft.irfft(spectrum, size)[: RATE // 2])) / RATE


def near_key(sound: Sound, heard: np.ndarray, late_s: float) -> float:
    """Share of the speech within ``NEAR_S`` of a key, in 10 ms frames, that is still heard (within 10 dB)."""
    kept = total = 0
    for moment in sound.moments:
        for start in (
            *np.arange(moment - NEAR_S, moment, 0.01),
            *np.arange(moment + KEY_S, moment + KEY_S + NEAR_S, 0.01),
        ):
            before = sound.pcm[int(start * RATE) : int((start + 0.01) * RATE)].astype(float)
            after = heard[int((start + late_s) * RATE) : int((start + late_s + 0.01) * RATE)].astype(float)
            if before.size and after.size and np.sqrt(np.mean(before**2)) > 300:
                total += 1
                kept += bool(np.sqrt(np.mean(after**2)) > np.sqrt(np.mean(before**2)) / 3.16)
    return kept / total if total else 0.0
