"""What a leg really carried: is the speech there, are the keys not?

Sent and received sound are compared as an eavesdropper would who knows every word and every moment. The way from
one phone to the other takes some time, which may change during the call (a mask's delay line, a jitter buffer); so
each quarter of a second of speech is searched for by itself, and a key's place is taken from the speech nearest
to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.detector import detect
from dsp.evidence import matched_recovery, residual_db

Pcm = NDArray[np.int16]
SAMPLE_RATE_HZ = 8000
BLOCK_SAMPLES = 2000
VOICED_RMS = 300.0
"""Blocks of a sentence that are quieter than this are pauses: nobody would miss them."""
HEARD_CORRELATION = 0.7
"""G.711 leaves 0.99, half a mute 0.7. Where a jitter buffer gains or loses a frame, one block breaks."""
INAUDIBLE_DB = -70.0
"""The smallest step of G.711 lies 13 dB above: below, a filter "recognises" the same key in any silence."""
EARLIEST_SAMPLES, LATEST_SAMPLES = -8000, 8000
"""Where a block may lie, from where it is expected and from where the one before was found: on a machine that stands
still now and then, what one phone sends and what the other records drift apart, more and more."""


@dataclass(frozen=True)
class Spoken:
    """A sentence as it was sent: its samples, and where they began in what the phone sent."""

    pcm: Pcm = field(repr=False)
    start_sample: int
    phase: str


@dataclass(frozen=True)
class Pressed:
    """A key as it was sent. The key is card data, so it is kept out of ``repr``."""

    symbol: str = field(repr=False)
    start_sample: int
    end_sample: int


@dataclass(frozen=True)
class LegEvidence:
    """What was found in a recording.

    Attributes
    ----------
    speech_heard
        For each phase, the share (0 to 1) of voiced quarters of a second that arrived.
    keys_detected
        Keys that a detector finds anywhere in the recording.
    keys_matched
        Keys that a matched filter, which knows the moments, gets right where there is anything left to hear;
        chance is one in sixteen.
    tone_residual_db
        What is left at the keys' own frequencies against the level they are sent at: 95th percentile.
    """

    speech_heard: dict[str, float]
    keys_detected: int
    keys_matched: int
    tone_residual_db: float


@dataclass(frozen=True)
class _Found:
    start_sample: int
    offset: int
    correlation: float
    phase: str


def examine(
    heard: Pcm, expected_offset: int, spoken: Sequence[Spoken], pressed: Sequence[Pressed]
) -> LegEvidence:
    """Look for speech and keys in a recording.

    Parameters
    ----------
    heard
        The recording, int16, 8 kHz.
    expected_offset
        Where the sender's first sample would lie in ``heard`` if the way took no time.
    spoken, pressed
        What was sent.
    """
    blocks = _search(heard, expected_offset, spoken)
    phases: dict[str, list[bool]] = {}
    for block in blocks:
        phases.setdefault(block.phase, []).append(block.correlation >= HEARD_CORRELATION)
    sure = [block for block in blocks if block.correlation >= HEARD_CORRELATION]
    moments = [_moment(key, sure, expected_offset) for key in pressed]
    residual = residual_db(heard, [(key.symbol, *m) for key, m in zip(pressed, moments, strict=True)])
    audible = [
        (m, key.symbol) for m, key, db in zip(moments, pressed, residual, strict=True) if db > INAUDIBLE_DB
    ]
    return LegEvidence(
        speech_heard={phase: round(float(np.mean(hits)), 3) for phase, hits in phases.items()},
        keys_detected=len(detect(heard)),
        keys_matched=matched_recovery(heard, [m for m, _ in audible], [symbol for _, symbol in audible]),
        tone_residual_db=round(float(np.percentile(residual, 95)), 1) if pressed else -120.0,
    )


def _search(heard: Pcm, expected_offset: int, spoken: Sequence[Spoken]) -> list[_Found]:
    """Every voiced block of the sentences, in the order in which they were said."""
    found = []
    offset = expected_offset
    for sentence in sorted(spoken, key=lambda each: each.start_sample):
        for start in range(0, sentence.pcm.size - BLOCK_SAMPLES + 1, BLOCK_SAMPLES):
            block = sentence.pcm[start : start + BLOCK_SAMPLES].astype(np.float64)
            if np.sqrt(np.mean(block**2)) < VOICED_RMS:
                continue
            sent_at = sentence.start_sample + start
            first = max(sent_at + min(offset, expected_offset) + EARLIEST_SAMPLES, 0)
            last = max(sent_at + max(offset, expected_offset) + LATEST_SAMPLES + BLOCK_SAMPLES, 0)
            place, correlation = _best_match(block, heard[first:last].astype(np.float64))
            found.append(_Found(sent_at, first + place - sent_at, correlation, sentence.phase))
            if correlation >= HEARD_CORRELATION:
                offset = first + place - sent_at
    return found


def _best_match(block: NDArray[np.float64], where: NDArray[np.float64]) -> tuple[int, float]:
    """Place and height of the normalised cross-correlation's peak; 0 and 0 where ``where`` is too short."""
    if where.size < block.size:
        return 0, 0.0
    size = 1 << int(np.ceil(np.log2(where.size + block.size)))
    product = np.fft.irfft(np.fft.rfft(where, size) * np.conj(np.fft.rfft(block, size)), size)
    places = where.size - block.size + 1
    sums = np.concatenate([[0.0], np.cumsum(where**2)])
    energy = (sums[block.size :] - sums[:places]) * float(block @ block)
    correlation = product[:places] / np.sqrt(np.maximum(energy, 1.0))
    place = int(np.argmax(correlation))
    return place, float(correlation[place])


def _moment(key: Pressed, sure: Sequence[_Found], expected_offset: int) -> tuple[float, float]:
    """Begin and end of a key in the recording, in seconds."""
    nearest = min(sure, key=lambda block: abs(block.start_sample - key.start_sample), default=None)
    offset = nearest.offset if nearest is not None else expected_offset
    return (key.start_sample + offset) / SAMPLE_RATE_HZ, (key.end_sample + offset) / SAMPLE_RATE_HZ
