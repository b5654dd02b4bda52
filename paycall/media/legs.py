"""One leg of a call: pjsua2's ``Call`` with its dangers behind a small surface.

Rules: a leg that has disconnected is never called into again (``alive``), nor one that PJSIP has not begun
(``begun``: what it was to dial for a transfer may never be); no exception leaves a callback; the owner keeps the
object a second past its end. State and media callbacks come in the SIP thread, keys in PJSIP's media thread: the
observer's ``on_key_report`` is always run in the SIP thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import pjsua2 as pj
import structlog

from paycall.media import dialogs
from paycall.media.dialogs import Dialog
from paycall.media.endpoint import SipEndpoint
from paycall.media.guard import guarded
from paycall.media.info_keys import is_relay, own_key, write_for_pjsip
from paycall.media.keys import KEYS, Way
from paycall.media.sip_text import SipMessage, parse_message

log = structlog.get_logger(__name__)

# A phone that has not answered INVITE, CANCEL or BYE within this time is not there; PJSIP would keep the call's place
# for 32 s (timers B and F of RFC 3261).
SILENT_S = 4.0
GONE_S = 0.5
_END_FLAG = 2
_UPDATE_FLAG = 1


@dataclass(frozen=True)
class KeyReport:
    """A key, as PJSIP reports it. ``at_s`` is on the monotonic clock."""

    way: Way
    key: str = field(repr=False)
    at_s: float
    timestamp_ms: int = 0
    duration_ms: int = 0
    update: bool = False
    ended: bool = False


class LegObserver(Protocol):
    """Who owns the leg. Everything runs in the SIP thread."""

    def on_leg_ringing(self, leg: Leg) -> None:
        """The other side gave a provisional answer."""

    def on_leg_confirmed(self, leg: Leg) -> None:
        """The leg is up."""

    def on_answered(self, leg: Leg, answer: SipMessage) -> None:
        """The other side's 2xx to our INVITE."""

    def on_leg_media(self, leg: Leg) -> None:
        """The leg's media began, changed or was held."""

    def on_leg_gone(self, leg: Leg, status: int) -> None:
        """The leg has disconnected, with this SIP status."""

    def on_key_report(self, leg: Leg, report: KeyReport) -> None:
        """A key came beside the audio."""

    def on_dialog(self, leg: Leg) -> None:
        """``leg.dialog`` changed."""

    def on_transfer_asked(self, leg: Leg, uri: str) -> Leg | None:
        """The other side asks to be replaced (REFER): a leg for PJSIP to dial, or None to refuse."""


