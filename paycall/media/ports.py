"""The two bridge ports in Python: one that masks, one that listens.

Rules: an exception in the audio path gives silence, never the caller's sound. A port lives as long as its
capture and a second longer, and is ended by ``destroy_later``. The callbacks run in PJSIP's clock thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pjsua2 as pj

from dsp import ToneListener
from paycall.media.endpoint import BRIDGE_RATE_HZ, FRAME_MS, KEEP_OBJECTS_S, SipEndpoint
from paycall.media.frames import FrameWriter, Pcm, read_samples
from paycall.media.guard import guarded
from paycall.media.pipeline import Pipeline

SAMPLES = BRIDGE_RATE_HZ * FRAME_MS // 1000
# The check may come 200 ms late: the bridge collects as much, in C, and a call of the listener costs much the same.
LISTEN_MS = 200
LISTEN_SAMPLES = BRIDGE_RATE_HZ * LISTEN_MS // 1000


def audio_format(frame_ms: int = FRAME_MS) -> pj.MediaFormatAudio:
    """The bridge's own format; a port with longer frames gets them collected, in C."""
    audio = pj.MediaFormatAudio()
    audio.init(pj.PJMEDIA_FORMAT_L16, BRIDGE_RATE_HZ, 1, frame_ms * 1000, 16)
    return audio


def destroy_later(endpoint: SipEndpoint, *ports: pj.AudioMediaPort) -> None:
    """Take ports of ours off the bridge for good, a second from now. From the SIP thread.

    PJSIP's part of a port waits for a callback that is under way in the clock thread. Python's must outlast it:
    dropped first, it would be called when half of it is gone, and that ends the process.
    """
    for port in ports:
        endpoint.call_later(KEEP_OBJECTS_S, partial(pj.AudioMediaPort.__swig_destroy__, port))


class MaskPort(pj.AudioMediaPort):  # type: ignore[misc]
    """Caller in, masked caller out. Without a pipeline it gives silence."""

    def __init__(self, on_fault: Callable[[str], None], on_late: Callable[[int], None]) -> None:
        super().__init__()
        self._on_fault = on_fault
        self._on_late = on_late
        self._due_s = 0.0
        self._pipeline: Pipeline | None = None
        self._ready: Pcm | None = None
        self._writer = FrameWriter(SAMPLES)
        self._silence = np.zeros(SAMPLES, dtype=np.int16)
        self._faulty = False
        self.blocks = 0
        self.createPort("mask", audio_format())

    def use(self, pipeline: Pipeline | None) -> None:
        """Take this pipeline from the next block on."""
        self.blocks = 0
        self._due_s = 0.0
        self._ready = None
        self._faulty = False
        self._pipeline = pipeline

    @guarded
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        self._ready = None
        pipeline = self._pipeline
        if pipeline is None:
            return
        now = time.monotonic()
        if self._due_s and (late := int((now - self._due_s) * 1000 / FRAME_MS)) > 0:
            self._on_late(late)
        self._due_s = now + FRAME_MS / 1000
        try:
            self._ready = pipeline.process(read_samples(frame, SAMPLES))
            self.blocks += 1
        except Exception as error:
            if not self._faulty:
                self._faulty = True
                self._on_fault(type(error).__name__)

    @guarded
    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        ready, self._ready = self._ready, None
        try:
            self._writer.write(frame, self._silence if ready is None else ready)
        except ValueError:
            self._writer.write(frame, self._silence)


class ListenPort(pj.AudioMediaPort):  # type: ignore[misc]
    """Hears what the agent leg is fed, and counts keys in it. Shares no code with detector and masker."""

    def __init__(self, on_keys: Callable[[int], None]) -> None:
        super().__init__()
        self._on_keys = on_keys
        self._listener: ToneListener | None = None
        self.createPort("listen", audio_format(LISTEN_MS))

    def use(self, listener: ToneListener | None) -> None:
        """Listen with this from the next block on."""
        self._listener = listener

    @guarded
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        listener = self._listener
        if listener is None:
            return
        keys = listener.process(read_samples(frame, LISTEN_SAMPLES))
        if keys:
            self._on_keys(keys)

    @guarded
    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        frame.type = pj.PJMEDIA_FRAME_TYPE_NONE
        frame.size = 0
