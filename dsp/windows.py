"""The last windows of many channels: their samples, and the tones in them as far as anyone asks.

Window ``k`` ends with block ``k`` of the stream (10 ms, 80 samples) and has its middle at sample
``80 * k``. Every second one, the *whole* ones (odd ``k``), coincides with 20 ms of the stream, counted
from its start. The tones of those are computed for all channels as the sound comes in; the tones of
the windows *between* them only for channels in which something tone-like was heard. As every sum is
exact (see :mod:`dsp.goertzel`), when and beside whom a window is computed makes no difference.

Of speech 3 % of the whole windows are possible, so 6 % of the windows between are computed of a long block.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from dsp import rules
from dsp.checks import Floats, Pcm
from dsp.goertzel import BLOCK, SAMPLE_SHIFT, WINDOW, tone_sums

Indices = NDArray[np.intp]
Flags = NDArray[np.bool_]
Singles = NDArray[np.float32]
DEPTH: Final = 26  # windows of history that anything may ask for: 260 ms; an even number
_BETWEEN_BACK: Final = 8  # windows before the first new one that are looked at with it
_SHORT: Final = 16  # new windows, 160 ms, of which it is quicker to compute too many than to come twice
_IN_CACHE: Final = 2048  # windows whose samples, as floats, stay in the processor's cache
_KEY_OF_TONES: Final = np.array([4, 1])
TONES_OF_KEY: Final = np.array([np.arange(16) // 4, 4 + np.arange(16) % 4])
_TWO_BLOCKS: Final = np.array([1, 0])
_SIX_BLOCKS: Final = np.arange(6)[:, None]
_MIN_OF_OTHER: Final = np.array(
    [[1.0 / rules.MAX_HIGH_OVER_LOW], [1.0 / rules.MAX_LOW_OVER_HIGH]], np.float32
)
_DOMINANCE: Final = np.float32(rules.SCREEN_DOMINANCE)
_MIN_POWER: Final = np.float32(rules.MIN_POWER)


class Windows:
    """Rings over time: row ``k % size`` of each belongs to window ``k``.

    Parameters
    ----------
    channels : int
    at_once : int
        Steps of 20 ms that are judged together at most.

    Attributes
    ----------
    next : int
        Number of the first window that has not been transformed; even.
    tones : ndarray of float32, shape ``(size, 24, channels)``
        Real parts of the eight tones, then imaginary parts, then powers.
    """

    def __init__(self, channels: int, at_once: int) -> None:
        self.channels = channels
        self.size = 1 << (DEPTH + 2 * at_once - 1).bit_length()
        self._mask = self.size - 1
        self.next = 0
        self.tones = np.zeros((self.size, 24, channels), dtype=np.float32)
        self._stride = 24 * channels
        # Where a key's two tones lie in a row: their real parts, imaginary parts and powers.
        parts = np.array([0, 8, 16])[:, None, None, None]
        self._vectors_of = (parts + TONES_OF_KEY) * channels
        # Of each window, whether one tone stands out in each group, the two in balance; of each between
        # the whole ones, whether it is still to be computed.
        self._possible = np.zeros((self.size, channels), dtype=bool)
        self._unknown = np.zeros((self.size // 2, channels), dtype=bool)
        self._samples = np.zeros((self.size // 2, channels, WINDOW), dtype=np.int16)
        self._halves = self._samples.reshape(self.size // 2, channels, 2, BLOCK)
        self._taken = 0  # samples of each channel so far
        self._at_once = at_once
        self._in_cache = max(_IN_CACHE // channels, 1)

    @property
    def waiting(self) -> int:
        """Steps of 20 ms that are complete and have not been transformed."""
        return self._taken // WINDOW - self.next // 2

    def take(self, pcm: Pcm) -> int:
        """Keep the first samples of ``pcm``, int16, shape ``(channels, n)``; return how many.

        At most until ``at_once`` steps wait; the caller transforms them before it comes again.
        """
        step, inside = divmod(self._taken, WINDOW)
        row = step % len(self._samples)
        count = int(pcm.shape[1])
        if inside or count < WINDOW:
            count = min(count, WINDOW - inside)
            part = self._samples[row, :, inside : inside + count]
            np.right_shift(pcm[:, :count], SAMPLE_SHIFT, out=part)
        else:
            steps = min(count // WINDOW, self._at_once - self.waiting, len(self._samples) - row)
            count = steps * WINDOW
            whole = pcm[:, :count].reshape(self.channels, steps, WINDOW)
            np.right_shift(whole.transpose(1, 0, 2), SAMPLE_SHIFT, out=self._samples[row : row + steps])
        self._taken += count
        return count

    def transform(self) -> int:
        """Compute the whole windows that wait; return the number of the first new window."""
        first = self.next
        end = first + 2 * self.waiting
        while self.next < end:
            row = self.next & self._mask
            stop = min(row + end - self.next, row + 2 * self._in_cache, self.size)
            whole, steps = slice(row + 1, stop, 2), slice(row // 2, stop // 2)
            tones = self.tones[whole]
            tone_sums(self._samples[steps].astype(np.float32), tones[:, :16])
            powers = _powers(tones[:, :16], tones[:, 16:])
            self._possible[row:stop:2] = False
            self._possible[whole] = _possible(powers)
            self._unknown[steps] = True
            self.next += stop - row
        return first

    def fill(self, first: int, everywhere: Flags) -> bool:
        """Compute the windows between the whole ones, as far as anyone looks since ``first``.

        That is all of them in the channels that ``everywhere`` marks, shape ``(channels,)``. In the others a
        window is asked for only if one of the two whole ones before it or the one behind it is possible: those are
        computed, or in short blocks all of such a channel.

        Returns
        -------
        bool
            Whether there is anything to look at.
        """
        rows = self._rows(first - _BETWEEN_BACK - 1)
        whole = self._possible[rows[::2]]
        if self.next - first <= _SHORT:
            wanted = np.logical_or.reduce(whole[_BETWEEN_BACK // 2 :], axis=0)
            wanted |= everywhere
        else:
            wanted = whole[:-1] | whole[1:]
            wanted[:-1] |= whole[2:]
            wanted |= everywhere
        if not np.logical_or.reduce(wanted, axis=None):
            return False
        self._fill(rows[1::2] // 2, wanted)
        return True

    def fill_channels(self, first: int, channels: Flags) -> None:
        """Compute all of them in these channels, beside which :meth:`fill` has found something."""
        if self.next - first > _SHORT:  # else they are
            self._fill(self._rows(first - _BETWEEN_BACK)[::2] // 2, channels)

    def _fill(self, steps: Indices, wanted: Flags) -> None:
        """Compute what is wanted and unknown of the windows between, at the start of ``steps``."""
        step, channel = np.nonzero(self._unknown[steps] & wanted)
        step = steps[step]
        for start in range(0, step.size, _IN_CACHE):
            self._compute(step[start : start + _IN_CACHE], channel[start : start + _IN_CACHE])

    def _compute(self, step: Indices, channel: Indices) -> None:
        """Compute the windows between the whole ones at the start of these steps."""
        row = 2 * step
        samples = np.empty((1, row.size, 2, BLOCK), dtype=np.float32)
        samples[0, :, 0] = self._halves[step - 1, channel, 1]  # row 0 follows the last one
        samples[0, :, 1] = self._halves[step, channel, 0]
        tones = np.empty((1, 24, row.size), dtype=np.float32)
        tone_sums(samples.reshape(1, -1, WINDOW), tones[:, :16])
        powers = _powers(tones[:, :16], tones[:, 16:])
        self.tones[row, :, channel] = tones[0].T
        self._possible[row, channel] = _possible(powers)[0]
        self._unknown[step, channel] = False

    def twice_possible(self, first: int) -> tuple[Indices, Indices, Indices]:
        """Where two windows running are possible, of those since ``first``.

        Returns
        -------
        tuple of ndarray of intp, shape ``(n,)``
            Number of the second of the two, channel, and the key of its strongest tones. In order of time.
        """
        rows = self._rows(first - 1)
        possible = self._possible[rows]
        step, channel = np.nonzero(possible[1:] & possible[:-1])
        strongest = self.tones[rows[step + 1], 16:, channel].reshape(-1, 2, 4).argmax(axis=2)
        return first + step, channel, strongest @ _KEY_OF_TONES

    def vectors(self, number: Indices, channel: Indices, symbol: Indices) -> Singles:
        """A key's two tones in the windows ``number``: real part, imaginary part, power.

        Parameters
        ----------
        number : ndarray of intp, shape ``(windows, 1, n)``
        channel, symbol : ndarray of intp, shape ``(n,)``

        Returns
        -------
        ndarray of float32, shape ``(3, windows, 2, n)``
        """
        place = (number & self._mask) * self._stride + channel
        return np.asarray(self.tones.take(place + self._vectors_of.take(symbol, axis=3)))

    def powers(self, number: Indices, channel: Indices, symbol: Indices) -> Singles:
        """The powers alone; with more axes than one, ``symbol`` goes with ``channel``."""
        place = (number & self._mask) * self._stride + channel
        return np.asarray(self.tones.take(place + self._vectors_of[2, 0].take(symbol, axis=1)))

    def groups(self, number: Indices, channel: Indices) -> Singles:
        """Sums of the four low and of the four high powers, ``(steps, n)`` to ``(steps, 2, n)``."""
        return _group_sums(self.tones[number & self._mask, 16:, channel].transpose(0, 2, 1))

    def samples(self, number: Indices, channel: Indices) -> Floats:
        """The 160 samples of each window, in steps of 16, shape ``(..., 160)``."""
        block = number[..., None] - _TWO_BLOCKS
        pairs = self._halves[(block & self._mask) >> 1, channel[..., None], block & 1]
        return np.asarray(pairs.reshape(*number.shape, WINDOW), dtype=np.float64)

    def energies(self, number: Indices, channel: Indices) -> Floats:
        """Sum of the squares of the samples of window ``number`` and of the four before, ``(n,)`` to ``(5, n)``.

        Integers below 2**53, exact in any order.
        """
        block = number - _SIX_BLOCKS
        samples = self._halves[(block & self._mask) >> 1, channel, block & 1].astype(np.float64)
        blocks = np.vecdot(samples, samples)
        return np.asarray(blocks[:-1] + blocks[1:])

    def _rows(self, first: int) -> Indices:
        """Rows of the windows from ``first`` to the latest."""
        return np.arange(first, self.next) & self._mask


def _powers(tones: Singles, out: Singles) -> Singles:
    """Powers ``(steps, 8, n)`` of tones ``(steps, 16, n)``, written to ``out``."""
    squares = tones * tones
    return np.asarray(np.add(squares[:, :8], squares[:, 8:], out=out))


def _group_sums(powers: Singles) -> Singles:
    """Sum of the four low and of the four high powers: ``(steps, 8, n)`` to ``(steps, 2, n)``."""
    pairs = powers[:, 0::2] + powers[:, 1::2]
    return np.asarray(pairs[:, 0::2] + pairs[:, 1::2])


def _possible(powers: Singles) -> Flags:
    """The cheap test on every window: one strong tone in each group, in balance."""
    pairs = np.maximum(powers[:, 0::2], powers[:, 1::2])
    strongest = np.maximum(pairs[:, 0::2], pairs[:, 1::2])
    floor = _group_sums(powers)
    floor *= _DOMINANCE
    np.maximum(floor, _MIN_POWER, out=floor)
    np.maximum(floor, strongest[:, ::-1] * _MIN_OF_OTHER, out=floor)
    clear = strongest > floor
    return np.asarray(clear[:, 0] & clear[:, 1])
