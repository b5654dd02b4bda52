"""The bridge port that plays to the caller, and to the operator where that is wished.

Rules: it is connected only while it has something to play; a port lives until its call's capture is over, or what is
played outside one, and a second longer. It stops by itself as soon as a key sounds in the caller's audio. The
callbacks run in PJSIP's clock thread.
"""

from __future__ import annotations

from collections.abc import Callable

import pjsua2 as pj

from paycall.media.frames import FrameWriter, Pcm
from paycall.media.guard import guarded
from paycall.media.ports import SAMPLES, audio_format
from paycall.media.prompts import SoundQueue


class PromptPort(pj.AudioMediaPort):  # type: ignore[misc]
    """Plays sound in order.

    Parameters
    ----------
    key_sounds
        Whether a key is being heard in the caller's audio now.
    on_empty
        Called once when everything has been played.
    """

    def __init__(self, key_sounds: Callable[[], bool], on_empty: Callable[[], None]) -> None:
        super().__init__()
        self._key_sounds = key_sounds
        self._on_empty = on_empty
        self._queue = SoundQueue()
        self._writer = FrameWriter(SAMPLES)
        self.playing = False
        self.createPort("prompt", audio_format())

    def put(self, sound: Pcm) -> None:
        """Play this after the rest."""
        self.playing = True
        self._queue.put(sound)

    def clear(self) -> None:
        """Play nothing more."""
        self._queue.clear()

    @guarded
    def onFrameRequested(self, frame: pj.MediaFrame) -> None:
        if self._key_sounds():
            self._queue.clear()
        block = self._queue.next(SAMPLES)
        if block is not None:
            self._writer.write(frame, block)
            return
        frame.type = pj.PJMEDIA_FRAME_TYPE_NONE
        frame.size = 0
        if self.playing:
            self.playing = False
            self._on_empty()

    @guarded
    def onFrameReceived(self, frame: pj.MediaFrame) -> None:
        """Nothing feeds it."""
