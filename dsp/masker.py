"""Takes every trace of DTMF out of a stream and leaves speech alone.

Sound runs through a delay line of 40 ms. Windows of 20 ms, one every 10 ms, are judged as they come
in; what looks like a tone is replaced in the delay line: at its first sign all that has not left yet,
to the end of its decay. Where sound comes in whole frames of 10 ms or more, all windows of a frame are
judged before any of its samples leaves, so that 10 ms less of delay let the very same samples through.

How a call uses one masker:

* ``ToneMasker()`` starts engaged: it masks from its first sample, and its first ``delay_samples`` out are the
  replacement, faded into the delayed sound.
* ``release()`` asks for the end. The delay line is dropped with a short crossfade to the live
  sound, in the next block in which nothing is being masked: a tone that still sounds is masked to
  its end. ``engaged`` says when it has happened; from then on blocks pass unchanged, without delay.
* ``engage()`` puts it back into the path in mid-call: live sound fades out, and the delay line
  starts empty, so that not one sample after the call is heard unjudged.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dsp.checks import Floats, Pcm, check_pcm, check_rate, check_whole
from dsp.goertzel import BLOCK, RATE_HZ, WINDOW
from dsp.levels import dbm0_to_peak, dbm0_to_rms
from dsp.resample import Halver
from dsp.suspicion import Suspicion

Replacement = Literal["silence", "comfort", "tone"]

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
    frame_ms : int, optional
        Sound comes in whole frames of so many ms, a multiple of 10 up to 1000. Without, blocks may have any length.
    delay_ms : int
        Length of the delay line, 20 to 100. The less, the more of a key's onset is heard before a drop-out
        that comes right behind it (docs/dtmf.md has the figures).

    Raises
    ------
    ValueError
        An unsupported rate, or another replacement, frame or delay.

    Attributes
    ----------
    muted_samples : int
        Samples replaced since the start or the last ``reset``.
    """

    def __init__(
        self,
        sample_rate_hz: int = 8000,
        replacement: Replacement = "silence",
        frame_ms: int | None = None,
        delay_ms: int = 40,
    ) -> None:
        self.sample_rate_hz = check_rate(sample_rate_hz)
        if not isinstance(replacement, str) or replacement not in get_args(Replacement):
            raise ValueError("replacement must be 'silence', 'comfort' or 'tone'")
        self.replacement: Replacement = replacement
        self._factor = self.sample_rate_hz // 8000
        self._framed = frame_ms is not None
        step_ms = 1000 * BLOCK // RATE_HZ
        unit_ms = step_ms if frame_ms is None else check_whole("frame_ms", frame_ms, step_ms, 1000, step_ms)
        self._unit = unit_ms * self.sample_rate_hz // 1000
        self.delay_samples = check_whole("delay_ms", delay_ms, 20, 100) * self.sample_rate_hz // 1000
        # What has not left when a window is judged. A frame's first window ends BLOCK samples into it, or later.
        self._back = self.delay_samples + (BLOCK * self._factor if self._framed else 0)
        self.reset()

    def reset(self) -> None:
        """Forget the stream and every counter; the masker is engaged, its delay line empty."""
        self.muted_samples = 0
        self._released = False
        self._last_heard = 0
        self._noise_rms = dbm0_to_rms(MAX_COMFORT_DBM0)
        self.engaged = True
        self._restart()

    @property
    def hears_tone(self) -> bool:
        """Whether what came in last sounds like a tone itself, not like the remains of one."""
        return self.engaged and self._suspicion.sign

    def _restart(self, last_heard: int = 0) -> None:
        """Start with an empty delay line; ``last_heard`` is let fade, not cut."""
        self._halver = Halver(1) if self._factor == 2 else None
        self._narrow = np.zeros(WINDOW, dtype=np.int16)  # the last window, where it is not in the line
        self._suspicion = Suspicion()
        self._position = 0
        self._line = np.zeros(self.delay_samples, dtype=np.int16)
        fade = _FADE_UP * self._factor if last_heard else 0
        self._line[:fade] = last_heard * np.linspace(1.0, 0.0, fade)
        self._gain = 1.0 if last_heard else 0.0
        # What must not be heard: from and to which sample of the stream, in order, not overlapping.
        self._muted = [(fade - self.delay_samples, 0)]

    def engage(self) -> None:
        """Mask from the next sample on. Without effect while engaged, but takes a ``release`` back."""
        self._released = False
        if not self.engaged:
            self.engaged = True
            self._restart(self._last_heard)

    def release(self) -> None:
        """Leave the path as soon as nothing is being masked."""
        self._released = True

    def process(self, pcm: Pcm) -> Pcm:
        """The next samples, int16, shape ``(n,)``, any ``n``; returns as many, ``delay_samples`` late.

        Raises
        ------
        ValueError
            Not one channel of int16, or not whole frames; the masker is as before. A caller in a call then
            sends silence.
        """
        samples = check_pcm(pcm)
        if self._framed and samples.size % self._unit:
            raise ValueError("samples must come in whole frames")
        if not self.engaged:
            self._last_heard = int(samples[-1]) if samples.size else self._last_heard
            return samples.copy()
        out = np.empty_like(samples)
        done = 0
        while done < samples.size:
            count = min(samples.size - done, self._unit - self._position % self._unit)
            out[done : done + count] = self._advance(samples[done : done + count])
            done += count
        if self._released and samples.size:
            self._leave(out, samples)
        return out

    def _advance(self, samples: Pcm) -> Pcm:
        """At most one step of 10 ms, or one frame: what comes out depends on nothing that comes in later."""
        line = np.concatenate([self._line, samples])
        end, windows = self._windows(line, samples)
        clean = []
        for window, (suspicious, fresh) in zip(windows, self._suspicion.judge(windows), strict=True):
            if suspicious:
                back = self._back if fresh else WINDOW * self._factor
                self._mute(end - back, end + _AHEAD * self._factor)
            elif self.replacement == "comfort":
                clean.append(window)
            end += BLOCK * self._factor
        self._position += samples.size
        out = self._render(line[: samples.size])
        self._line = line[samples.size :]
        for window in clean:  # after these samples are out: how blocks are cut must not be heard
            self._track_noise(window)
        return out

    def _windows(self, line: Pcm, samples: Pcm) -> tuple[int, Pcm]:
        """The last 20 ms at 8 kHz at each step of 10 ms that ``samples`` complete, shape ``(n, 160)``.

        Also the end of the first of them in the stream.
        """
        if self._halver is not None:
            line = self._narrow = np.concatenate([self._narrow, self._halver.process(samples[None])[0]])
            self._narrow = self._narrow[-WINDOW:]
        step = BLOCK * self._factor
        after = self._position + samples.size
        done, last = self._position // step, after // step
        begin = line.size - (after - (done + 1) * step) // self._factor - WINDOW
        size = line.itemsize
        windows: Pcm = np.ndarray(
            (last - done, WINDOW), line.dtype, line, begin * size if last > done else 0, (BLOCK * size, size)
        )
        return (done + 1) * step, windows

    def _mute(self, start: int, end: int) -> None:
        while self._muted and self._muted[-1][1] >= start:
            before = self._muted.pop()
            start, end = min(start, before[0]), max(end, before[1])
        self._muted.append((start, end))

    def _gate(self, count: int) -> NDArray[np.bool_] | None:
        """Which of the ``count`` samples that come out are muted; None if none is."""
        end = self._position - self.delay_samples
        start = end - count
        while self._muted and self._muted[0][1] <= start:
            del self._muted[0]
        if not self._muted or self._muted[0][0] >= end:
            return None
        gate = np.zeros(count, dtype=bool)
        for first, last in self._muted:
            gate[max(first - start, 0) : max(last - start, 0)] = True
        return gate

    def _track_noise(self, window: Pcm) -> None:
        """The line's own noise: the quietest of late, rising by 1 dB a second."""
        rms = float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
        self._noise_rms = min(rms, self._noise_rms * 1.00115, dbm0_to_rms(MAX_COMFORT_DBM0))

    def _render(self, samples: Pcm) -> Pcm:
        gate = self._gate(samples.size)
        if gate is None:
            if self._gain >= 1.0:
                return samples
            gate = np.zeros(samples.size, dtype=bool)
        self.muted_samples += int(np.count_nonzero(gate))
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
        if self._muted and self._muted[-1][1] > self._position - self.delay_samples:
            return
        count = min(out.size, 2 * _FADE_UP * self._factor)
        fade = (np.arange(count) + 1.0) / count
        tail = slice(out.size - count, out.size)
        out[tail] = np.rint(out[tail] * (1.0 - fade) + live[tail] * fade).astype(np.int16)
        self.engaged = False
        self._last_heard = int(live[-1])
