"""What stands between the caller's leg and the agent's while the mask is on.

Rules: pure sound, no PJSIP. ``tap -> hush -> masker``; ``build_pipeline`` is the one place that wires the stages.
A stage wraps the next one and can print itself, so that a fault names the whole chain. A pipeline gives one
block for each block it takes, of the same length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dsp import DtmfDetector, ToneMasker

Pcm = NDArray[np.int16]
# key, and how long ago it began and ended, in seconds
OnKey = Callable[[str, float, float], None]
FRAME_MS = 20  # the bridge's; a block is one, or a few
DELAY_MS = 26  # of the mask; 40 would close the last leak, a few ms before a lost packet (docs/dtmf.md)
EVENT_MARGIN_S = 0.1
# A call of the detector costs much the same for any length, and it tells of a key when the key is over. So it is
# called when the masker, which is laxer, has heard no tone for so long, and beside that only now and then, in a key
# that is held and in quiet: it hears every sample, so what it alone takes for a key is told late, not missed. The
# masker itself cannot wait.
AFTER_TONE_S = 0.04
IN_TONE_S = 0.2
QUIET_S = 1.0


class Stage(Protocol):
    """Takes int16 samples, shape ``(n,)``, and gives as many."""

    def process(self, pcm: Pcm) -> Pcm:
        """The next block."""


class Tap:
    """Lets the sound pass and reports the keys in it."""

    def __init__(self, on_key: OnKey, following: Stage, masker: ToneMasker) -> None:
        self._detector = DtmfDetector(masker.sample_rate_hz, QUIET_S)
        self._on_key = on_key
        self._following = following
        self._masker = masker
        self._rate_hz = masker.sample_rate_hz
        self._samples = 0
        self._waiting: list[Pcm] = []
        self._waiting_samples = 0
        self._tone = False
        self._since_samples = 0  # since the masker heard a tone begin, or end
        self._after_samples, self._in_samples, self._quiet_samples = (
            round(seconds * self._rate_hz) for seconds in (AFTER_TONE_S, IN_TONE_S, QUIET_S)
        )

    def process(self, pcm: Pcm) -> Pcm:
        """Hand on, and listen."""
        passed = self._following.process(pcm)
        self._waiting.append(pcm)
        self._waiting_samples += pcm.size
        if self._is_due(pcm.size):
            self._listen(np.concatenate(self._waiting))
            self._waiting, self._waiting_samples = [], 0
        return passed

    def _is_due(self, samples: int) -> bool:
        """Whether the detector is asked now."""
        tone = self._masker.hears_tone
        if tone is not self._tone:
            self._tone, self._since_samples = tone, 0
        before, self._since_samples = self._since_samples, self._since_samples + samples
        if tone:
            return min(self._since_samples, self._waiting_samples) >= self._in_samples
        if before // self._after_samples < self._since_samples // self._after_samples:
            first = before < self._after_samples
            return first or self.key_sounds or self._waiting_samples >= self._quiet_samples
        return False

    @property
    def key_sounds(self) -> bool:
        """Whether a key is certain, and not over."""
        return self._detector.active is not None

    def _listen(self, pcm: Pcm) -> None:
        self._samples += pcm.size
        for event in self._detector.process(pcm):
            ago = (
                (self._samples - event.onset_sample) / self._rate_hz,
                (self._samples - event.end_sample) / self._rate_hz,
            )
            self._on_key(event.symbol, *ago)

    def __str__(self) -> str:
        return f"tap -> {self._following}"


class Hush:
    """Replaces the sound around an RTP event or INFO by silence: gateways let scraps of the tone through."""

    def __init__(self, following: Stage, sample_rate_hz: int) -> None:
        self._following = following
        self._margin_samples = round(EVENT_MARGIN_S * sample_rate_hz)
        self._left = 0

    def cover(self) -> None:
        """An event is being heard; cover the sound from here on. From any thread."""
        self._left = self._margin_samples

    def process(self, pcm: Pcm) -> Pcm:
        """Silence while an event is heard, and a little longer."""
        count = min(self._left, pcm.size)
        if count:
            self._left -= count
            pcm = pcm.copy()
            pcm[:count] = 0
        return self._following.process(pcm)

    def __str__(self) -> str:
        return f"hush -> {self._following}"


class Mask:
    """The last stage: the tone masker."""

    def __init__(self, masker: ToneMasker) -> None:
        self.masker = masker

    def process(self, pcm: Pcm) -> Pcm:
        """Without tones, a little later."""
        return self.masker.process(pcm)

    def __str__(self) -> str:
        return "mask"


class Pipeline:
    """The wired stages, and the two handles on them that a call needs."""

    def __init__(self, tap: Tap, hush: Hush, masker: ToneMasker) -> None:
        self._tap = tap
        self._hush = hush
        self._masker = masker

    def process(self, pcm: Pcm) -> Pcm:
        """The next block, of whole frames; gives as many samples."""
        return self._tap.process(pcm)

    def cover_event(self) -> None:
        """A key comes beside the audio, now."""
        self._hush.cover()

    def engage(self) -> None:
        """Mask from the next sample on, whatever ``release`` had asked for."""
        self._masker.engage()

    def release(self) -> None:
        """Leave the delay line, faded, as soon as no tone sounds."""
        self._masker.release()

    @property
    def key_sounds(self) -> bool:
        """Whether a key is being heard in the audio now."""
        return self._tap.key_sounds

    @property
    def masking(self) -> bool:
        """Whether the masker still stands in the path."""
        return self._masker.engaged

    def __str__(self) -> str:
        return f"caller -> {self._tap} -> agent"


def build_pipeline(
    on_key: OnKey, replacement: Literal["silence", "comfort", "tone"], sample_rate_hz: int = 8000
) -> Pipeline:
    """Wire the stages: the only place where their order is written."""
    masker = ToneMasker(sample_rate_hz, replacement, FRAME_MS, DELAY_MS)
    hush = Hush(Mask(masker), sample_rate_hz)
    return Pipeline(Tap(on_key, hush, masker), hush, masker)
