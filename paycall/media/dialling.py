"""Dials a leg and watches over it until it is answered.

Rules: who rings too long is given up; who says nothing at all is told apart from who does not pick up. A leg that
is given up may still hold its place in PJSIP: before any reply has come SIP allows no CANCEL (RFC 3261, 9.1).
Everything runs in the SIP thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pjsua2 as pj
import structlog

from paycall.media.endpoint import SipEndpoint, Timer
from paycall.media.legs import Leg

log = structlog.get_logger(__name__)

Headers = Sequence[tuple[str, str]]
NOT_FOUND = 404


class Dialling:
    """One side of a call, being rung.

    Parameters
    ----------
    on_failed
        The leg could not be dialled, with a SIP status that says why; PJSIP will not tell of it.
    """

    def __init__(
        self, endpoint: SipEndpoint, ring_timeout_s: float, on_failed: Callable[[Leg, int], None]
    ) -> None:
        self._endpoint = endpoint
        self._ring_timeout_s = ring_timeout_s
        self._on_failed = on_failed
        self._ringing: Timer | None = None
        self.leg: Leg | None = None

    def dial(self, leg: Leg, uri: str, headers: Headers) -> None:
        """Ring this address; the leg's observer hears how it goes."""
        self.stop()
        self.leg = leg
        prm = pj.CallOpParam(True)
        for name, value in headers:
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            prm.txOption.headers.append(header)
        try:
            leg.makeCall(uri, prm)
        except pj.Error as error:
            log.warning("leg_not_dialled", code=error.status)
            self._endpoint.keep_for_a_while(leg)
            leg.alive = False
            self._on_failed(leg, NOT_FOUND)
            return
        self._ringing = self._endpoint.call_later(self._ring_timeout_s, partial(self._rung_long_enough, leg))

    def stop(self) -> None:
        """It was answered, or is of no interest any more."""
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None

    def _rung_long_enough(self, leg: Leg) -> None:
        if not leg.confirmed:
            leg.end()
