"""The last windows of many channels: tones, energies and samples, in rings.

Everything that decides looks at most ``DEPTH`` windows back, by absolute window number. Window ``k``
ends with block ``k`` of the stream and has its middle at sample ``80 * k``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsp.checks import Floats, Pcm
from dsp.goertzel import BLOCK, block_sums

Indices = NDArray[np.intp]
Singles = NDArray[np.float32]
DEPTH: Final = 24  # windows of history: 240 ms, as far as the test for hum looks back


class Windows:
    """Rings over time; the first axis is the window's number modulo ``size``.

    Attributes
    ----------
    tones : ndarray, shape ``(size, 16, channels)``
        Real parts of the eight tones, then imaginary parts.
    powers : ndarray, shape ``(size, 8, channels)``
    groups : ndarray, shape ``(size, 2, channels)``
        Sum of the four low and of the four high powers.
    blocks : ndarray of int16, shape ``(size, channels, 80)``
    """

    def __init__(self, channels: int, at_once: int) -> None:
        self.channels = channels
        self._in_cache = max(1024 // channels, 1)  # steps at a time: their sums stay in the cache
        self.size = DEPTH + 2 + at_once
        self.next = 0  # number of the next window
        self.tones = np.zeros((self.size, 16, channels), dtype=np.float32)
        self.powers = np.zeros((self.size, 8, channels), dtype=np.float32)
        self.groups = np.zeros((self.size, 2, channels), dtype=np.float32)
        self.blocks = np.zeros((self.size, channels, BLOCK), dtype=np.int16)
        self._first_half = np.zeros((1, 16, channels), dtype=np.float32)
        self._possible = np.zeros((1, channels), dtype=bool)

    def append(self, blocks: Pcm) -> int:
        """Take ``blocks``, int16, shape ``(channels, steps, 80)``; return the number of the first window."""
        first, steps = self.next, blocks.shape[1]
        for start in range(0, steps, self._in_cache):
            self._append(blocks[:, start : start + self._in_cache])
        return first

    def _append(self, blocks: Pcm) -> None:
        first, steps = self.next, blocks.shape[1]
        ordered = blocks.transpose(1, 0, 2)
        sums = block_sums(ordered)
        rows = self._rows(first, steps)
        tones = sums[:, 16:] + np.concatenate([self._first_half, sums[:-1, :16]])
        squares = tones * tones
        powers = squares[:, :8] + squares[:, 8:]
        self.tones[rows] = tones
        self.powers[rows] = powers
        self.groups[rows] = _group_sums(powers)
        self.blocks[rows] = ordered
        self._first_half = sums[-1:, :16].copy()
        self.next = first + steps

    def latest(self, first: int) -> tuple[Singles, Singles]:
        """Powers ``(steps, 8, channels)`` and group sums ``(steps, 2, channels)`` since ``first``."""
        rows = self._rows(first, self.next - first)
        return self.powers[rows], self.groups[rows]

    def power(self, number: Indices, tone: Indices, channel: Indices) -> Singles:
        """Power of ``tone`` in the windows ``number``, for index arrays that broadcast together."""
        place = (number % self.size) * (8 * self.channels) + (tone * self.channels + channel)
        return self.powers.take(place)

    def vector(self, number: Indices, tone: Indices, channel: Indices) -> tuple[Singles, Singles]:
        """Real and imaginary part of ``tone``, for index arrays that broadcast together."""
        place = (number % self.size) * (16 * self.channels) + (tone * self.channels + channel)
        return self.tones.take(place), self.tones.take(place + 8 * self.channels)

    def energy(self, number: Indices, channel: Indices) -> Floats:
        """Sum of the squares of the 160 samples of each window, shape as ``number``.

        Parameters
        ----------
        number : ndarray of intp, shape ``(steps, n)``
            In each column one window and the ones before it, the latest first.
        """
        blocks = np.concatenate([number, number[-1:] - 1]) % self.size
        samples = self.blocks[blocks, channel].astype(np.float64)
        energy = np.vecdot(samples, samples)  # integers below 2**53: exact in any order
        return np.asarray(energy[:-1] + energy[1:])

    def twice_running(self, possible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where ``possible``, shape ``(steps, channels)``, holds for the window before, too."""
        flags = np.concatenate([self._possible, possible])
        self._possible = flags[-1:]
        return np.asarray(flags[1:] & flags[:-1])

    def _rows(self, first: int, count: int) -> slice | Indices:
        begin = first % self.size
        if begin + count <= self.size:
            return slice(begin, begin + count)
        return np.arange(first, first + count) % self.size


def _group_sums(powers: Singles) -> Singles:
    pairs = powers[:, 0::2] + powers[:, 1::2]
    return np.asarray(pairs[:, 0::2] + pairs[:, 1::2])
