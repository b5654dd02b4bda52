"""A caller's leg and an agent's leg, joined: one call from its INVITE to its end.

Rules: hang-up on either side ends both; the caller's answer waits for the agent's. What the agent hears of the
caller is the masked line's business (``masked_line.py``). Everything runs in the SIP thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from paycall.control import messages
from paycall.control.messages import CallSnapshot, Event
from paycall.domain.call import CallEvent, CallState, Direction, EndReason, next_state
from paycall.domain.errors import StateError
from paycall.media.capture import Store
from paycall.media.counts import Counts
from paycall.media.dialling import Dialling
from paycall.media.endpoint import SipEndpoint, Timer
from paycall.media.legs import KeyReport, Leg
from paycall.media.link_codes import LinkCodes
from paycall.media.masked_line import LineOwner, MaskedLine
from paycall.media.operator_keys import OperatorKeys
from paycall.media.transfer import Transfer
from paycall.settings import MediaSettings

log = structlog.get_logger(__name__)

GIVE_UP_ON_PEER_S = 2.0
_BUSY = frozenset({486, 600, 603})
_NO_ANSWER = frozenset({408, 480, 487})
_Q850_CAUSES = {
    486: 17,
    480: 19,
    503: 27,
}  # busy, no answer, out of order: of the agent's side, not of the cell


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
    counts: Counts
    link_codes: LinkCodes


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
        self._transfer: Transfer | None = None
        self._former: list[Leg] = []
        self._fallbacks = list(cell.settings.fallback_uris)
        self._routing: Timer | None = None
        self._dialling = Dialling(cell.endpoint, cell.settings.ring_timeout_s, self.on_leg_gone)
        self._reason: EndReason | None = None
        self.operator_keys = OperatorKeys(
            cell.endpoint, cell.link_codes, identity.call_id, self._emit, self._pass_key_back
        )
        owner = LineOwner(self._emit, self._changed, self._is_connected, self._pass_key_on, cell.counts)
        self.line = MaskedLine(cell.endpoint, cell.settings, cell.store, identity.call_id, owner)

    # ---- the call's beginning ----------------------------------------------------------------------------

    def begin(self, caller: Leg, wait_for_route_s: float) -> None:
        """A caller is there: say so, and dial the agent after the wait, or when ``route`` says whom."""
        self.caller = caller
        self.line.begin()
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
        self._dialling.dial(self.agent, uri, self.identity.headers)
        self._changed()

    # ---- a transfer --------------------------------------------------------------------------------------

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Every leg that takes a place in PJSIP."""
        new = self._transfer.leg if self._transfer is not None else None
        return tuple(
            leg for leg in (self.caller, self.agent, new, *self._former) if leg is not None and leg.alive
        )

    def on_transfer_asked(self, leg: Leg, uri: str) -> Leg | None:
        """The agent hands the call on: PJSIP dials the new leg and tells the old one how it goes.

        The new leg hears nothing before it has answered, unless the old one is gone; and then through the mask.
        """
        refused = leg is not self.agent or not self._is_connected() or self._transfer is not None
        if refused or not self._cell.has_free_slot():
            return None
        self._transfer = Transfer(self._endpoint, self, uri)
        return self._transfer.leg

    def _transferred(self, transfer: Transfer) -> None:
        """The new leg has answered: it is the agent now."""
        old, self.agent, self._transfer = self.agent, transfer.leg, None
        self.agent_uri = transfer.agent_uri
        self._join()
        if old is not None and old.alive:
            self._former.append(old)
            # it hangs up itself when it is told of the success
            self._endpoint.call_later(GIVE_UP_ON_PEER_S, old.end)
        log.info("call_transferred", call_id=self.identity.call_id)
        self._emit(messages.CallTransferred(call_id=self.identity.call_id, agent_uri=self.agent_uri))

    def _join(self) -> None:
        """Join the caller with whoever is there to talk to."""
        other = self.agent
        if self._transfer is not None and (other is None or not other.alive):
            other = self._transfer.leg
        self.line.join(self.caller, other)
        self.operator_keys.join(self.caller, other)

    # ---- what the legs report ----------------------------------------------------------------------------

    def on_leg_ringing(self, leg: Leg) -> None:
        """Pass the agent's ringing on."""
        if leg is self.agent and self.caller is not None and not self.caller.confirmed:
            self.caller.respond(180)

    def on_leg_confirmed(self, leg: Leg) -> None:
        """Agent up: answer the caller. Both up: connected."""
        if self._transfer is not None and leg is self._transfer.leg:
            self._transferred(self._transfer)
            return
        if leg is self.agent:
            self._dialling.stop()
            if self.caller is not None and not self.caller.confirmed:
                self.caller.respond(200)
        both = (self.caller, self.agent)
        if self.state is CallState.RINGING and all(each is not None and each.confirmed for each in both):
            self._connected()

    def _connected(self) -> None:
        self.state = next_state(self.state, CallEvent.CONNECTED)
        self.operator_keys.refresh()
        self._emit(messages.CallConnected(call_id=self.identity.call_id, agent_uri=self.agent_uri))

    def _is_connected(self) -> bool:
        return self.state is CallState.CONNECTED

    def on_leg_media(self, leg: Leg) -> None:
        """Join what there is to join; the agent's early media is for the caller."""
        early_media = leg is self.agent and leg.is_early() and leg.audio() is not None
        if early_media and self.caller is not None and not self.caller.confirmed:
            self.caller.respond(183)
        self._join()

    def on_leg_gone(self, leg: Leg, status: int) -> None:
        """One side is gone: end the other, or try the next route."""
        self._former = [each for each in self._former if each is not leg]
        if self._transfer is not None and leg is self._transfer.leg:
            self._transfer = None
            log.info("transfer_failed", call_id=self.identity.call_id, code=status)
            if self.agent is not None and not self.agent.alive:
                leg = self.agent  # the old agent has left already: nobody is there to talk to
        self._join()
        if self.state is CallState.ENDED or leg not in (self.caller, self.agent):
            return
        if leg is self.agent and self._transfer is not None:
            return  # it left the caller to the new one
        ringing = leg is self.agent and self.state is CallState.RINGING and self._reason is None
        if ringing and self._next_route():
            return
        reason, answer = self._why(leg, status)
        self._reason = self._reason or reason
        self.line.caller_gone()
        others = self.legs
        for other in others:
            unanswered = other is self.caller and not other.confirmed
            other.end(answer, _Q850_CAUSES.get(answer, 0)) if unanswered else other.end()
        if any(other.alive for other in others):
            # a peer that never answers the BYE must not keep the call on the screens
            self._endpoint.call_later(GIVE_UP_ON_PEER_S, self._ended)
        else:
            self._ended()

    def _next_route(self) -> bool:
        if not self._fallbacks or self.caller is None or not self.caller.alive:
            return False
        self._dial(self._fallbacks.pop(0))
        return True

    def _why(self, leg: Leg, status: int) -> tuple[EndReason, int]:
        """The reason of the end, and what an unanswered caller is told."""
        connected = self._is_connected()
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
        self._dialling.stop()
        if self._routing is not None:
            self._routing.cancel()
        self.operator_keys.close()
        heard = self.line.close()
        self._emit(
            messages.CallEnded(
                call_id=self.identity.call_id, reason=self._reason or EndReason.FAILED, agent_leg_keys=heard
            )
        )

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
        """A key beside the audio."""
        if leg is self.caller:
            self.line.key_beside(report)
        elif leg is self.agent:
            self.operator_keys.beside(report)

    def _pass_key_back(self, key: str) -> None:
        if self.caller is not None:
            self.caller.press(key)

    def _pass_key_on(self, key: str) -> None:
        if self.agent is not None:
            self.agent.press(key)

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
        view = self.line.view()
        collecting = view.collecting if view else None
        return CallSnapshot(
            call_id=self.identity.call_id,
            direction=self.identity.direction,
            caller=self.identity.caller,
            called=self.identity.called,
            agent_uri=self.agent_uri,
            connected=self._is_connected(),
            masked=self.line.masked,
            started_at=self.identity.started_at,
            test_call_id=self.identity.test_call_id,
            payment_id=view.payment_id if view else None,
            collecting=collecting,
            digits={collecting: view.digits} if view and collecting else {},
            stored=view.stored if view else (),
            token=view.token if view else None,
        )
