"""What is keyed on one call's agent leg: link codes for the panel, everything else for the caller.

Rules: a link code is only ever taken from the agent leg. A sound there that the caller made a moment ago is its echo
and no key. Sound is listened to only while an operator's code is waited for, from ports that nothing hears: the keys'
sound reaches the caller, since nobody stands in that path; keys beside the audio do not. Of a code that was keyed
only its name leaves the cell. Everything runs in the SIP thread.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import pjsua2 as pj
import structlog

from paycall.control import messages
from paycall.control.messages import Event
from paycall.media.caller_keys import CallerKeys
from paycall.media.endpoint import SipEndpoint
from paycall.media.key_port import KeyPort
from paycall.media.legs import KeyReport, Leg
from paycall.media.link_codes import KEY_PAUSE_S, LinkCodeKeys, LinkCodes, Taken
from paycall.media.ports import destroy_later

log = structlog.get_logger(__name__)

_CHECK_S = 1.0
ECHO_WAIT_S = 0.2  # both legs are heard in blocks: the caller's key may be told after its echo
ECHO_S = 1.0


class OperatorKeys:
    """The keys of one call's agent, whoever that is at the time."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        codes: LinkCodes,
        call_id: str,
        emit: Callable[[Event], None],
        pass_on: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._codes = codes
        self._call_id = call_id
        self._emit = emit
        self._pass_on = pass_on
        self._keys = CallerKeys()
        self._link_code = LinkCodeKeys()
        self._legs: tuple[Leg | None, Leg | None] = (None, None)
        self._ports: tuple[KeyPort, KeyPort] | None = None
        self._callers: deque[tuple[str, float]] = deque(maxlen=8)
        self._listening = False
        self._closed = False

    def join(self, caller: Leg | None, agent: Leg | None) -> None:
        """These are the legs now, or their audio has changed."""
        if agent is not self._legs[1]:
            self._keys, self._link_code = CallerKeys(), LinkCodeKeys()
        self._legs = (caller, agent)
        if self._listening:
            self._connect()

    def refresh(self) -> None:
        """A code is waited for: listen until none is."""
        if self._closed or self._listening or not self._codes.any(time.monotonic()):
            return
        if self._ports is None:
            self._ports = (
                KeyPort(self._post(self._caller_sounded)),
                KeyPort(self._post(self._agent_sounded)),
            )
        self._listening = True
        for port in self._ports:
            port.listen(True)
        self._connect()
        self._endpoint.call_later(_CHECK_S, self._check)

    def beside(self, report: KeyReport) -> None:
        """A key of the agent's beside the audio."""
        if not self._keys.beside(report):
            return
        if self._codes.any(time.monotonic()):
            self._take(report.key, heard=False)
        else:
            self._pass_on(report.key)

    def close(self) -> None:
        """The call is over."""
        self._closed = True
        self._legs = (None, None)
        self._stop()

    # ---- listening ---------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._closed or not self._listening:
            return
        if self._codes.any(time.monotonic()):
            self._endpoint.call_later(_CHECK_S, self._check)
        else:
            self._stop()

    def _stop(self) -> None:
        self._listening = False
        for leg, port in zip(self._legs, self._ports or (), strict=False):
            port.listen(False)
            audio = leg.audio() if leg is not None else None
            if audio is not None:
                with contextlib.suppress(pj.Error):  # the leg has just gone
                    audio.stopTransmit(port)
        if self._ports is not None:  # PJSIP would ask them 50 times a second for as long as they exist
            destroy_later(self._endpoint, *self._ports)
            self._ports = None

    def _connect(self) -> None:
        for leg, port in zip(self._legs, self._ports or (), strict=False):
            audio = leg.audio() if leg is not None else None
            if audio is not None:
                with contextlib.suppress(pj.Error):  # the leg has just gone
                    audio.startTransmit(port)

    def _post(self, heard: Callable[[str, float, float], None]) -> Callable[[str, float, float], None]:
        """From PJSIP's clock thread to ours, with moments instead of ages."""

        def post(key: str, began_s_ago: float, ended_s_ago: float) -> None:
            now = time.monotonic()
            self._endpoint.post(partial(heard, key, now - began_s_ago, now - ended_s_ago))

        return post

    def _caller_sounded(self, key: str, began_s: float, ended_s: float) -> None:  # noqa: ARG002
        self._callers.append((key, began_s))

    def _agent_sounded(self, key: str, began_s: float, ended_s: float) -> None:
        self._endpoint.call_later(ECHO_WAIT_S, partial(self._judge, key, began_s, ended_s))

    def _judge(self, key: str, began_s: float, ended_s: float) -> None:
        echo = any(theirs == key and abs(began_s - at_s) < ECHO_S for theirs, at_s in self._callers)
        if not echo and self._listening and self._keys.in_audio(key, began_s, ended_s):
            self._take(key, heard=True)

    # ---- the code ----------------------------------------------------------------------------------------

    def _take(self, key: str, *, heard: bool) -> None:
        self._carry_out(self._link_code.key(key, time.monotonic(), heard=heard))
        if self._link_code.holding:
            self._endpoint.call_later(KEY_PAUSE_S + 0.1, self._late)

    def _late(self) -> None:
        self._carry_out(Taken(self._link_code.late(time.monotonic())))

    def _carry_out(self, taken: Taken) -> None:
        if self._closed:
            return
        for key in taken.pass_on:
            self._pass_on(key)
        if taken.code is not None:
            link_id = self._codes.match(taken.code, time.monotonic())
            log.info("link_code_keyed", call_id=self._call_id, outcome="known" if link_id else "unknown")
            self._emit(messages.LinkCodeKeyed(call_id=self._call_id, link_id=link_id))
