"""16 kHz to 8 kHz, as a stream of one or many channels."""

from __future__ import annotations

from typing import Final

import numpy as np

from dsp.checks import Floats, Pcm

_TAPS: Final = 31
_SCALE: Final = 2.0**20  # integer taps make the sums exact, whatever their order: see dsp.goertzel


def _low_pass() -> Floats:
    """Windowed sinc, cut-off 3.7 kHz at 16 kHz: flat to beyond the highest tone, 1633 Hz."""
    offset = np.arange(_TAPS) - _TAPS // 2
    taps = np.sinc(2.0 * 3700.0 / 16000.0 * offset) * np.blackman(_TAPS)
    return np.asarray(np.rint(_SCALE * taps / taps.sum()))


_LOW_PASS: Final = _low_pass()


class Halver:
    """Halves the sampling rate; any split into blocks gives the same samples.

    Attributes
    ----------
    delay_samples : int
        Delay of the filter in samples at the input's rate.
    """

    delay_samples: Final = _TAPS // 2

    def __init__(self, channels: int) -> None:
        self._rest = np.zeros((channels, _TAPS - 1), dtype=np.int16)

    def process(self, pcm: Pcm) -> Pcm:
        """Every second low-passed sample of int16 ``pcm``, shape ``(channels, n)``."""
        samples = np.concatenate([self._rest, pcm], axis=1)
        count = max((samples.shape[1] - _TAPS) // 2 + 1, 0)
        self._rest = samples[:, 2 * count :].copy()
        if not count:
            return samples[:, :0]
        windows = np.lib.stride_tricks.sliding_window_view(samples, _TAPS, axis=1)[:, : 2 * count : 2]
        filtered = np.rint(windows.astype(np.float64) @ _LOW_PASS / _SCALE)
        return np.asarray(np.clip(filtered, -32768, 32767), dtype=np.int16)
