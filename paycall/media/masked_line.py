"""The mask between a call's two legs, the caller's keys, and the capture that needs both.

Rules: a capture's mask outlives everything but the call and the capture's own end. While a capture runs, or begins,
no key of the caller's is passed on, nor is one still on its way when it has begun. Everything runs in the SIP thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from paycall.control import messages
from paycall.control.hub import SessionInProgressError
from paycall.control.messages import Event
from paycall.domain import capture_events as happened
from paycall.domain.capture import UNMASK_AFTER_KEY_S
from paycall.domain.errors import StateError
from paycall.domain.fields import Field
from paycall.domain.ports import CaptureRules
from paycall.media.caller_keys import CallerKeys
from paycall.media.capture import CaptureRun, CaptureView, Store
from paycall.media.counts import Counts
from paycall.media.endpoint import SipEndpoint
from paycall.media.keys import Way
from paycall.media.legs import KeyReport, Leg
from paycall.media.line_recording import LineRecording
from paycall.media.mask import AlarmKind, CallAudio
from paycall.media.passed_keys import PassedKeys
from paycall.media.prompts import call_prompts
from paycall.settings import MediaSettings

if TYPE_CHECKING:  # cells of sites that record nothing need no cryptography
    from paycall.media.recorder import Recorder

log = structlog.get_logger(__name__)

KEY_CHECK_S = 0.1


@dataclass(frozen=True)
class LineOwner:
    """What a line needs of its call."""

    emit: Callable[[Event], None]
    changed: Callable[[], None]
    connected: Callable[[], bool]
    pass_key_on: Callable[[str], None]
    counts: Counts
    recorder: Recorder | None


class MaskedLine:
    """One call's line between the caller and whoever is the agent."""

    def __init__(
        self, endpoint: SipEndpoint, settings: MediaSettings, store: Store, call_id: str, owner: LineOwner
    ) -> None:
        self._endpoint = endpoint
        self._always = settings.mask_policy == "always"
        self._store = store
        self._call_id = call_id
        self._owner = owner
        self._starting: str | None = None
        self._end_at_once = False
        self._capture: CaptureRun | None = None
        self._keys = CallerKeys()
        self._passed = PassedKeys(endpoint, owner.pass_key_on)
        self._audio = CallAudio(
            endpoint,
            settings.mask_replacement,
            self._key_in_audio,
            self._alarm,
            owner.counts,
            prompts_to_agent=settings.prompts.heard_by == "both",
        )
        self._prompts = call_prompts(settings.prompts, self._audio)
        self._recording = LineRecording(settings, self._audio, owner.recorder)

    # ---- the call ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A call begins: under the policy ``always`` the mask goes on now."""
        if self._always:
            self._audio.on(partial(self._mask_changed, True))

    def pause_recording(self, paused: bool) -> None:
        """Record silence from now on, or sound again; ``StateError`` if the call is not recorded."""
        self._recording.pause(paused)
        self._recording_changed()

    def connected(self) -> None:
        """Both sides talk."""
        if self._recording.begin(self._call_id, partial(self._endpoint.post, self._recording_failed)):
            self._recording_changed()

    @property
    def recording(self) -> messages.Recording:
        """Whether the call is recorded now."""
        return self._recording.state

    def join(self, caller: Leg | None, agent: Leg | None) -> None:
        """These two talk to each other from now on; a leg that has no audio is left out."""
        self._audio.set_legs(caller.audio() if caller else None, agent.audio() if agent else None)

    def caller_gone(self) -> None:
        """One side has hung up: the capture ends, the mask stays until the call is gone."""
        if self._capture is not None:
            self._capture.caller_gone()

    def close(self) -> int:
        """The call is over; gives how many keys the listener heard on the agent leg."""
        heard = self._audio.keys_heard
        self._recording.end()
        self._audio.close()
        return heard

    @property
    def masked(self) -> bool:
        """Whether the agent hears the caller through the mask only."""
        return self._audio.masked

    def view(self) -> CaptureView | None:
        """The running capture as the panel may know it."""
        return self._capture.view() if self._capture is not None and not self._capture.over else None

    # ---- the caller's keys -------------------------------------------------------------------------------

    def key_beside(self, report: KeyReport) -> None:
        """A key of the caller's beside the audio: captured, or passed on."""
        if self._audio.masked:
            self._audio.cover_event()
        if self._keys.beside(report):
            if self._prompts is not None:
                self._prompts.key_pressed()
            self._pressed(report.key, report.way, report.at_s)

    def _key_in_audio(self, key: str, began_s_ago: float, ended_s_ago: float) -> None:
        now = time.monotonic()
        if self._keys.in_audio(key, now - began_s_ago, now - ended_s_ago):
            self._pressed(key, Way.AUDIO, now - ended_s_ago)

    def _pressed(self, key: str, way: Way, over_s: float) -> None:
        if self._capture is not None and not self._capture.over:
            self._owner.counts.add("keys", way.value)
            self._capture.feed(happened.KeyPressed(key))
            self._owner.counts.key_told(max(0.0, time.monotonic() - over_s))
        elif not self._audio.masked and not self._starting and way is not Way.AUDIO:
            self._passed.put(key)

    # ---- the capture -------------------------------------------------------------------------------------

    def start_capture(
        self, payment_id: str, fields: tuple[Field, ...], rules: CaptureRules, then: Callable[[], None]
    ) -> None:
        """Mask, then take these fields; ``then`` runs when the mask is on and the first field is asked for.

        Raises
        ------
        StateError
            Not connected, or another payment's capture runs here.
        InputError
            The fields make no sense.
        """
        if self._capturing:
            raise SessionInProgressError
        if not self._owner.connected():
            raise StateError("the call is not connected")
        CaptureRun.check(fields, rules)
        self._starting = payment_id
        self._end_at_once = False
        self._passed.forget()
        self._recording.capturing(True)
        was_masked = self._audio.masked

        def masked() -> None:
            if self._passed.busy_s:
                self._endpoint.call_later(self._passed.busy_s, masked)
                return
            self._starting = None
            if not self._owner.connected():
                return
            run = CaptureRun(self._endpoint, self._call_id, payment_id, self._emit, self._store, self._unmask)
            self._capture = run
            if not was_masked:
                self._mask_changed(True)
            if self._prompts is not None:
                self._prompts.speak(rules.language)
            run.start(fields, rules)
            if self._end_at_once:
                run.feed(happened.EndRequested())
            self._owner.changed()
            then()

        self._audio.on(masked)

    def _emit(self, event: Event) -> None:
        self._owner.emit(event)
        if self._prompts is not None:
            self._prompts.heard(event)

    def capture_fields(self, payment_id: str, fields: tuple[Field, ...]) -> None:
        """Take these fields (again).

        Raises
        ------
        StateError, InputError
            No such capture runs here, or the fields make no sense.
        """
        self._running(payment_id).feed(happened.FieldsRequested(tuple(fields)))
        self._owner.changed()

    def drop_field(self, payment_id: str, field: Field) -> None:
        """Do without this field.

        Raises
        ------
        StateError
            No such capture runs here, or the field is on its way to the vault.
        """
        self._running(payment_id).feed(happened.FieldDropped(field))
        self._owner.changed()

    def end_capture(self, payment_id: str) -> None:
        """End it: unmask, two seconds after the last key at the earliest.

        Raises
        ------
        StateError
            No such capture runs here.
        """
        if self._starting == payment_id:
            self._end_at_once = True
            return
        self._running(payment_id).feed(happened.EndRequested())
        self._owner.changed()

    @property
    def _capturing(self) -> bool:
        return self._starting is not None or (self._capture is not None and not self._capture.over)

    def _running(self, payment_id: str) -> CaptureRun:
        if self._capture is None or self._capture.over or self._capture.payment_id != payment_id:
            raise StateError("no capture of this payment runs on the call")
        return self._capture

    def _unmask(self) -> None:
        """Take the mask off: two seconds after the end of the last key's sound, however long it was held."""
        if self._capturing:
            return
        if self._always:
            self._recording.capturing(False)
            return
        now = time.monotonic()
        if self._audio.key_sounds:
            self._keys.last_sound_s = now
        if now < self._keys.last_sound_s + UNMASK_AFTER_KEY_S:
            self._endpoint.call_later(KEY_CHECK_S, self._unmask)
            return
        self._audio.off(partial(self._mask_changed, False))

    def _mask_changed(self, masked: bool) -> None:
        if not masked:
            self._recording.capturing(False)
        self._owner.emit(messages.MaskChanged(call_id=self._call_id, masked=masked))

    def _recording_failed(self) -> None:
        if self._recording.fail():
            self._recording_changed()

    def _recording_changed(self) -> None:
        self._owner.emit(messages.RecordingChanged(call_id=self._call_id, recording=self.recording))

    def _alarm(self, kind: AlarmKind) -> None:
        log.error("mask_alarm", call_id=self._call_id, reason=kind)
        self._owner.emit(messages.SecurityAlarm(call_id=self._call_id, kind=kind))
