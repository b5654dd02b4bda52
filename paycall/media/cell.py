"""The worker process: up to two bridged calls.

Three threads of ours: the SIP thread (this module's ``Cell``, all state of calls), asyncio (control link, vault,
the node's socket), and PJSIP's clock thread, which runs the ports. They meet in ``SipEndpoint.post`` and
``loop.call_soon_threadsafe`` only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import NoReturn

import structlog

from paycall.control.link import ControlLink
from paycall.control.messages import (
    AnyCommand,
    CallSnapshot,
    CaptureFields,
    CellCommand,
    DialOut,
    DropField,
    EndCapture,
    Event,
    ExpectLinkCode,
    ForgetLinkCode,
    HangUp,
    Hello,
    PauseRecording,
    RouteCall,
    StartCapture,
)
from paycall.domain import capture_events as happened
from paycall.domain.call import CallState, EndReason
from paycall.domain.errors import CardDataError, InputError, NotFoundError, PaycallError, StateError
from paycall.domain.fields import Field
from paycall.domain.ids import is_id, new_id
from paycall.domain.ports import CaptureRules
from paycall.domain.secret import DigitBuffer
from paycall.media import pipes
from paycall.media.bridge import Bridge, Identity, Surroundings
from paycall.media.capture import StoreAnswer, refusal
from paycall.media.counts import Counts
from paycall.media.dialogs import Dialog
from paycall.media.endpoint import MAX_SIP_CALLS, EndpointConfig, SipEndpoint
from paycall.media.hardening import harden, pss_mb, rss_mb
from paycall.media.legs import KeyReport, Leg
from paycall.media.line_recording import open_recorder
from paycall.media.link_codes import LinkCodes
from paycall.media.outbound import Outbound
from paycall.media.sip_text import SipMessage, number_in, operator_in, parse_message, uri_of, user_of
from paycall.media.vault_client import VaultClient
from paycall.settings import RTP_PORTS_PER_CELL, MediaSettings
from paycall.tls import cell_tls

log = structlog.get_logger(__name__)

_VERSION = version("paycall")  # read once, before the fork: reading it dirties a megabyte of each cell

COLLECT_S = 10.0
NICE = 10  # of what is not sound: a busy machine lets signalling and keys wait for it
# PJSIP has room for 64 sockets, aborts at the next one, and keeps the room of one that was closed for half a second.
# A leg has two of them, also one that is refused: so calls may neither begin nor be refused faster than that.
BURST_S, BURST_CALLS = 0.5, 4
REFUSE_AFTER_S = 0.2
TEST_CALL_HEADER = "x-paycall-test-call"


@dataclass(frozen=True)
class CellSpec:
    """Which cell of which node this process is."""

    index: int
    cell_id: str
    node_id: str

    def endpoint(self, settings: MediaSettings) -> EndpointConfig:
        """Its SIP port and its part of the RTP ports."""
        return EndpointConfig(
            address=settings.address,
            sip_port=settings.first_sip_port + self.index,
            first_rtp_port=settings.first_rtp_port + self.index * RTP_PORTS_PER_CELL,
            rtp_ports=RTP_PORTS_PER_CELL,
            srtp=settings.srtp,
            agent_srtp=settings.agent_srtp or settings.srtp,
            tls_port=settings.first_sip_tls_port + self.index,
            tls_certificate=str(settings.sip_tls_certificate or ""),
            tls_key=str(settings.sip_tls_key or settings.sip_tls_certificate or ""),
        )


class _Refused:
    """Owns a leg that is being refused."""

    def __init__(self, on_gone: Callable[[Leg], None]) -> None:
        self._on_gone = on_gone

    def on_leg_ringing(self, leg: Leg) -> None: ...
    def on_leg_confirmed(self, leg: Leg) -> None: ...
    def on_answered(self, leg: Leg, answer: SipMessage) -> None: ...
    def on_leg_media(self, leg: Leg) -> None: ...
    def on_key_report(self, leg: Leg, report: KeyReport) -> None: ...
    def on_dialog(self, leg: Leg) -> None: ...
    def on_transfer_asked(self, leg: Leg, uri: str) -> Leg | None: ...

    def on_leg_gone(self, leg: Leg, status: int) -> None:  # noqa: ARG002
        self._on_gone(leg)


class Cell:
    """All calls of one process."""

    def __init__(self, settings: MediaSettings, spec: CellSpec, node: socket.socket) -> None:
        self._settings = settings
        self._spec = spec
        self._node = node
        self._endpoint = SipEndpoint(spec.endpoint(settings))
        self._bridges: dict[str, Bridge] = {}
        self._refused: set[Leg] = set()
        self._snapshots: dict[str, CallSnapshot] = {}
        self._draining = False
        self._served = 0
        self._begun_at: deque[float] = deque(maxlen=BURST_CALLS)
        self._counts = Counts()
        self._link_codes = LinkCodes()
        self._outbound = Outbound(self._endpoint, settings, spec.index)
        self._pss_mb = 0.0
        self._reported: dict[str, tuple[Dialog, ...]] = {}
        self._recorder = open_recorder(settings.recording, self._counts)
        self._loop = asyncio.new_event_loop()
        self._boot_id = new_id("boot")
        tls = cell_tls(settings)
        self._link = ControlLink(settings.control_address, self._hello, self._on_command, tls)
        self._vault = VaultClient(
            settings.vault_address, tls, on_failure=partial(self._counts.add, "vault_failures")
        )
        self._surroundings = Surroundings(
            self._endpoint,
            settings,
            self._emit,
            self._store,
            self._on_change,
            has_free_slot=self._has_free_slot,
            link_codes=self._link_codes,
            trunk=self._outbound.trunk,
            counts=self._counts,
            recorder=self._recorder,
        )

    # ---- the process -------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until the node says stop, or is gone."""
        self._endpoint.start(self._on_incoming)
        self._outbound.start(self._on_incoming)
        os.nice(NICE)  # this thread, and asyncio's; PJSIP's, which carry the sound, have started
        talker = threading.Thread(target=self._talk, name="asyncio", daemon=True)
        talker.start()
        self._beat()
        gc.disable()
        self._collect()
        log.info("cell_started", port=self._endpoint.config.sip_port)
        self._endpoint.run()
        if self._recorder is not None:
            self._recorder.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        talker.join(timeout=2.0)
        return 0

    def _talk(self) -> None:
        """The asyncio thread. PJSIP knows it: the last reference to a call's parts may be dropped here."""
        self._endpoint.register_thread("asyncio")
        asyncio.set_event_loop(self._loop)
        self._loop.add_reader(self._node.fileno(), self._node_spoke)
        linking = self._loop.create_task(self._link.run())
        self._loop.run_forever()
        linking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(linking)
        self._loop.close()

    def _node_spoke(self) -> None:
        try:
            packet = self._node.recv(pipes.MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet == pipes.DRAIN:
            self._endpoint.post(self._drain)
        elif packet in (b"", pipes.STOP):
            self._loop.remove_reader(self._node.fileno())
            self._endpoint.post(partial(self._stop, EndReason.FAILED if packet else EndReason.CELL_LOST))

    def _drain(self) -> None:
        """Take no new call; end when the last one has ended."""
        self._draining = True
        self._report()
        if not self._bridges:
            self._endpoint.stop()

    def _stop(self, reason: EndReason) -> None:
        self._draining = True
        for bridge in list(self._bridges.values()):
            bridge.hang_up(reason)
        self._endpoint.call_later(0.3, self._endpoint.stop)

    def _beat(self) -> None:
        self._report()
        self._endpoint.call_later(pipes.BEAT_S, self._beat)

    def _collect(self) -> None:
        """Collect cycles in the SIP thread only: a port or a leg that is freed elsewhere aborts the process."""
        gc.collect()
        self._pss_mb = pss_mb()
        self._endpoint.call_later(COLLECT_S, self._collect)

    def _dialogs(self) -> dict[str, tuple[Dialog, ...]]:
        return {
            call_id: tuple(leg.dialog for leg in bridge.legs if leg.dialog is not None)
            for call_id, bridge in self._bridges.items()
        }

    def _report(self) -> None:
        self._reported = self._dialogs()
        report = pipes.CellReport(
            ready=True,
            draining=self._draining,
            served=self._served,
            rss_mb=rss_mb(),
            dialogs=self._reported,
            counts=self._counts.all(),
            pss_mb=self._pss_mb,
            trunk=self._outbound.registration,
        )
        pipes.send(self._node, report.encode())

    # ---- calls -------------------------------------------------------------------------------------------

    def _on_incoming(self, pj_call: int, invite: str, peer: str) -> None:
        """Answered when PJSIP's callback is over: refusing an INVITE without SDP inside it aborts the process."""
        if self._is_full() or self._draining or self._is_flooded() or self._endpoint.has_overslept():
            leg = Leg(self._endpoint, _Refused(self._refused.discard), pj_call)
            self._refused.add(leg)
            self._endpoint.call_later(REFUSE_AFTER_S, partial(leg.end, 503 if self._draining else 486))
            return
        message = parse_message(invite)
        if self._outbound.is_from_operator(peer):
            self._on_dialled(pj_call, message, invite, peer)
            return
        bridge = self._make_bridge(self._identify(message))
        leg = Leg(self._endpoint, bridge, pj_call)
        leg.begin_incoming(invite, peer)
        self._endpoint.post(partial(self._begin, bridge, leg))

    def _begin(self, bridge: Bridge, leg: Leg) -> None:
        bridge.begin(leg, self._settings.route_wait_s if self._link.connected else 0.0)
        if not leg.alive:  # it was cancelled in the meantime, when the bridge did not know it
            bridge.on_leg_gone(leg, 487)

    def _make_bridge(self, identity: Identity) -> Bridge:
        bridge = Bridge(self._surroundings, identity)
        self._bridges[identity.call_id] = bridge
        self._served += 1
        self._begun_at.append(time.monotonic())
        return bridge

    def _on_dialled(self, pj_call: int, message: SipMessage, invite: str, peer: str) -> None:
        """An operator's phone calls a customer."""
        bridge = self._make_bridge(self._outbound.identity(new_id("call"), number_in(message), message))
        leg = Leg(self._endpoint, bridge, pj_call)
        leg.begin_incoming(invite, peer)
        self._endpoint.post(partial(self._begin_outbound, bridge, leg, uri_of(message.first("from"))))

    def _begin_outbound(self, bridge: Bridge, leg: Leg, operator_uri: str) -> None:
        try:
            bridge.begin_outbound(leg, operator_uri)
        except PaycallError as error:
            log.info("call_not_dialled", call_id=bridge.identity.call_id, code=error.code)
            self._bridges.pop(bridge.identity.call_id, None)
            leg.end(403 if isinstance(error, InputError) else 404)

    def _dial_out(self, command: DialOut) -> None:
        """Click to dial: the operator's phone first.

        Raises
        ------
        StateError, InputError
            No trunk, no free place, or a number that may not be dialled.
        """
        if self._is_full() or self._draining:
            raise StateError("this cell takes no call now")
        if command.call_id in self._bridges:
            return
        bridge = self._make_bridge(self._outbound.identity(command.call_id, command.number))
        try:
            bridge.ring_operator(command.agent_uri)
        except PaycallError:
            self._bridges.pop(command.call_id, None)
            raise

    def _is_full(self) -> bool:
        return len(self._bridges) >= self._settings.calls_per_cell or self._slots_used() + 2 > MAX_SIP_CALLS

    def _is_flooded(self) -> bool:
        """Whether so many calls have just begun that the sockets of more would not fit into PJSIP."""
        full = len(self._begun_at) == self._begun_at.maxlen
        return full and time.monotonic() - self._begun_at[0] < BURST_S

    def _slots_used(self) -> int:
        """PJSIP's calls, counting the agent's leg of a call that has none yet.

        One that was hung up before its peer ever answered is held by PJSIP for half a minute more.
        """
        running = sum(max(len(bridge.legs), 2) for bridge in self._bridges.values()) + len(self._refused)
        return max(running, len(self._endpoint.held_calls))

    def _has_free_slot(self) -> bool:
        return self._slots_used() < MAX_SIP_CALLS

    def _identify(self, invite: SipMessage) -> Identity:
        asserted = uri_of(invite.first("p-asserted-identity"))
        test_call = invite.first(TEST_CALL_HEADER)
        caller = asserted or uri_of(invite.first("from"))
        passed_on = [
            (name, value)
            for name, header in (("P-Asserted-Identity", "p-asserted-identity"), ("Diversion", "diversion"))
            for value in invite.all(header)
        ]
        if not asserted and caller.startswith("sip"):
            passed_on.append(("P-Asserted-Identity", f"<{caller}>"))
        believed = "caller" in self._settings.operator_header_from
        return Identity(
            call_id=new_id("call"),
            caller=user_of(caller)[:200],
            called=user_of(uri_of(invite.first("to")))[:200],
            started_at=time.time(),
            test_call_id=test_call if is_id(test_call, "test") else None,
            headers=tuple(passed_on),
            operator=operator_in(invite, self._settings.operator_header) if believed else "",
        )

    def _on_change(self, bridge: Bridge) -> None:
        call_id = bridge.identity.call_id
        if bridge.state is CallState.ENDED:
            if self._bridges.pop(call_id, None) is not None:
                self._snapshots = {k: v for k, v in self._snapshots.items() if k != call_id}
                self._endpoint.keep_for_a_while(bridge)
                if self._draining and not self._bridges:
                    self._endpoint.call_later(0.5, self._endpoint.stop)
        elif call_id in self._bridges:
            self._snapshots = {**self._snapshots, call_id: bridge.snapshot()}
        if self._dialogs() != self._reported:  # a key is no news to the node; counts come with the beat
            self._report()

    def _emit(self, event: Event) -> None:
        self._counts.note(event)
        self._link.send(event)

    # ---- the panel ---------------------------------------------------------------------------------------

    def _hello(self) -> Hello:
        return Hello(
            sender_id=self._spec.cell_id,
            boot_id=self._boot_id,
            kind="cell",
            node_id=self._spec.node_id,
            version=_VERSION,
            sip_uri=self._endpoint.sip_uri,
            capacity=self._settings.calls_per_cell,
            dials_out=self._outbound.possible,
            calls=tuple(self._snapshots.values()),
        )

    async def _on_command(self, command: AnyCommand) -> None:
        """In the asyncio thread: have the SIP thread carry it out, and wait for its word."""
        answer: asyncio.Future[None] = self._loop.create_future()

        def settle(error: Exception | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)

        def done(error: Exception | None = None) -> None:
            self._loop.call_soon_threadsafe(settle, error)

        self._endpoint.post(partial(self._carry_out, command, done))
        await answer

    def _carry_out(self, command: AnyCommand, done: Callable[..., None]) -> None:
        try:
            if isinstance(command, DialOut | ExpectLinkCode | ForgetLinkCode):
                self._carry_out_for_all(command)
                done()
                return
            bridge = self._bridges.get(command.call_id)
            if bridge is None:
                raise NotFoundError("this cell does not have the call")
            match command:
                case RouteCall(agent_uri=uri):
                    bridge.route(uri)
                case StartCapture(payment_id=payment_id, fields=fields, rules=rules):
                    bridge.line.start_capture(payment_id, fields, CaptureRules(**rules.model_dump()), done)
                    return
                case CaptureFields(payment_id=payment_id, fields=fields):
                    bridge.line.capture_fields(payment_id, fields)
                case DropField(payment_id=payment_id, field=field):
                    bridge.line.drop_field(payment_id, field)
                case EndCapture(payment_id=payment_id):
                    bridge.line.end_capture(payment_id)
                case PauseRecording(paused=paused):
                    bridge.line.pause_recording(paused)
                case HangUp():
                    bridge.hang_up(EndReason.HUNG_UP_BY_OPERATOR)
        except PaycallError as error:
            done(error)
        else:
            done()

    def _carry_out_for_all(self, command: CellCommand) -> None:
        """A command that concerns the cell, not one of its calls."""
        match command:
            case ExpectLinkCode(link_id=link_id, code=code, seconds=seconds):
                self._link_codes.expect(link_id, code, time.monotonic() + seconds)
                for bridge in self._bridges.values():
                    bridge.operator_keys.refresh()
            case ForgetLinkCode(link_id=link_id):
                self._link_codes.forget(link_id)
            case DialOut():
                self._dial_out(command)

    # ---- the vault ---------------------------------------------------------------------------------------

    def _store(self, payment_id: str, field: Field, value: DigitBuffer, answer: StoreAnswer) -> None:
        """From the SIP thread: hand the field over in the asyncio thread, bring the answer back."""
        asyncio.run_coroutine_threadsafe(self._store_and_answer(payment_id, field, value, answer), self._loop)

    async def _store_and_answer(
        self, payment_id: str, field: Field, value: DigitBuffer, answer: StoreAnswer
    ) -> None:
        event: happened.Event
        try:
            event = happened.FieldAccepted(field, await self._vault.store(payment_id, field, value))
        except CardDataError as error:
            event = happened.FieldRefused(field, refusal(error.code))
        except PaycallError as error:
            log.warning("field_not_stored", field=field.value, code=error.code)
            event = happened.VaultUnreachable(field)
        self._endpoint.post(partial(answer, event))


def run_cell(settings: MediaSettings, spec: CellSpec, node: socket.socket) -> NoReturn:
    """The life of a cell's process, after the fork. Ends the process: a port that is freed after PJSIP aborts.

    Signals of a terminal are ignored (the zygote's way): the node says when, and its end closes the socket.
    """
    harden()
    structlog.contextvars.bind_contextvars(cell_id=spec.cell_id)
    cell = Cell(settings, spec, node)
    os._exit(cell.run())
