"""Finds a known sound in what a phone heard."""

from __future__ import annotations

import numpy as np


def where(heard: np.ndarray, sound: np.ndarray) -> tuple[int, float]:
    """Where a sound lies best in what was heard, in samples, and how well: 1 is itself, 0 nothing of it.

    Normalised cross-correlation of int16 at 8 kHz, computed by FFT.
    """
    x, y = heard.astype(np.float64), sound.astype(np.float64)
    if x.size < y.size:
        return 0, 0.0
    size = 1 << int(np.ceil(np.log2(x.size + y.size)))
    product = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)[: x.size - y.size + 1]
    energy = np.cumsum(np.concatenate([[0.0], x * x]))
    local = np.sqrt(np.maximum(energy[y.size :] - energy[: -y.size], 1.0))[: product.size]
    score = product / (local * np.sqrt(np.sum(y * y)))
    at = int(np.argmax(score))
    return at, float(score[at])


def loudness(sound: np.ndarray, block: int = 160) -> np.ndarray:
    """RMS of each block."""
    blocks = sound[: sound.size // block * block].reshape(-1, block).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(blocks**2, axis=1)))


def share_found(heard: np.ndarray, sound: np.ndarray, piece: int = 2400) -> float:
    """How much of a sound is in what was heard, piece by piece: a jitter buffer may cut or stretch between them.

    Pieces that are nearly silent do not count.
    """
    pieces = [sound[start : start + piece] for start in range(0, sound.size - piece + 1, piece)]
    loud = [one for one in pieces if np.sqrt(np.mean(one.astype(np.float64) ** 2)) > 300]
    return float(np.mean([where(heard, one)[1] > 0.8 for one in loud]))


def hears_tone(heard: np.ndarray, hz: float, seconds: float = 0.2, block: int = 800) -> bool:
    """Whether a phone heard a tone for so long, in pieces of 100 ms: what a busy machine loses lies between them."""
    pieces = heard[: heard.size // block * block].reshape(-1, block).astype(np.float64)
    loud = pieces[np.sqrt(np.mean(pieces**2, axis=1)) > 200]
    strongest = np.argmax(np.abs(np.fft.rfft(loud, axis=1)), axis=1) * 8000 / block
    return bool(np.count_nonzero(np.abs(strongest - hz) <= 20) * block >= seconds * 8000)
