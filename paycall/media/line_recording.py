"""Joins one call's line to the recorder: what is recorded, from when on, and when it is silent.

Rules: nothing is recorded before both sides talk; where captures are not recorded, silence is, from before the mask
until after it; where an operator has paused it, until they go on. Everything runs in the SIP thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from paycall.control.messages import Recording
from paycall.domain.errors import StateError
from paycall.media.counts import Counts
from paycall.media.mask import CallAudio
from paycall.media.prompts import RECORDING_NOTICE, PromptLibrary
from paycall.media.record_port import RecordPort, RecordPorts
from paycall.settings import MediaSettings, RecordingSettings

if TYPE_CHECKING:  # cells of sites that record nothing need no cryptography
    from paycall.media.recorder import CallRecording, Recorder


def open_recorder(settings: RecordingSettings, counts: Counts) -> Recorder | None:
    """The cell's recorder; None where the site records nothing.

    Raises
    ------
    SettingsError
        If the public key cannot be read.
    """
    if not settings.enabled:
        return None
    from paycall.media.recorder import Recorder
    from paycall.media.recording import read_public_key

    return Recorder(settings.folder, read_public_key(settings.public_key), counts)


class LineRecording:
    """One call's recording; without a recorder it does nothing."""

    def __init__(self, settings: MediaSettings, audio: CallAudio, recorder: Recorder | None) -> None:
        self._settings = settings
        self._audio = audio
        self._recorder = recorder
        self._recording: CallRecording | None = None
        self._paused = False
        self._capturing = False
        self._failed = False

    @property
    def state(self) -> Recording:
        """Whether the call is recorded now."""
        if self._recording is None:
            return "off"
        if self._failed:
            return "failed"
        return "paused" if self._paused else "on"

    def begin(self, call_id: str, on_failed: Callable[[], None]) -> bool:
        """Both sides talk: record, and say so to the caller. Whether the recording began now.

        ``on_failed`` is called from the recorder's thread if nothing more can be written.
        """
        if self._recorder is None or self._recording is not None:
            return False
        self._recording = self._recorder.begin(call_id, on_failed)
        ports = RecordPorts(RecordPort(self._recording.heard.add), RecordPort(self._recording.said.add))
        self._audio.record(ports)
        self._recording.start()
        if self._settings.recording.notice:
            prompts = self._settings.prompts
            notice = PromptLibrary(prompts.folder).sound(prompts.language, RECORDING_NOTICE)
            if notice.size:
                self._audio.play(notice)
        return True

    def capturing(self, capturing: bool) -> None:
        """The caller begins to key, or has ended."""
        self._capturing = capturing
        self._mute()

    def pause(self, paused: bool) -> None:
        """Record silence from now on, or sound again: the caller does not want it, or does after all.

        Raises
        ------
        StateError
            If the call is not recorded, or not any more.
        """
        if self._recording is None or self._failed:
            raise StateError("the call is not recorded")
        self._paused = paused
        self._mute()

    def fail(self) -> bool:
        """Nothing more can be written; whether the call goes on, so that somebody has to know."""
        self._failed = True
        return self._recording is not None

    def _mute(self) -> None:
        if self._recording is not None:
            left_out = self._capturing and not self._settings.recording.captures
            self._recording.mute(self._paused or left_out)

    def end(self) -> None:
        """The call is over."""
        if self._recorder is not None and self._recording is not None:
            self._recorder.end(self._recording)
            self._recording = None
