"""Takes the sound of a cell's calls and writes their recordings, in a thread of its own.

Rules: PJSIP's clock thread only hands blocks over; encrypting and the disk are this thread's. Whatever fails here -
a full disk, a folder that is gone - ends the recording with an alarm in the log and a figure, never the call.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from numpy.typing import NDArray

from dsp import encode_alaw
from paycall.domain.ids import new_id
from paycall.media.counts import Counts
from paycall.media.recording import RATE_HZ, RecordingFile

log = structlog.get_logger(__name__)

Pcm = NDArray[np.int16]
WRITE_EVERY_S = 1.0
_STOP_S = 2.0
# A side that PJSIP does not call for longer than this is filled up with silence, so that both stay together.
_SLIP_S = 0.3


class Side:
    """One side's sound, kept in step with the clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began_s: float | None = None
        self._samples = 0
        self._blocks: deque[Pcm] = deque()
        self.muted = False

    def start(self) -> None:
        """The recording begins now."""
        self._began_s = self._now()

    def stop(self) -> None:
        """Nobody takes what comes any more."""
        self._began_s = None
        self._blocks.clear()

    def add(self, block: Pcm) -> None:
        """The next block. From PJSIP's clock thread."""
        began_s = self._began_s  # the recorder's thread may stop it meanwhile
        if began_s is None:
            return
        due = round((self._now() - began_s) * RATE_HZ)
        missing = due - self._samples - block.size
        if missing > _SLIP_S * RATE_HZ:
            self._put(np.zeros(missing, dtype=np.int16))
        self._put(np.zeros_like(block) if self.muted else block)

    def _put(self, block: Pcm) -> None:
        self._samples += block.size
        self._blocks.append(block)

    def take(self) -> Pcm:
        """All that has come since the last time."""
        taken = [self._blocks.popleft() for _ in range(len(self._blocks))]
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int16)


class CallRecording:
    """One call's: what its operator said and heard. ``on_failed`` is called if it ends before its call does."""

    def __init__(
        self,
        call_id: str,
        now: Callable[[], float] = time.monotonic,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.call_id = call_id
        self._on_failed = on_failed
        self.said = Side(now)
        self.heard = Side(now)
        self.ended = False
        self._rest = (np.zeros(0, dtype=np.int16), np.zeros(0, dtype=np.int16))

    def start(self) -> None:
        """The ports are connected."""
        self.said.start()
        self.heard.start()

    def fail(self) -> None:
        """Nothing more can be written. Whoever was told that the call is recorded is told that it is not."""
        self.said.stop()
        self.heard.stop()
        if not self.ended:
            self._on_failed()

    def mute(self, muted: bool) -> None:
        """Record silence from now on, or sound again."""
        self.said.muted = self.heard.muted = muted

    def take(self, *, all_of_it: bool) -> bytes:
        """What both sides have by now, as A-law, interleaved; at the end the shorter is filled up."""
        sides = [
            np.concatenate([rest, side.take()])
            for rest, side in zip(self._rest, (self.said, self.heard), strict=True)
        ]
        length = (max if all_of_it else min)(side.size for side in sides)
        whole = [
            np.concatenate([side[:length], np.zeros(max(0, length - side.size), np.int16)]) for side in sides
        ]
        self._rest = (sides[0][length:], sides[1][length:])
        return np.stack([encode_alaw(side) for side in whole], axis=1).astype(np.uint8).tobytes()


class Recorder:
    """Writes the recordings of one cell."""

    def __init__(self, folder: Path, key: X25519PublicKey, counts: Counts) -> None:
        self._folder = folder
        self._key = key
        self._counts = counts
        self._open: dict[CallRecording, RecordingFile] = {}
        self._new: deque[CallRecording] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def begin(self, call_id: str, on_failed: Callable[[], None] = lambda: None) -> CallRecording:
        """A call is to be recorded. From the SIP thread; ``on_failed`` is called from the recorder's."""
        if not self._thread.is_alive():
            self._thread.start()
        recording = CallRecording(call_id, on_failed=on_failed)
        self._new.append(recording)
        self._wake.set()
        return recording

    def end(self, recording: CallRecording) -> None:
        """The call is over. From the SIP thread."""
        recording.ended = True
        self._wake.set()

    def stop(self) -> None:
        """End every recording, and wait until that is written."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(WRITE_EVERY_S if self._open else None)
            self._wake.clear()
            self._write_all()
        for recording in self._open:
            recording.ended = True
        self._write_all()

    def _write_all(self) -> None:
        while self._new:
            self._guarded(self._new.popleft(), self._begin)
        for recording in list(self._open):
            self._guarded(recording, self._write)

    def _begin(self, recording: CallRecording) -> None:
        recording_id = new_id("rec")
        file = RecordingFile(self._folder, recording_id, recording.call_id, time.time(), self._key)
        self._open[recording] = file
        self._counts.add("recordings_started")
        log.info("recording_started", call_id=recording.call_id, recording_id=recording_id)

    def _write(self, recording: CallRecording) -> None:
        last = recording.ended
        sound = recording.take(all_of_it=last)
        if sound or last:
            self._open[recording].write(sound, last=last)
        if last:
            self._open.pop(recording).close()
            self._counts.add("recordings_completed")
            log.info("recording_completed", call_id=recording.call_id)

    def _guarded(self, recording: CallRecording, work: Callable[[CallRecording], None]) -> None:
        try:
            work(recording)
        except Exception as error:
            reason = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
            log.error(
                "recording_failed",
                alarm=True,
                call_id=recording.call_id,
                error=type(error).__name__,
                reason=reason,
            )
            self._counts.add("recording_failures")
            file = self._open.pop(recording, None)
            if file is not None:
                try:
                    file.close()
                except OSError:
                    log.warning("recording_not_closed", call_id=recording.call_id)
            recording.fail()
