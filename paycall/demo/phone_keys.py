"""Keys that do not travel in the audio: RTP events (RFC 4733) and SIP INFO, one key after the other."""

from __future__ import annotations

import time
from collections.abc import Callable

import pjsua2 as pj

from paycall.demo.phone_audio import Mouth, Played
from paycall.media.endpoint import SipEndpoint

# PJMEDIA sends every event for this long (PJMEDIA_DTMF_DURATION), however it is asked.
RTP_EVENT_S = 0.2


class OutOfBandKeys:
    """Presses keys of a call in the SIP thread; stops by itself when the call is over."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        leg: pj.Call,
        alive: Callable[[], bool],
        mouth: Mouth,
        released: Callable[[int, Played], None],
    ) -> None:
        self._endpoint = endpoint
        self._leg = leg
        self._alive = alive
        self._mouth = mouth
        self._released = released

    def press(self, mode: str, digits: str, tone_s: float, pause_s: float, index: int = 0) -> None:
        """Press ``digits[index]`` and, later, those behind it. ``mode`` is ``rfc4733`` or ``info``."""
        if index >= len(digits) or not self._alive():
            return
        start_sample, started_at = self._mouth.position, time.monotonic()
        held_s = RTP_EVENT_S if mode == "rfc4733" else tone_s
        if mode == "rfc4733":
            self._leg.dialDtmf(digits[index])

        def release() -> None:
            if mode == "info" and self._alive():
                self._leg.sendDtmf(_info(digits[index], tone_s))
            self._released(index, Played(start_sample, self._mouth.position, started_at, time.monotonic()))
            self._endpoint.call_later(pause_s, lambda: self.press(mode, digits, tone_s, pause_s, index + 1))

        self._endpoint.call_later(held_s, release)


def _info(digit: str, tone_s: float) -> pj.CallSendDtmfParam:
    """A phone tells of a key by INFO when the key is let go, with how long it was down."""
    request = pj.CallSendDtmfParam()
    request.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
    request.digits = digit
    request.duration = round(tone_s * 1000)
    return request
