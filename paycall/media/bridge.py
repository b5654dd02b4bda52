"""A caller's leg and an agent's leg, joined: one call from its INVITE to its end.

Rules: hang-up on either side ends both; the caller's answer waits for the agent's; a capture's mask outlives
everything but the call and the capture's own end. While a capture runs no key of the caller's is passed on.
Everything runs in the SIP thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pjsua2 as pj
import structlog

from paycall.control import messages
from paycall.control.hub import SessionInProgressError
from paycall.control.messages import CallSnapshot, Event
from paycall.domain import capture_events as happened
from paycall.domain.call import CallEvent, CallState, Direction, EndReason, next_state
from paycall.domain.capture import UNMASK_AFTER_KEY_S
from paycall.domain.errors import StateError
from paycall.domain.fields import Field
from paycall.domain.ports import CaptureRules
from paycall.media.caller_keys import CallerKeys, is_new
from paycall.media.capture import CaptureRun, Store
from paycall.media.endpoint import SipEndpoint, Timer
from paycall.media.keys import RtpEventTracker
from paycall.media.legs import KeyReport, Leg
from paycall.media.mask import AlarmKind, CallAudio
from paycall.media.sip_text import uri_of
from paycall.settings import MediaSettings

log = structlog.get_logger(__name__)

GIVE_UP_ON_PEER_S = 2.0
KEY_CHECK_S = 0.1
_BUSY = frozenset({486, 600, 603})
_NO_ANSWER = frozenset({408, 480, 487})


@dataclass(frozen=True)
class Identity:
    """What is known of a call from its INVITE."""

    call_id: str
    caller: str
    called: str
    started_at: float
    test_call_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    direction: Direction = Direction.INBOUND


@dataclass(frozen=True)
class Surroundings:
    """What a bridge needs of its cell."""

    endpoint: SipEndpoint
    settings: MediaSettings
    emit: Callable[[Event], None]
    store: Store
    on_change: Callable[[Bridge], None]
    has_free_slot: Callable[[], bool]


class Bridge:
    """One call."""

    def __init__(self, cell: Surroundings, identity: Identity) -> None:
        self._cell = cell
        self._endpoint = cell.endpoint
        self.identity = identity
        self.state = CallState.RINGING
        self.caller: Leg | None = None
        self.agent: Leg | None = None
        self.agent_uri = cell.settings.agent_uri
        self.capture: CaptureRun | None = None
        self._starting: str | None = None
        self._transfer: tuple[Leg, str] | None = None
        self._former: list[Leg] = []
        self._fallbacks = list(cell.settings.fallback_uris)
        self._routing: Timer | None = None
        self._ring_timer: Timer | None = None
        self._reason: EndReason | None = None
        self._keys = CallerKeys()
        self._agent_events = RtpEventTracker()
        self._audio = CallAudio(cell.endpoint, cell.settings.mask_replacement, self._audio_key, self._alarm)

    # ---- the call's beginning ----------------------------------------------------------------------------

    def begin(self, caller: Leg, wait_for_route_s: float) -> None:
        """A caller is there: say so, and dial the agent after the wait, or when ``route`` says whom."""
        self.caller = caller
        if self._cell.settings.mask_policy == "always":
            self._audio.on(partial(self._mask_changed, True))
        self._emit(
            messages.CallArrived(
                call_id=self.identity.call_id,
                direction=self.identity.direction,
                caller=self.identity.caller,
                called=self.identity.called,
                agent_uri=self.agent_uri,
                started_at=self.identity.started_at,
                test_call_id=self.identity.test_call_id,
            )
        )
        if wait_for_route_s > 0:
            self._routing = self._endpoint.call_later(wait_for_route_s, partial(self._dial, self.agent_uri))
        else:
            self._dial(self.agent_uri)

    def route(self, agent_uri: str) -> None:
        """The panel's choice of agent; empty takes the default route.

        Raises
        ------
        StateError
            If an agent is being dialled already.
        """
        if self._routing is None or self.agent is not None:
            raise StateError("the call has its route already")
        self._dial(agent_uri or self.agent_uri)

    def _dial(self, uri: str) -> None:
        if self._routing is not None:
            self._routing.cancel()
            self._routing = None
        if self.caller is None or not self.caller.alive:
            return
        self.agent_uri = uri
        self.agent = Leg(self._endpoint, self)
        prm = pj.CallOpParam(True)
        for name, value in self.identity.headers:
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            prm.txOption.headers.append(header)
        try:
            self.agent.makeCall(uri, prm)
        except pj.Error as error:
            log.warning("agent_not_dialled", call_id=self.identity.call_id, code=error.status)
            self._endpoint.keep_for_a_while(self.agent)
            self.agent.alive = False
            self.on_leg_gone(self.agent, 404)
            return
        self._ring_timer = self._endpoint.call_later(self._cell.settings.ring_timeout_s, self._not_answered)
        self._changed()

    def _not_answered(self) -> None:
        if self.agent is not None and not self.agent.confirmed:
            self.agent.end()

    # ---- a transfer --------------------------------------------------------------------------------------

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Every leg that takes a place in PJSIP."""
        new = self._transfer[0] if self._transfer is not None else None
        return tuple(
            leg for leg in (self.caller, self.agent, new, *self._former) if leg is not None and leg.alive
        )

    def on_transfer_asked(self, leg: Leg, uri: str) -> Leg | None:
        """The agent hands the call on: PJSIP dials the new leg and tells the old one how it goes.

        The new leg hears nothing before it has answered, unless the old one is gone; and then through the mask.
        """
        refused = leg is not self.agent or self.state is not CallState.CONNECTED or self._transfer is not None
        if refused or not self._cell.has_free_slot():
            return None
        new = Leg(self._endpoint, self)
        self._transfer = (new, uri_of(uri) or uri)
        return new

    def _transferred(self) -> None:
        """The new leg has answered: it is the agent now."""
        if self._transfer is None:
            return
        old, (self.agent, uri), self._transfer = self.agent, self._transfer, None
        self.agent_uri = uri.partition("?")[0]
        self._agent_events = RtpEventTracker()
        self._join()
        if old is not None and old.alive:
            self._former.append(old)
            self._endpoint.call_later(
                GIVE_UP_ON_PEER_S, old.end
            )  # it hangs up itself when it is told of the success
        log.info("call_transferred", call_id=self.identity.call_id)
        self._changed()

    def _join(self) -> None:
        """Join the caller with whoever is there to talk to."""
        other = self.agent
        if self._transfer is not None and (other is None or not other.alive):
            other = self._transfer[0]
        self._audio.set_legs(_audio(self.caller), _audio(other))

    # ---- what the legs report ----------------------------------------------------------------------------

    def on_leg_ringing(self, leg: Leg) -> None:
        """Pass the agent's ringing on."""
        if leg is self.agent and self.caller is not None and not self.caller.confirmed:
            self.caller.respond(180)

    def on_leg_confirmed(self, leg: Leg) -> None:
        """Agent up: answer the caller. Both up: connected."""
        if self._transfer is not None and leg is self._transfer[0]:
            self._transferred()
            return
        if leg is self.agent:
            if self._ring_timer is not None:
                self._ring_timer.cancel()
            if self.caller is not None and not self.caller.confirmed:
                self.caller.respond(200)
        both = (self.caller, self.agent)
        if self.state is CallState.RINGING and all(each is not None and each.confirmed for each in both):
            self._connected()

    def _connected(self) -> None:
        self.state = next_state(self.state, CallEvent.CONNECTED)
        self._emit(messages.CallConnected(call_id=self.identity.call_id, agent_uri=self.agent_uri))
        self._changed()

    def on_leg_media(self, leg: Leg) -> None:
        """Join what there is to join; the agent's early media is for the caller."""
        early_media = leg is self.agent and leg.is_early() and leg.audio() is not None
        if early_media and self.caller is not None and not self.caller.confirmed:
            self.caller.respond(183)
        self._join()

    def on_leg_gone(self, leg: Leg, status: int) -> None:
        """One side is gone: end the other, or try the next route."""
        self._former = [each for each in self._former if each is not leg]
        if self._transfer is not None and leg is self._transfer[0]:
            self._transfer = None
            log.info("transfer_failed", call_id=self.identity.call_id, code=status)
            if self.agent is not None and not self.agent.alive:
                leg = self.agent  # the old agent has left already: nobody is there to talk to
        self._join()
        if self.state is CallState.ENDED or leg not in (self.caller, self.agent):
            return
        if leg is self.agent and self._transfer is not None:
            return  # it left the caller to the new one
        if (
            leg is self.agent
            and self.state is CallState.RINGING
            and self._reason is None
            and self._next_route()
        ):
            return
        reason, answer = self._why(leg, status)
        self._reason = self._reason or reason
        if self.capture is not None:
            self.capture.caller_gone()
        others = self.legs
        for other in others:
            other.end(answer if other is self.caller and not other.confirmed else 0)
        if any(other.alive for other in others):
            # a peer that never answers the BYE must not keep the call on the screens
            self._endpoint.call_later(GIVE_UP_ON_PEER_S, self._ended)
        else:
            self._ended()

    def _next_route(self) -> bool:
        if not self._fallbacks or self.caller is None or not self.caller.alive:
            return False
        if self._ring_timer is not None:
            self._ring_timer.cancel()
        self._dial(self._fallbacks.pop(0))
        return True

    def _why(self, leg: Leg, status: int) -> tuple[EndReason, int]:
        """The reason of the end, and what an unanswered caller is told."""
        connected = self.state is CallState.CONNECTED
        if leg is self.caller:
            return (EndReason.CALLER_HUNG_UP if connected else EndReason.CANCELLED), 0
        if connected:
            return EndReason.AGENT_HUNG_UP, 0
        if status in _BUSY:
            return EndReason.BUSY, 486
        if status in _NO_ANSWER:
            return EndReason.NO_ANSWER, 480
        return EndReason.UNREACHABLE, 503

    def _ended(self) -> None:
        if self.state is CallState.ENDED:
            return
        self.state = next_state(self.state, CallEvent.ENDED)
        for timer in (self._routing, self._ring_timer):
            if timer is not None:
                timer.cancel()
        heard = self._audio.keys_heard
        self._audio.close()
        self._emit(
            messages.CallEnded(
                call_id=self.identity.call_id, reason=self._reason or EndReason.FAILED, agent_leg_keys=heard
            )
        )
        self._changed()

    def hang_up(self, reason: EndReason) -> None:
        """End both legs."""
        self._reason = self._reason or reason
        legs = self.legs
        for leg in legs:
            leg.end()
        if not legs:
            self._ended()

    # ---- keys --------------------------------------------------------------------------------------------

    def on_key_report(self, leg: Leg, report: KeyReport) -> None:
        """A key beside the audio: captured, or passed on."""
        if leg is self.agent and self.caller is not None:
            if is_new(self._agent_events, report):
                self.caller.press(report.key)
            return
        if leg is not self.caller:
            return
        if self._audio.masked:
            self._audio.cover_event()
        if self._keys.beside(report):
            self._pressed(report.key, in_audio=False)

    def _audio_key(self, key: str, began_s_ago: float, ended_s_ago: float) -> None:
        now = time.monotonic()
        if self._keys.in_audio(key, now - began_s_ago, now - ended_s_ago):
            self._pressed(key, in_audio=True)

    def _pressed(self, key: str, *, in_audio: bool) -> None:
        if self.capture is not None and not self.capture.over:
            self.capture.feed(happened.KeyPressed(key))
        elif not self._audio.masked and not self._starting and not in_audio and self.agent is not None:
            self.agent.press(key)

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
        if self.state is not CallState.CONNECTED:
            raise StateError("the call is not connected")
        CaptureRun.check(fields, rules)
        self._starting = payment_id
        was_masked = self._audio.masked

        def masked() -> None:
            self._starting = None
            if self.state is not CallState.CONNECTED:
                return
            run = CaptureRun(
                self._endpoint, self.identity.call_id, payment_id, self._emit, self._cell.store, self._unmask
            )
            self.capture = run
            if not was_masked:
                self._mask_changed(True)
            run.start(fields, rules)
            self._changed()
            then()

        self._audio.on(masked)

    def capture_fields(self, payment_id: str, fields: tuple[Field, ...]) -> None:
        """Take these fields (again).

        Raises
        ------
        StateError, InputError
            No such capture runs here, or the fields make no sense.
        """
        self._running(payment_id).feed(happened.FieldsRequested(tuple(fields)))
        self._changed()

    def end_capture(self, payment_id: str) -> None:
        """End it: unmask, two seconds after the last key at the earliest.

        Raises
        ------
        StateError
            No such capture runs here.
        """
        self._running(payment_id).feed(happened.EndRequested())
        self._changed()

    @property
    def _capturing(self) -> bool:
        return self._starting is not None or (self.capture is not None and not self.capture.over)

    def _running(self, payment_id: str) -> CaptureRun:
        if self.capture is None or self.capture.over or self.capture.payment_id != payment_id:
            raise StateError("no capture of this payment runs on the call")
        return self.capture

    def _unmask(self) -> None:
        """Take the mask off: two seconds after the end of the last key's sound, however long it was held."""
        if self._capturing or self._cell.settings.mask_policy == "always":
            return
        now = time.monotonic()
        if self._audio.key_sounds:
            self._keys.last_sound_s = now
        if now < self._keys.last_sound_s + UNMASK_AFTER_KEY_S:
            self._endpoint.call_later(KEY_CHECK_S, self._unmask)
            return
        self._audio.off(partial(self._mask_changed, False))

    def _mask_changed(self, masked: bool) -> None:
        self._emit(messages.MaskChanged(call_id=self.identity.call_id, masked=masked))
        self._changed()

    def _alarm(self, kind: AlarmKind) -> None:
        log.error("mask_alarm", call_id=self.identity.call_id, reason=kind)
        self._emit(messages.SecurityAlarm(call_id=self.identity.call_id, kind=kind))

    # ---- what others see ---------------------------------------------------------------------------------

    def on_dialog(self, leg: Leg) -> None:  # noqa: ARG002
        """A dialog's identifiers changed."""
        self._changed()

    def _emit(self, event: Event) -> None:
        self._cell.emit(event)
        self._changed()

    def _changed(self) -> None:
        self._cell.on_change(self)

    def snapshot(self) -> CallSnapshot:
        """The call as the panel may know it."""
        view = self.capture.view() if self.capture is not None and not self.capture.over else None
        collecting = view.collecting if view else None
        return CallSnapshot(
            call_id=self.identity.call_id,
            direction=self.identity.direction,
            caller=self.identity.caller,
            called=self.identity.called,
            agent_uri=self.agent_uri,
            connected=self.state is CallState.CONNECTED,
            masked=self._audio.masked,
            started_at=self.identity.started_at,
            test_call_id=self.identity.test_call_id,
            payment_id=view.payment_id if view else None,
            collecting=collecting,
            digits={collecting: view.digits} if view and collecting else {},
            stored=view.stored if view else (),
            token=view.token if view else None,
        )


def _audio(leg: Leg | None) -> pj.AudioMedia | None:
    return leg.audio() if leg is not None else None
