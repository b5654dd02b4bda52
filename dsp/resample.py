"""16 kHz to 8 kHz, as a stream."""

from __future__ import annotations

import numpy as np

from dsp.checks import Pcm

_TAPS = 31


def _low_pass() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Windowed sinc, cut-off 3.7 kHz at 16 kHz: flat to beyond the highest tone, 1633 Hz."""
    offset = np.arange(_TAPS) - _TAPS // 2
    taps = np.sinc(2.0 * 3700.0 / 16000.0 * offset) * np.blackman(_TAPS)
    return np.asarray(taps / taps.sum())


_LOW_PASS = _low_pass()


class Halver:
    """Halves the sampling rate of a stream; any block size gives the same samples.

    Attributes
    ----------
    delay_samples : int
        Delay of the filter in samples at the input's rate.
    """

    delay_samples = _TAPS // 2

    def __init__(self) -> None:
        self._buffer = np.zeros(_TAPS - 1, dtype=np.int16)

    def process(self, pcm: Pcm) -> Pcm:
        """Every second low-passed sample of int16 ``pcm``, shape ``(n,)``."""
        self._buffer = np.concatenate([self._buffer, pcm])
        count = (self._buffer.size - _TAPS) // 2 + 1
        if count <= 0:
            return np.zeros(0, dtype=np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, _TAPS)[: 2 * count : 2]
        filtered = windows @ _LOW_PASS
        self._buffer = self._buffer[2 * count :]
        return np.asarray(np.clip(np.rint(filtered), -32768, 32767), dtype=np.int16)
