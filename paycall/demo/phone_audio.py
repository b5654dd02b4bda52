"""The two ends of the scripted phone's handset: what it says, and what it hears.

Both count samples at 8 kHz from the moment the call's audio opened, so that every word and every key has a place in
what was sent, and everything that was received can be written down. PJSIP's media clock calls them; nothing else
of pjsua2 is called from here.
"""

from __future__ import annotations

import time
import wave
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pjsua2 as pj
from numpy.typing import NDArray

from paycall.media.frames import FrameWriter, read_samples
from paycall.media.guard import guarded

Pcm = NDArray[np.int16]
SAMPLE_RATE_HZ = 8000
FRAME_SAMPLES = 160


@dataclass(frozen=True)
class Played:
    """Where a sound lay: samples since the audio opened, and seconds of the monotonic clock."""

    start_sample: int
    end_sample: int
    started_at: float
    ended_at: float


def audio_format() -> pj.MediaFormatAudio:
    """One channel of 16-bit samples at 8 kHz in frames of 20 ms: the bridge's own, so nothing is resampled."""
    form = pj.MediaFormatAudio()
    form.init(pj.PJMEDIA_FORMAT_PCM, SAMPLE_RATE_HZ, 1, 20_000, 16)
    return form


class Mouth(pj.AudioMediaPort):  # type: ignore[misc]
    """Plays queued sounds one after the other, silence between them."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[Pcm, Callable[[Played], object] | None]] = deque()
        self._sound: Pcm | None = None
        self._on_end: Callable[[Played], object] | None = None
        self._done = 0
        self._start: tuple[int, float] = (0, 0.0)
        self.position = 0  # samples sent since the audio opened
        self._writer = FrameWriter(FRAME_SAMPLES)
        self.opened_at: float | None = None

    def play(self, pcm: Pcm, on_end: Callable[[Played], object] | None = None) -> None:
        """Say this after what is queued; ``on_end`` is called in the media thread. From any thread."""
        self._waiting.append((pcm, on_end))

    @guarded
    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        """The next 20 ms. The frame leaves now, so its last sample is spoken now."""
        now = time.monotonic()
        if self.opened_at is None:
            self.opened_at = now - FRAME_SAMPLES / SAMPLE_RATE_HZ
        out = np.zeros(FRAME_SAMPLES, dtype=np.int16)
        filled = 0
        while filled < FRAME_SAMPLES and self._take(filled, now):
            assert self._sound is not None  # noqa: S101 - _take saw to it
            part = self._sound[self._done : self._done + FRAME_SAMPLES - filled]
            out[filled : filled + part.size] = part
            filled += part.size
            self._done += part.size
            if self._done == self._sound.size:
                self._finish(filled, now)
        self.position += FRAME_SAMPLES
        self._writer.write(frame, out)

    @staticmethod
    def _moment(offset: int, now: float) -> float:
        return now - (FRAME_SAMPLES - offset) / SAMPLE_RATE_HZ

    def _take(self, offset: int, now: float) -> bool:
        if self._sound is None and self._waiting:
            self._sound, self._on_end = self._waiting.popleft()
            self._done = 0
            self._start = (self.position + offset, self._moment(offset, now))
        return self._sound is not None

    def _finish(self, offset: int, now: float) -> None:
        on_end, self._sound, self._on_end = self._on_end, None, None
        if on_end is not None:
            (start, started_at) = self._start
            on_end(Played(start, self.position + offset, started_at, self._moment(offset, now)))


class Ear(pj.AudioMediaPort):  # type: ignore[misc]
    """Keeps every sample that the call's stream decoded."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._frames: deque[bytes] = deque(maxlen=int(limit_s * SAMPLE_RATE_HZ / FRAME_SAMPLES))
        self.opened_at: float | None = None

    @guarded
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        """Another 20 ms were heard."""
        if self.opened_at is None:
            self.opened_at = time.monotonic() - FRAME_SAMPLES / SAMPLE_RATE_HZ
        self._frames.append(read_samples(frame, FRAME_SAMPLES).tobytes())

    def heard(self) -> Pcm:
        """Everything so far, int16, shape ``(n,)``."""
        return np.frombuffer(b"".join(list(self._frames)), dtype=np.int16)


def write_wav(path: Path, pcm: Pcm) -> None:
    """Write int16 samples as an 8 kHz mono file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm.astype("<i2").tobytes())
