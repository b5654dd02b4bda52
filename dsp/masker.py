"""Takes every trace of DTMF out of a stream and leaves speech alone.

Sound runs through a delay line of 40 ms. Windows of 20 ms, one every 10 ms, are judged as they come
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

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from dsp.checks import Floats, Pcm, check_pcm, check_rate
from dsp.goertzel import BLOCK, WINDOW
from dsp.levels import dbm0_to_peak, dbm0_to_rms
from dsp.resample import Halver
from dsp.suspicion import Suspicion

Replacement = Literal["silence", "comfort", "tone"]

DELAY: Final = 320  # samples at 8 kHz: 40 ms
_BACK: Final = WINDOW + 128  # muted at the first sign: its window, and 16 ms before it
_AHEAD: Final = 64  # muted beyond the end of a suspicious window: the next one may not see the rest
_FADE_DOWN: Final = 16  # samples at 8 kHz: 2 ms
_FADE_UP: Final = 40
REPLACEMENT_TONE_HZ: Final = 420.0
REPLACEMENT_TONE_DBM0: Final = -25.0
MAX_COMFORT_DBM0: Final = -50.0
_NOISE: Final = np.random.default_rng(8).standard_normal(16381)  # two seconds, over and over


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
        self._noise_rms = dbm0_to_rms(MAX_COMFORT_DBM0)
        self.engaged = True
        self._restart()

    def _restart(self) -> None:
        self._halver = Halver(1) if self._factor == 2 else None
        self._line = np.zeros(self.delay_samples, dtype=np.int16)
        self._gate = np.ones(self.delay_samples, dtype=bool)  # True: replace
        self._gain = 0.0
        self._mute_until = 0
        self._position = 0
        self._suspicion = Suspicion()
        self._analysis = np.zeros(WINDOW - BLOCK, dtype=np.int16)

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
        step = BLOCK * self._factor
        done = 0
        while done < samples.size:
            count = min(samples.size - done, step - self._position % step)
            out[done : done + count] = self._advance(samples[done : done + count])
            done += count
        if self._released and samples.size:
            self._leave(out, samples)
        return out

    def _advance(self, samples: Pcm) -> Pcm:
        """At most one step of 10 ms, so that what comes out depends on nothing that comes in later."""
        count, factor = samples.size, self._factor
        begin = self._position
        self._position += count
        calm: Pcm | None = None
        line = np.concatenate([self._line, samples])
        gate = np.zeros(line.size, dtype=bool)
        gate[: self._gate.size] = self._gate
        gate[self._gate.size : max(self._mute_until - begin, 0) + self._gate.size] = True
        narrow = self._halver.process(samples[None])[0] if self._halver is not None else samples
        self._analysis = np.concatenate([self._analysis, narrow])
        if self._analysis.size >= WINDOW:
            window = self._analysis[:WINDOW]
            self._analysis = self._analysis[BLOCK:]
            if self._suspicion.judge(window):
                back = _BACK if self._suspicion.fresh else WINDOW
                gate[max(gate.size - back * factor, 0) :] = True
                self._mute_until = self._position + _AHEAD * factor
            else:
                calm = window
        out = self._render(line[:count], gate[:count])
        self._line, self._gate = line[count:], gate[count:]
        if calm is not None and self.replacement == "comfort":
            self._track_noise(calm)  # after these samples are out: how blocks are cut must not be heard
        return out

    def _track_noise(self, window: Pcm) -> None:
        """The line's own noise: the quietest of late, rising by 1 dB a second."""
        rms = float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
        self._noise_rms = min(rms, self._noise_rms * 1.00115, dbm0_to_rms(MAX_COMFORT_DBM0))

    def _render(self, samples: Pcm, gate: NDArray[np.bool_]) -> Pcm:
        self.muted_samples += int(np.count_nonzero(gate))
        if self._gain >= 1.0 and not gate.any():
            return samples
        if self._gain <= 0.0 and gate.all():
            return np.rint(self._fill(samples.size)).astype(np.int16)
        gains = self._fade(gate)
        mixed = samples * gains + self._fill(samples.size) * (1.0 - gains)
        return np.asarray(np.clip(np.rint(mixed), -32768, 32767), dtype=np.int16)

    def _fade(self, gate: NDArray[np.bool_]) -> Floats:
        """Gain of each sample: falls within 2 ms where the gate closes, rises within 5 ms."""
        down, up = 1.0 / (_FADE_DOWN * self._factor), 1.0 / (_FADE_UP * self._factor)
        gains, gain = [], self._gain
        for muted in gate.tolist():
            gain = max(gain - down, 0.0) if muted else min(gain + up, 1.0)
            gains.append(gain)
        self._gain = gain
        return np.array(gains)

    def _fill(self, count: int) -> Floats:
        """The replacement for the last ``count`` samples; it depends on nothing but their place."""
        if self.replacement == "silence":
            return np.zeros(count)
        place = np.arange(self._position - count, self._position)
        if self.replacement == "comfort":
            return np.asarray(_NOISE[place % _NOISE.size] * self._noise_rms)
        peak = dbm0_to_peak(REPLACEMENT_TONE_DBM0)
        return np.asarray(peak * np.sin(2.0 * np.pi * REPLACEMENT_TONE_HZ / self.sample_rate_hz * place))

    def _leave(self, out: Pcm, live: Pcm) -> None:
        if self._position < self._mute_until or self._gate.any():
            return
        count = min(out.size, 2 * _FADE_UP * self._factor)
        fade = (np.arange(count) + 1.0) / count
        tail = slice(out.size - count, out.size)
        out[tail] = np.rint(out[tail] * (1.0 - fade) + live[tail] * fade).astype(np.int16)
        self.engaged = False
