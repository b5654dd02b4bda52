"""The bridge ports that hear a call's operator side for its recording.

Rules: they stand in nobody's path; what the agent hears is theirs to hear, and nothing else of the caller
(``mask.py`` connects them). A port lives as long as its call and a second longer; the callbacks run in PJSIP's clock
thread and only hand their block on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pjsua2 as pj

from paycall.media.endpoint import BRIDGE_RATE_HZ
from paycall.media.frames import Pcm, read_samples
from paycall.media.guard import guarded
from paycall.media.ports import audio_format

RECORD_MS = 100  # the bridge collects as much, in C
_SAMPLES = BRIDGE_RATE_HZ * RECORD_MS // 1000


class RecordPort(pj.AudioMediaPort):  # type: ignore[misc]
    """Hears one side; ``on_block`` gets int16 of ``RECORD_MS`` at a time."""

    def __init__(self, on_block: Callable[[Pcm], None]) -> None:
        super().__init__()
        self._on_block = on_block
        self.createPort("record", audio_format(RECORD_MS))

    @guarded
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        self._on_block(read_samples(frame, _SAMPLES))

    @guarded
    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        frame.type = pj.PJMEDIA_FRAME_TYPE_NONE
        frame.size = 0


@dataclass(frozen=True)
class RecordPorts:
    """The two ports of a call: what the agent hears, and what the agent says."""

    heard: RecordPort
    said: RecordPort
