"""A bridge port that hears keys in a leg's sound. Nothing is connected behind it: it is in nobody's path.

Rules: as ``ports.py``: there while keys are listened for and a second longer; the callbacks run in PJSIP's clock
thread.
"""

from __future__ import annotations

import numpy as np
import pjsua2 as pj

from dsp import DtmfDetector
from paycall.media.endpoint import BRIDGE_RATE_HZ
from paycall.media.frames import Pcm, read_samples
from paycall.media.guard import guarded
from paycall.media.pipeline import OnKey
from paycall.media.ports import SAMPLES, audio_format

_FRAMES = (
    3  # a detector's call costs much the same for any length; nobody waits for a link code's milliseconds
)


class KeyPort(pj.AudioMediaPort):  # type: ignore[misc]
    """Hears keys while it is told to."""

    def __init__(self, on_key: OnKey) -> None:
        super().__init__()
        self._on_key = on_key
        self._detector: DtmfDetector | None = None
        self._waiting: list[Pcm] = []
        self._samples = 0
        self.createPort("keys", audio_format())

    def listen(self, listening: bool) -> None:
        """Begin afresh, or stop."""
        self._waiting, self._samples = [], 0
        self._detector = DtmfDetector(BRIDGE_RATE_HZ, part_s=0.1) if listening else None

    @guarded
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        detector = self._detector
        if detector is None:
            return
        self._waiting.append(read_samples(frame, SAMPLES))
        if len(self._waiting) < _FRAMES:
            return
        block, self._waiting = np.concatenate(self._waiting), []
        self._samples += block.size
        for event in detector.process(block):
            began = (self._samples - event.onset_sample) / BRIDGE_RATE_HZ
            ended = (self._samples - event.end_sample) / BRIDGE_RATE_HZ
            self._on_key(event.symbol, began, ended)

    @guarded
    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        frame.type = pj.PJMEDIA_FRAME_TYPE_NONE
        frame.size = 0
