"""A second pair of ears: a simple, sensitive detector that shares no code with the first.

It watches what is sent to a place that must hear no keys. It knows nothing of timing rules or
talk-off subtleties: an FFT every 10 ms, and the share of the two strongest lines in the keypad's
two bands. A fault in :mod:`dsp.detector` or :mod:`dsp.masker` is therefore not repeated here.
"""

from __future__ import annotations

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray

_LOW_HZ = np.array([697.0, 770.0, 852.0, 941.0])
_HIGH_HZ = np.array([1209.0, 1336.0, 1477.0, 1633.0])
_FFT_SIZE = 512
_FRAME_S = 0.025
_STEP_S = 0.010
_TOLERANCE = 0.025
_MIN_RMS = 32768 * 10 ** (-50 / 20)
_MIN_SHARE = 0.80  # at 0.70, five false keys in 14 minutes of clear speech; at 0.80 none, and no key fewer
_MAX_TWIST = 10 ** (14 / 10)
_FRAMES_TO_COUNT = 2


class ToneListener:
    """Counts keys that can be heard in a stream; never says which.

    Attributes
    ----------
    keys_heard : int
        Distinct key presses heard so far.
    """

    def __init__(self, sample_rate_hz: int = 8000) -> None:
        if not isinstance(sample_rate_hz, int) or sample_rate_hz not in (8000, 16000):
            raise ValueError("sample_rate_hz must be 8000 or 16000")
        self.keys_heard = 0
        self._rate = sample_rate_hz
        self._frame = round(_FRAME_S * sample_rate_hz)
        self._step = round(_STEP_S * sample_rate_hz)
        self._taper = np.hanning(self._frame + 2)[1:-1]
        self._buffer = np.zeros(0, dtype=np.int16)
        self._last: int | None = None
        self._run = 0
        bins = np.fft.rfftfreq(_FFT_SIZE * sample_rate_hz // 8000, 1.0 / sample_rate_hz)
        self._bands = [np.abs(bins - f) <= 55.0 for f in (*_LOW_HZ, *_HIGH_HZ)]
        # what a spectrum is multiplied by: the energy of the speech band, and of each tone's
        self._sums = np.stack([(bins > 300.0) & (bins < 3400.0), *self._bands], axis=1).astype(np.float64)
        self._bins = bins

    def process(self, pcm: NDArray[np.int16]) -> int:
        """Listen to the next int16 samples, shape ``(n,)``; return the keys newly heard in them.

        Raises
        ------
        ValueError
            Not one channel of int16; the listener is as before.
        """
        array = isinstance(pcm, np.ndarray) and not isinstance(pcm, MaskedArray)
        if not array or pcm.dtype.newbyteorder("=") != np.int16 or pcm.ndim != 1:
            raise ValueError("samples must be a one-dimensional numpy array of int16")
        before = self.keys_heard
        self._buffer = np.concatenate([self._buffer, pcm])
        count = (self._buffer.size - self._frame) // self._step + 1
        if count > 0:
            size = self._buffer.itemsize
            frames: NDArray[np.int16] = np.ndarray(
                (count, self._frame), np.int16, self._buffer, strides=(self._step * size, size)
            )
            for key in self._keys(frames):
                self._hear(key)
            self._buffer = self._buffer[count * self._step :]
        return self.keys_heard - before

    def _hear(self, key: int | None) -> None:
        self._run = self._run + 1 if key is not None and key == self._last else int(key is not None)
        self._last = key
        if self._run == _FRAMES_TO_COUNT:
            self.keys_heard += 1

    def _keys(self, frames: NDArray[np.int16]) -> list[int | None]:
        """The key that each frame, shape ``(n, frame)``, sounds like; None for none."""
        samples = frames.astype(np.float64)
        size = _FFT_SIZE * self._rate // 8000
        spectra = np.abs(np.fft.rfft(samples * self._taper, size)) ** 2
        sums = spectra @ self._sums
        total, strength = sums[:, 0], sums[:, 1:]
        rows, columns = strength[:, :4].argmax(axis=1), strength[:, 4:].argmax(axis=1)
        each = np.arange(len(frames))
        low, high = strength[each, rows], strength[each, 4 + columns]
        weaker, stronger = np.minimum(low, high), np.maximum(low, high)
        likely = (np.sqrt(np.mean(samples**2, axis=1)) >= _MIN_RMS) & (low + high >= _MIN_SHARE * total)
        likely &= stronger <= _MAX_TWIST * weaker
        if not likely.any():
            return [None] * len(frames)
        return [
            4 * row + column if maybe and self._on_frequency(spectrum, row, column) else None
            for maybe, spectrum, row, column in zip(
                likely.tolist(), spectra, rows.tolist(), columns.tolist(), strict=True
            )
        ]

    def _on_frequency(self, spectrum: NDArray[np.float64], row: int, column: int) -> bool:
        for wanted, band in ((_LOW_HZ[row], self._bands[row]), (_HIGH_HZ[column], self._bands[4 + column])):
            peak = self._bins[band][int(np.argmax(spectrum[band]))]
            if abs(peak - wanted) > _TOLERANCE * wanted + 16.0:
                return False
        return True