class Leg(pj.Call):  # type: ignore[misc]
    """A caller's or an agent's leg."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        observer: LegObserver,
        call_id: int = pj.PJSUA_INVALID_ID,
        account: pj.Account | None = None,
    ) -> None:
        self.account = account or endpoint.account
        super().__init__(self.account, call_id)
        self._endpoint = endpoint
        self.incoming = self.begun = call_id != pj.PJSUA_INVALID_ID
        self.replied = False  # whether our INVITE has had any answer, 100 Trying included
        self._observer = observer
        self.alive = True
        self.confirmed = False
        self.dialog: Dialog | None = None
        self._dialled_at = 0.0
        self._hung_up = False
        if self.incoming:
            endpoint.held_calls.add(self)

    # ---- what the owner asks -----------------------------------------------------------------------------

    def respond(self, status: int) -> None:
        """Answer the INVITE."""
        if self.alive:
            prm = pj.CallOpParam(True)
            prm.statusCode = status
            self._try("answer", partial(self.answer, prm))

    def end(self, status: int = 0, cause: int = 0) -> None:
        """Hang up, or refuse with a status.

        A Q.850 ``cause`` (RFC 6432) says that the other side of the call refused it: a proxy in front then knows
        that another cell would do no better.
        """
        if self.alive and self.begun:
            prm = pj.CallOpParam()
            prm.statusCode = status
            if cause:
                header = pj.SipHeader()
                header.hName, header.hValue = "Reason", f"Q.850;cause={cause}"
                prm.txOption.headers.append(header)
            self._hung_up = True
            self._try("hangup", partial(self.hangup, prm))

    def forget(self) -> None:
        """PJSIP will never begin it."""
        self.alive = False
        self.thisown = False  # as below: its destructor would look for a call

    def give_up(self) -> None:
        """Nobody is at the address of our unanswered INVITE: it is over, and its place free, at once."""
        if self.alive and self.dialog is not None:
            self._speak_for_them(self.dialog)
            self._endpoint.call_later(GONE_S, self.end)  # should PJSIP not have taken it

    def audio(self) -> pj.AudioMedia | None:
        """The leg's place on the bridge, or None while it has none (not negotiated, held, gone)."""
        if not (self.alive and self.begun):
            return None
        info = self.getInfo()
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.audioConfSlot >= 0:
                return self.getAudioMedia(media.index)
        return None

    def is_early(self) -> bool:
        """Whether the INVITE has had a provisional answer and no final one."""
        return self.alive and self.begun and self.getInfo().state == pj.PJSIP_INV_STATE_EARLY

    def press(self, key: str) -> None:
        """Pass a key on: as an RTP event where the other side takes them, else as SIP INFO."""
        if not (self.alive and self.begun):
            return
        prm = pj.CallSendDtmfParam()
        prm.digits = key
        for method in (pj.PJSUA_DTMF_METHOD_RFC2833, pj.PJSUA_DTMF_METHOD_SIP_INFO):
            prm.method = method
            try:
                self.sendDtmf(prm)
                return
            except pj.Error:
                continue

    def _try(self, what: str, act: partial[None]) -> None:
        try:
            act()
        except pj.Error as error:
            log.warning("leg_refused", name=what, code=error.status)

    # ---- what PJSIP reports ------------------------------------------------------------------------------

    @guarded
    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            # PJSIP tells of the end before it tells of the answer that was the reason
            of_transaction = prm.e.type == pj.PJSIP_EVENT_TSX_STATE
            if of_transaction and prm.e.body.tsxState.type == pj.PJSIP_EVENT_RX_MSG:
                self.replied = True
            self._release_place()
            if self.alive:
                self.alive = False
                # pjsua2's destructor hangs up whatever call has the slot by then: the C++ part is never destroyed.
                self.thisown = False
                self.dialog = None
                self._observer.on_dialog(self)
                self._endpoint.keep_for_a_while(self)
                self._observer.on_leg_gone(self, info.lastStatusCode)
        elif info.state == pj.PJSIP_INV_STATE_CALLING:
            self.begun = True
            self._endpoint.held_calls.add(self)
            self._dialled_at = time.monotonic()
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            # an answer that nothing can be heard with (no codec in common): PJSIP hangs up by itself
            if not any(media.status == pj.PJSUA_CALL_MEDIA_ERROR for media in info.media):
                self.confirmed = True
                self._observer.on_leg_confirmed(self)
        elif info.state == pj.PJSIP_INV_STATE_EARLY and info.role == pj.PJSIP_ROLE_UAC:
            self._observer.on_leg_ringing(self)

    def _release_place(self) -> None:
        """PJSIP keeps the call's place until the other side has answered.

        Where that is not there, PJSIP gets what it would have said. An INVITE that had no answer at all is held for
        sure; where one had come, the last answer is a matter of milliseconds.
        """
        held = not self.incoming and not self.replied
        if not held:
            self._endpoint.held_calls.discard(self)
        if self.dialog is not None and (held or self._hung_up):
            wait_s = self._dialled_at + SILENT_S - time.monotonic() if held else SILENT_S
            self._endpoint.call_later(max(wait_s, 0.0), partial(self._speak_for_them, self.dialog))

    def _speak_for_them(self, dialog: Dialog) -> None:
        never_spoke = dialog.stage == "uac-early" and not self.replied
        cancel = dialogs.release(dialog, "", 0) if never_spoke else None
        if cancel is not None and "/UDP" in "".join(dialog.via[:1]):
            self._endpoint.send(*cancel)  # should the phone come back, it is not to ring for nobody
        said = dialogs.gone(dialog)
        if said is not None:
            self._endpoint.inject(said)
        self._endpoint.call_later(GONE_S, partial(self._endpoint.held_calls.discard, self))

    @guarded
    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:  # noqa: ARG002
        if self.alive:
            self._observer.on_leg_media(self)

    @guarded
    def onDtmfEvent(self, prm: pj.OnDtmfEventParam) -> None:
        if prm.digit not in KEYS:
            return
        info = prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO
        self._report(
            KeyReport(
                way=Way.INFO if info else Way.RTP_EVENT,
                key=prm.digit,
                at_s=time.monotonic(),
                timestamp_ms=prm.timestamp,
                duration_ms=prm.duration,
                update=bool(prm.flags & _UPDATE_FLAG),
                ended=bool(prm.flags & _END_FLAG),
            )
        )

    def _report(self, report: KeyReport) -> None:
        self._endpoint.post(partial(self._observer.on_key_report, self, report))

    @guarded
    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        accepted = prm.statusCode
        prm.statusCode = pj.PJSIP_SC_DECLINE
        leg = self._observer.on_transfer_asked(self, prm.dstUri)
        if leg is not None:
            prm.newCall = leg
            prm.statusCode = accepted

    @guarded
    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        state = prm.e.body.tsxState
        method = state.tsx.method
        if method == "INFO" and state.type == pj.PJSIP_EVENT_RX_MSG and state.tsx.role == pj.PJSIP_ROLE_UAS:
            self._read_info(state.src.rdata)
        elif method == "INVITE" and state.type == pj.PJSIP_EVENT_TX_MSG:
            self._invite_sent(state.src.tdata, state.tsx)
        elif method == "INVITE" and state.type == pj.PJSIP_EVENT_RX_MSG:
            self._invite_answered(state.src.rdata, state.tsx)

    def _read_info(self, received: pj.SipRxData) -> None:
        """What PJSIP is going to read is put right, what it does not read is read."""
        message = parse_message(received.wholeMsg)
        if is_relay(message):
            write_for_pjsip(received)
        elif key := own_key(message):
            self._report(KeyReport(way=Way.INFO, key=key, at_s=time.monotonic()))

    def _invite_sent(self, sent: pj.SipTxData, tsx: pj.SipTransaction) -> None:
        again = self.dialog is None or self._is_early("uac-early")  # with credentials, after a 401 or 407
        if tsx.role == pj.PJSIP_ROLE_UAC and again:
            self._set_dialog(dialogs.outgoing(sent.wholeMsg, sent.dstAddress))
        elif tsx.role == pj.PJSIP_ROLE_UAS and tsx.statusCode // 100 == 2 and self._is_early("uas-early"):
            assert self.dialog is not None  # noqa: S101
            self._set_dialog(dialogs.answered_by_us(self.dialog, sent.wholeMsg))

    def _invite_answered(self, received: pj.SipRxData, tsx: pj.SipTransaction) -> None:
        if tsx.role != pj.PJSIP_ROLE_UAC:
            return
        self.replied = True
        if tsx.statusCode // 100 == 2 and self._is_early("uac-early"):
            self._set_dialog(dialogs.answered_by_them(received.wholeMsg))
            self._observer.on_answered(self, parse_message(received.wholeMsg))

    def _is_early(self, stage: str) -> bool:
        return self.dialog is not None and self.dialog.stage == stage

    def begin_incoming(self, invite: str, peer: str) -> None:
        """Note the dialog of their INVITE."""
        self._set_dialog(dialogs.incoming(invite, peer))

    def _set_dialog(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self._observer.on_dialog(self)
