"""Dials a leg and watches over it until it is answered.

Rules: who rings too long is given up, and so is who says nothing at all: at once where the address refuses (ICMP),
else after a time that is a setting. Everything runs in the SIP thread.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pjsua2 as pj
import structlog

from paycall.media.endpoint import SipEndpoint, Timer
from paycall.media.legs import Leg
from paycall.media.outcomes import NO_PLACE
from paycall.settings import MediaSettings

log = structlog.get_logger(__name__)

NOT_FOUND = 404
TOO_MANY = 70010  # PJ_ETOOMANY (pj/errno.h): phones that died in their calls have the places still
PROBE_AFTER_S = 0.5  # an INVITE that was answered by then needs no probe (RFC 3261: T1)
PROBE_CHECKS_S = (0.05, 0.3)
KEEP_ALIVE = b"\r\n\r\n"  # what every SIP port ignores (RFC 5626, 3.5.1)


@dataclass(frozen=True)
class Target:
    """Whom to dial. ``own_uri`` stands in From; empty: the account's own."""

    uri: str
    headers: tuple[tuple[str, str], ...] = ()
    own_uri: str = ""


class Dialling:
    """One side of a call, being rung.

    Parameters
    ----------
    on_failed
        The leg could not be dialled, with a SIP status: PJSIP will not tell of it.
    """

    def __init__(
        self, endpoint: SipEndpoint, settings: MediaSettings, on_failed: Callable[[Leg, int], None]
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._on_failed = on_failed
        self._timers: list[Timer] = []
        self.leg: Leg | None = None

    def dial(self, leg: Leg, target: Target) -> None:
        """Ring; the leg's observer hears how it goes."""
        self.stop()
        self.leg = leg
        prm = pj.CallOpParam(True)
        prm.txOption.localUri = target.own_uri
        for name, value in target.headers:
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            prm.txOption.headers.append(header)
        try:
            leg.makeCall(target.uri, prm)
        except pj.Error as error:
            log.warning("leg_not_dialled", code=error.status)
            self._endpoint.keep_for_a_while(leg)
            leg.alive = False
            self._on_failed(leg, NO_PLACE if error.status == TOO_MANY else NOT_FOUND)
            return
        self.watch(leg)

    def watch(self, leg: Leg) -> None:
        """Watch over a leg that is being rung; PJSIP itself dials that of a transfer."""
        self.stop()
        self.leg = leg
        self._timers = [
            self._endpoint.call_later(self._settings.ring_timeout_s, partial(self._rung_long_enough, leg)),
            self._endpoint.call_later(self._settings.reply_timeout_s, partial(self._silent, leg)),
            self._endpoint.call_later(PROBE_AFTER_S, partial(self._probe, leg)),
        ]

    def stop(self) -> None:
        """It was answered, or is of no interest any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _rung_long_enough(self, leg: Leg) -> None:
        if not leg.confirmed:
            leg.end()

    # ---- nobody there --------------------------------------------------------------------------------------

    def _silent(self, leg: Leg) -> None:
        if leg is self.leg and leg.alive and not leg.replied:
            log.info("leg_unreachable", reason="no reply")
            leg.give_up()

    def _probe(self, leg: Leg) -> None:
        """Ask the address itself: PJSIP's socket is not told of ICMP, one that is connected is."""
        if not leg.alive or leg.replied or leg.dialog is None or "/UDP" not in "".join(leg.dialog.via[:1]):
            return
        host, _, port = leg.dialog.peer.rpartition(":")
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.setblocking(False)
        with contextlib.suppress(OSError, ValueError):  # what is wrong is read from the socket below
            probe.connect((host, int(port)))
            probe.send(KEEP_ALIVE)
        for number, pause_s in enumerate(PROBE_CHECKS_S, start=1):
            last = number == len(PROBE_CHECKS_S)
            self._endpoint.call_later(pause_s, partial(self._read_probe, leg, probe, last))

    def _read_probe(self, leg: Leg, probe: socket.socket, last: bool) -> None:
        if probe.fileno() < 0:
            return
        refused = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused or last:
            probe.close()
        if refused and leg is self.leg and leg.alive and not leg.replied:
            log.info("leg_unreachable", reason="refused", code=refused)
            leg.give_up()
