"""A caller's leg and an agent's leg, joined: one call from its INVITE to its end.

Rules: ``caller`` is the customer and the masked one, whoever dialled. Hang-up on either side ends both; the answer to
whoever dialled waits for the other side's. What the agent hears of the caller is the masked line's business
(``masked_line.py``). Everything runs in the SIP thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from paycall.control import messages
from paycall.control.messages import CallSnapshot, Event
from paycall.domain.call import CallEvent, CallState, Direction, EndReason, next_state
from paycall.domain.errors import InputError, StateError
from paycall.media.capture import Store
from paycall.media.counts import Counts
from paycall.media.dialling import NOT_FOUND, Dialling, Target
from paycall.media.endpoint import SipEndpoint, Timer
from paycall.media.legs import KeyReport, Leg
from paycall.media.link_codes import LinkCodes
from paycall.media.masked_line import LineOwner, MaskedLine
from paycall.media.operator_keys import OperatorKeys
from paycall.media.outcomes import OUR_OWN, UNAVAILABLE, inbound_failure, outbound_failure
from paycall.media.ringback import Ringback
from paycall.media.sip_text import SipMessage, operator_in
from paycall.media.transfer import Transfer
from paycall.media.trunk import TrunkAccount
from paycall.settings import MediaSettings

if TYPE_CHECKING:  # cells of sites that record nothing need no cryptography
    from paycall.media.recorder import Recorder

log = structlog.get_logger(__name__)

GIVE_UP_ON_PEER_S = 2.0
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
    operator: str = ""


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
    trunk: Callable[[], TrunkAccount]
    recorder: Recorder | None


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
        self._dialling = Dialling(cell.endpoint, cell.settings, self.on_leg_gone)
        self._transferring = Dialling(cell.endpoint, cell.settings, self.on_leg_gone)
        self._customer: Target | None = None
        self._ringback = Ringback(cell.endpoint)
        self._reason: EndReason | None = None
        self.operator_keys = OperatorKeys(
            cell.endpoint, cell.link_codes, identity.call_id, self._emit, self._pass_key_back
        )
        owner = LineOwner(
            self._emit, self._changed, self._is_connected, self._pass_key_on, cell.counts, cell.recorder
        )
        self.line = MaskedLine(cell.endpoint, cell.settings, cell.store, identity.call_id, owner)

    # ---- the call's beginning ----------------------------------------------------------------------------

    def begin(self, caller: Leg, wait_for_route_s: float) -> None:
        """A caller is there: say so, and dial the agent after the wait, or when ``route`` says whom."""
        self.caller = caller
        self._arrived()
        if wait_for_route_s > 0:
            self._routing = self._endpoint.call_later(wait_for_route_s, partial(self._dial, self.agent_uri))
        else:
            self._dial(self.agent_uri)

    def begin_outbound(self, agent: Leg, agent_uri: str) -> None:
        """An operator dials the customer of ``identity.caller`` from the own phone.

        Raises
        ------
        NoTrunkError, NumberNotAllowedError
            Nothing was begun.
        """
        self._customer = self._cell.trunk().trunk.target(self.identity.caller)
        self.agent, self.agent_uri = agent, agent_uri
        self._arrived()
        self._dial_customer(self._customer)

    def ring_operator(self, agent_uri: str) -> None:
        """Ring an operator's phone; the customer of ``identity.caller`` is dialled when it is answered.

        Raises
        ------
        NoTrunkError, NumberNotAllowedError
            Nothing was begun.
        """
        self._customer = self._cell.trunk().trunk.target(self.identity.caller)
        self.agent_uri = agent_uri
        self._arrived()
        self._ring_agent(agent_uri)

    def _arrived(self) -> None:
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
                operator=self.identity.operator,
            )
        )

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
        if self._caller_waits():
            self._ring_agent(uri)

    def _ring_agent(self, uri: str) -> None:
        self.agent_uri = uri
        self.agent = Leg(self._endpoint, self, account=self._endpoint.agent_account)
        self._dialling.dial(self.agent, Target(uri, self.identity.headers))
        self._changed()

    def _dial_customer(self, target: Target) -> None:
        self.caller = Leg(self._endpoint, self, account=self._cell.trunk().account)
        self._dialling.dial(self.caller, target)
        self._changed()

    def _who_waits(self, dialled: Leg) -> Leg | None:
        """Whose INVITE still waits for this leg's answer."""
        other = self.agent if dialled is self.caller else self.caller
        waits = other is not None and other.incoming and not other.confirmed
        return other if waits and dialled is self._dialling.leg else None

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
        try:
            transfer = self._transfer = Transfer(self._endpoint, self, uri, leg.account)
        except InputError as error:
            log.info("transfer_refused", call_id=self.identity.call_id, code=error.code)
            return None
        self._transferring.watch(transfer.leg)
        self._endpoint.post(partial(self._begun_or_over, transfer))
        return transfer.leg

    def _begun_or_over(self, transfer: Transfer) -> None:
        """PJSIP dials after its callback, and tells nobody where it cannot."""
        if not transfer.leg.begun and self._transfer is transfer:
            transfer.leg.forget()
            self.on_leg_gone(transfer.leg, NOT_FOUND)

    def _transferred(self, transfer: Transfer) -> None:
        """The new leg has answered: it is the agent now."""
        old, self.agent, self._transfer = self.agent, transfer.leg, None
        self._transferring.stop()
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
        """Pass the ringing on."""
        waiting = self._who_waits(leg)
        if waiting is not None:
            waiting.respond(180)
        elif leg is self.caller and self.agent is not None and leg.audio() is None:
            self._ringback.start(self.agent)

    def on_leg_confirmed(self, leg: Leg) -> None:
        """The dialled side is up: answer who dialled, or dial the customer. Both up: connected."""
        self._ringback.stop()
        if self._transfer is not None and leg is self._transfer.leg:
            self._transferred(self._transfer)
            return
        if leg is self._dialling.leg:
            self._dialling.stop()
            waiting = self._who_waits(leg)
            if waiting is not None:
                waiting.respond(200)
                timeout_s = self._cell.settings.ack_timeout_s
                self._endpoint.call_later(timeout_s, partial(self._acknowledged_or_over, waiting))
        if leg is self.agent and self.caller is None and self._customer is not None:
            self._dial_customer(self._customer)
        both = (self.caller, self.agent)
        if self.state is CallState.RINGING and all(each is not None and each.confirmed for each in both):
            self._connected()

    def _acknowledged_or_over(self, leg: Leg) -> None:
        """Without its ACK PJSIP sends BYE and waits as long again: the other side is not to wait with it."""
        if leg.alive and not leg.confirmed:
            self.hang_up(EndReason.FAILED)

    def _connected(self) -> None:
        self.state = next_state(self.state, CallEvent.CONNECTED)
        self.operator_keys.refresh()
        self.line.connected()
        self._emit(messages.CallConnected(call_id=self.identity.call_id, agent_uri=self.agent_uri))

    def _is_connected(self) -> bool:
        return self.state is CallState.CONNECTED

    def on_answered(self, leg: Leg, answer: SipMessage) -> None:
        """The agent's phone or PBX may say in its answer who has the call."""
        settings = self._cell.settings
        if leg is self.caller or "agent" not in settings.operator_header_from:
            return
        operator = operator_in(answer, settings.operator_header)
        if operator:
            self._emit(messages.OperatorNamed(call_id=self.identity.call_id, operator=operator))

    def on_leg_media(self, leg: Leg) -> None:
        """Join what there is to join; the dialled side's early media is for who dialled."""
        if leg is self.caller:
            self._ringback.stop()
        waiting = self._who_waits(leg)
        if waiting is not None and leg.is_early() and leg.audio() is not None:
            waiting.respond(183)
        self._join()

    def on_leg_gone(self, leg: Leg, status: int) -> None:
        """One side is gone: end the other, or try the next route."""
        self._ringback.stop()
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
        if ringing and self._customer is None and self._fallbacks and self._caller_waits():
            # not here: PJSIP frees the leg's place after its callback, and the next one may need it
            self._endpoint.post(partial(self._dial, self._fallbacks.pop(0)))
            return
        silent = status in OUR_OWN and not leg.replied
        reason, answer = self._why(leg, UNAVAILABLE if silent else status)
        self._reason = self._reason or reason
        self.line.caller_gone()
        others = self.legs
        for other in others:
            unanswered = other.incoming and not other.confirmed
            other.end(answer, _Q850_CAUSES.get(answer, 0)) if unanswered else other.end()
        if any(other.alive for other in others):
            # a peer that never answers the BYE must not keep the call on the screens
            self._endpoint.call_later(GIVE_UP_ON_PEER_S, self._ended)
        else:
            self._ended()

    def _caller_waits(self) -> bool:
        return self.caller is not None and self.caller.alive

    def _why(self, leg: Leg, status: int) -> tuple[EndReason, int]:
        """The reason of the end, and what whoever dialled is told if still unanswered."""
        if self._is_connected():
            return (EndReason.CALLER_HUNG_UP if leg is self.caller else EndReason.AGENT_HUNG_UP), 0
        if self._customer is None:
            return (EndReason.CANCELLED, 0) if leg is self.caller else inbound_failure(status)
        if leg is self.caller:
            return outbound_failure(status)
        rung_in_vain = not leg.incoming and not leg.confirmed
        return (EndReason.OPERATOR_NOT_REACHED if rung_in_vain else EndReason.AGENT_HUNG_UP), 0

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
            recording=self.line.recording,
            started_at=self.identity.started_at,
            test_call_id=self.identity.test_call_id,
            operator=self.identity.operator,
            payment_id=view.payment_id if view else None,
            collecting=collecting,
            digits={collecting: view.digits} if view and collecting else {},
            stored=view.stored if view else (),
            token=view.token if view else None,
        )
