"""Takes every trace of DTMF out of a stream and leaves speech alone.

Sound runs through a delay line of 40 ms. Windows of 20 ms, one every 5 ms, are judged as they come
in; what looks like a tone is replaced in the delay line, from before its onset to after its decay.

How a call uses one masker:

* ``ToneMasker()`` starts engaged: it masks from its first sample, and its first 40 ms out are the
  replacement, faded into the delayed sound.
* ``release()`` asks for the end. The delay line is dropped with a short crossfade to the live
  sound, in the next block in which nothing is being masked: a tone that still sounds is masked to
  its end. ``engaged`` says when it has happened; from then on blocks pass unchanged, without delay.
* ``engage()`` puts it back into the path in mid-call: live sound fades out, and the delay line
  starts empty, so that not one sample after the call is heard unjudged.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from dsp.checks import Floats, Pcm, check_pcm, check_rate
from dsp.goertzel import DTMF_HZ, sine_window
from dsp.levels import dbm0_to_peak, dbm0_to_rms
from dsp.quadrature import powers, quadrature_table
from dsp.resample import Halver

Replacement = Literal["silence", "comfort", "tone"]

DELAY = 320  # samples at 8 kHz
WINDOW = 160
HOP = 40
MARGIN_BEFORE = 64
HOLD_AFTER = 320
FADE_DOWN = 16  # samples at 8 kHz: 2 ms
FADE_UP = 40
REPLACEMENT_TONE_HZ = 420.0
REPLACEMENT_TONE_DBM0 = -25.0

_TABLE = quadrature_table(DTMF_HZ, sine_window(WINDOW))
_WINDOW_ENERGY = sine_window(WINDOW) ** 2 / float(np.sum(sine_window(WINDOW) ** 2))
_MIN_SUM = dbm0_to_peak(-48.0) ** 2
_HOLD_SUM = dbm0_to_peak(-65.0) ** 2
_MIN_SHARE = 0.6


class ToneMasker:
    """Streaming tone remover for one channel of one call.

    Parameters
    ----------
    sample_rate_hz : int
        8000 or 16000.
    replacement : {"silence", "comfort", "tone"}
        What is heard instead of a key: nothing, noise at the line's level, or one tone that is the
        same for every key.

    Attributes
    ----------
    muted_samples : int
        Samples replaced since the start or the last ``reset``.
    """

    def __init__(self, sample_rate_hz: int = 8000, replacement: Replacement = "silence") -> None:
        self.sample_rate_hz = check_rate(sample_rate_hz)
        if replacement not in ("silence", "comfort", "tone"):
            raise ValueError("replacement must be 'silence', 'comfort' or 'tone'")
        self.replacement: Replacement = replacement
        self._factor = self.sample_rate_hz // 8000
        self.delay_samples = DELAY * self._factor
        self.reset()

    def reset(self) -> None:
        """Forget the stream and every counter; the masker is engaged, its delay line empty."""
        self.muted_samples = 0
        self._released = False
        self._phase = 0
        self._random = np.random.default_rng(8)
        self._noise_rms = dbm0_to_rms(-65.0)
        self.engaged = True
        self._restart()

    def _restart(self) -> None:
        self._halver = Halver(1) if self._factor == 2 else None
        self._line = np.zeros(self.delay_samples, dtype=np.int16)
        self._gate = np.ones(self.delay_samples, dtype=bool)  # True: replace
        self._gain = 0.0
        self._hold_until = 0
        self._position = 0
        self._analysis = np.zeros(WINDOW - HOP, dtype=np.int16)

    def engage(self) -> None:
        """Mask from the next sample on. Without effect while engaged, but takes a ``release`` back."""
        self._released = False
        if not self.engaged:
            self.engaged = True
            self._restart()
            self._gain = 1.0  # the live sound that was heard so far fades out

    def release(self) -> None:
        """Leave the path as soon as nothing is being masked."""
        self._released = True

    def process(self, pcm: Pcm) -> Pcm:
        """The next samples, int16, shape ``(n,)``, any ``n``; returns as many, ``delay_samples`` late.

        Raises
        ------
        ValueError
            Not one channel of int16; the masker is as before. A caller in a call then sends silence.
        """
        samples = check_pcm(pcm)
        if not self.engaged:
            return samples.copy()
        out = np.empty_like(samples)
        step = HOP * self._factor
        done = 0
        while done < samples.size:
            count = min(samples.size - done, step - self._position % step)
            out[done : done + count] = self._advance(samples[done : done + count])
            done += count
        if self._released and samples.size:
            self._leave(out, samples)
        return out

    def _advance(self, samples: Pcm) -> Pcm:
        """At most one hop."""
        count = samples.size
        begin = self._position
        self._position += count
        held = np.arange(begin, self._position) < self._hold_until
        line = np.concatenate([self._line, samples])
        gate = np.concatenate([self._gate, held])
        narrow = self._halver.process(samples[None])[0] if self._halver is not None else samples
        self._analysis = np.concatenate([self._analysis, narrow])
        if self._analysis.size >= WINDOW:
            if self._suspicious(self._analysis[:WINDOW]):
                reach = (WINDOW + MARGIN_BEFORE) * self._factor
                gate[max(gate.size - reach, 0) :] = True
            self._analysis = self._analysis[HOP:]
        out = self._render(line[:count], gate[:count])
        self._line, self._gate = line[count:], gate[count:]
        return out

    def _suspicious(self, window: Pcm) -> bool:
        samples = window.astype(np.float64)
        tones = powers(samples[None, :], _TABLE)[0]
        energy = float(samples**2 @ _WINDOW_ENERGY)
        low, high = float(tones[:4].max()), float(tones[4:].max())
        held = self._position < self._hold_until
        if held and low + high > _HOLD_SUM and (low + high) / 2 > 0.3 * energy:
            return True
        if low + high > _MIN_SUM and (low + high) / 2 > _MIN_SHARE * energy:
            self._hold_until = self._position + HOLD_AFTER * self._factor
            return True
        return False

    def _render(self, samples: Pcm, gate: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Pcm:
        self.muted_samples += int(np.count_nonzero(gate))
        if not gate.any() and self._gain >= 1.0:
            return samples
        gains = np.empty(samples.size)
        down, up = 1.0 / (FADE_DOWN * self._factor), 1.0 / (FADE_UP * self._factor)
        gain = self._gain
        for index, muted in enumerate(gate.tolist()):
            gain = max(gain - down, 0.0) if muted else min(gain + up, 1.0)
            gains[index] = gain
        self._gain = gain
        mixed = samples * gains + self._fill(samples.size) * (1.0 - gains)
        return np.asarray(np.clip(np.rint(mixed), -32768, 32767), dtype=np.int16)

    def _fill(self, count: int) -> Floats:
        if self.replacement == "comfort":
            return self._random.standard_normal(count) * self._noise_rms
        if self.replacement == "tone":
            steps = np.arange(self._phase, self._phase + count)
            self._phase += count
            peak = dbm0_to_peak(REPLACEMENT_TONE_DBM0)
            return np.asarray(peak * np.sin(2 * np.pi * REPLACEMENT_TONE_HZ * steps / self.sample_rate_hz))
        return np.zeros(count)

    def _leave(self, out: Pcm, live: Pcm) -> None:
        if self._position < self._hold_until or self._gate.any():
            return
        count = min(out.size, 2 * FADE_UP * self._factor)
        fade = (np.arange(count) + 1.0) / count
        tail = slice(out.size - count, out.size)
        out[tail] = np.rint(out[tail] * (1.0 - fade) + live[tail] * fade).astype(np.int16)
        self.engaged = False
