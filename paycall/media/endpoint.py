"""PJSIP's life cycle, and the one thread that calls it.

Rules: every pjsua2 call happens in the thread that runs ``SipEndpoint.run``. Others ``post`` a job; a datagram of
two line ends to our own SIP port (PJSIP takes it for a keep-alive) makes ``libHandleEvents`` return at once, so the
thread can wait and still start a job within half a millisecond. No SIP message is ever traced: INFO
bodies and RTP events are card data.
"""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pjsua2 as pj
import structlog

from paycall.media.guard import guarded
from paycall.media.held_up import LONGEST_WAIT_S, HeldUp

log = structlog.get_logger(__name__)

Job = Callable[[], object]
# PJSIP's call id, the INVITE's text, host:port that it came from
OnIncoming = Callable[[int, str, str], None]
# the registrar's status, and for how many seconds it holds
OnRegistered = Callable[[int, int], None]
BRIDGE_RATE_HZ = 8000
FRAME_MS = 20
MAX_SIP_CALLS = 4  # what the wheel was built with
MAX_WAIT_MS = int(LONGEST_WAIT_S * 1000)
KEEP_OBJECTS_S = 1.0
_SRTP_USE = {
    "off": pj.PJMEDIA_SRTP_DISABLED,
    "optional": pj.PJMEDIA_SRTP_OPTIONAL,
    "required": pj.PJMEDIA_SRTP_MANDATORY,
}
_ACCEPTED_CODECS = {"PCMA/8000/1": 255, "PCMU/8000/1": 254, "G722/16000/1": 253}


@dataclass(frozen=True)
class EndpointConfig:
    """Where a cell's SIP and RTP live. ``rtp_ports`` is a count."""

    address: str
    sip_port: int
    first_rtp_port: int
    rtp_ports: int
    user_agent: str = "paycall"
    srtp: str = "off"
    agent_srtp: str = "off"
    tls_port: int = 0
    tls_certificate: str = ""
    tls_key: str = ""


class Timer:
    """A job for later; ``cancel`` may be called at any time, in the SIP thread."""

    __slots__ = ("cancelled", "job")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.cancelled = False

    def cancel(self) -> None:
        """Do not run the job."""
        self.cancelled = True


class _Account(pj.Account):  # type: ignore[misc]
    """The one account of a cell: takes every INVITE, needs no registrar."""

    def __init__(self, on_incoming: OnIncoming, on_registered: OnRegistered | None = None) -> None:
        super().__init__()
        self._on_incoming = on_incoming
        self._on_registered = on_registered

    @guarded
    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        self._on_incoming(prm.callId, prm.rdata.wholeMsg, prm.rdata.srcAddress)

    @guarded
    def onIncomingSubscribe(self, prm: pj.OnIncomingSubscribeParam) -> None:
        prm.code, prm.reason = pj.PJSIP_SC_METHOD_NOT_ALLOWED, "Method Not Allowed"

    @guarded
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        if self._on_registered is not None:
            self._on_registered(prm.code, prm.expiration)


class SipEndpoint:
    """PJSIP for one cell. Make it and run it in the same thread, after the fork."""

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self.account: pj.Account | None = None
        self.agent_account: pj.Account | None = None  # what cells dial operators with
        self.held_calls: set[object] = set()  # legs whose call PJSIP holds, also when their bridge has ended
        self._jobs: deque[Job] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopping = False
        self._held_up = HeldUp()
        self._thread = threading.get_ident()
        self._waker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._endpoint = pj.Endpoint()

    @property
    def sip_uri(self) -> str:
        """Where this endpoint is reached."""
        return f"sip:{self.config.address}:{self.config.sip_port}"

    def start(self, on_incoming: OnIncoming) -> None:
        """Open the SIP port and be ready for calls; ``on_incoming`` runs in this thread.

        Raises
        ------
        pjsua2.Error
            If the port can't be bound.
        """
        endpoint = self._endpoint
        endpoint.libCreate()
        endpoint.libInit(self._library_config())
        transport = pj.TransportConfig()
        transport.port = self.config.sip_port
        transport.boundAddress = self.config.address
        transport.publicAddress = self.config.address
        for kind in (pj.PJSIP_TRANSPORT_UDP, pj.PJSIP_TRANSPORT_TCP):
            endpoint.transportCreate(kind, transport)
        if self.config.tls_certificate:
            transport.port = self.config.tls_port
            transport.tlsConfig.certFile = self.config.tls_certificate
            transport.tlsConfig.privKeyFile = self.config.tls_key
            transport.tlsConfig.method = pj.PJSIP_TLSV1_2_METHOD
            endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS, transport)
        endpoint.libStart()
        endpoint.audDevManager().setNullDev()
        for codec in endpoint.codecEnum2():
            endpoint.codecSetPriority(codec.codecId, _ACCEPTED_CODECS.get(codec.codecId, 0))
        self.account = _Account(on_incoming)
        self.account.create(self._account_config())
        self.agent_account = self.account
        if self.config.agent_srtp != self.config.srtp:
            config = self._account_config()
            config.mediaConfig.srtpUse = _SRTP_USE[self.config.agent_srtp]
            config.priority = -1  # nobody calls it
            self.agent_account = _Account(on_incoming)
            self.agent_account.create(config)

    def add_account(
        self, on_incoming: OnIncoming, adjust: Callable[[pj.AccountConfig], None], on_registered: OnRegistered
    ) -> pj.Account:
        """Another account beside the cell's own: its settings, as ``adjust`` changes them."""
        config = self._account_config()
        adjust(config)
        account = _Account(on_incoming, on_registered)
        account.create(config)
        return account

    def _library_config(self) -> pj.EpConfig:
        config = pj.EpConfig()
        config.uaConfig.maxCalls = MAX_SIP_CALLS
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = False
        config.uaConfig.userAgent = self.config.user_agent
        config.logConfig.level = 0
        config.logConfig.consoleLevel = 0
        config.logConfig.msgLogging = 0
        media = config.medConfig
        media.clockRate = BRIDGE_RATE_HZ
        media.sndClockRate = BRIDGE_RATE_HZ
        media.audioFramePtime = FRAME_MS
        media.noVad = True  # silence suppression would cut the start of a tone
        media.ecTailLen = 0
        media.sndAutoCloseTime = -1
        return config

    def _account_config(self) -> pj.AccountConfig:
        account = pj.AccountConfig()
        account.idUri = f"sip:paycall@{self.config.address}:{self.config.sip_port}"
        account.natConfig.contactRewriteUse = 0
        account.natConfig.viaRewriteUse = False
        account.natConfig.sdpNatRewriteUse = 0
        media = account.mediaConfig
        media.transportConfig.boundAddress = self.config.address
        media.transportConfig.publicAddress = self.config.address
        media.transportConfig.port = self.config.first_rtp_port
        media.transportConfig.portRange = self.config.rtp_ports
        media.lockCodecEnabled = False  # no re-INVITE of our own only to narrow the codecs
        media.srtpUse = _SRTP_USE[self.config.srtp]
        media.srtpSecureSignaling = 0
        account.callConfig.prackUse = pj.PJSUA_100REL_OPTIONAL
        account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
        return account

    # ---- the loop ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until ``stop``; then hang up what is left.

        PJSIP is not closed: that takes seconds where a phone does not answer, and the process ends now.
        """
        while not self._stopping:
            wait_ms = self._run_due()
            self._held_up.seen(time.monotonic(), wait_ms / 1000)
            self._endpoint.libHandleEvents(wait_ms)
            self._held_up.seen(time.monotonic())
        self._endpoint.hangupAllCalls()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            self._run_due()
            self._endpoint.libHandleEvents(20)

    def has_overslept(self) -> bool:
        """Whether the thread was held up for so long that who asked in the meantime has given up. In callbacks."""
        return self._held_up.may_be_old(time.monotonic())

    def _run_due(self) -> int:
        """Run posted jobs and due timers; give the time until the next one, in ms."""
        while self._jobs:
            self._safely(self._jobs.popleft())
        while self._timers:
            due, _, timer = self._timers[0]
            wait_s = due - time.monotonic()
            if timer.cancelled or wait_s <= 0:
                heapq.heappop(self._timers)
                if not timer.cancelled:
                    self._safely(timer.job)
                continue
            return 0 if self._jobs else min(int(wait_s * 1000) + 1, MAX_WAIT_MS)
        return 0 if self._jobs else MAX_WAIT_MS

    @staticmethod
    def _safely(job: Job) -> None:
        try:
            job()
        except Exception as error:
            log.error("sip_job_failed", error=type(error).__name__, name=getattr(job, "__name__", "job"))

    def post(self, job: Job) -> None:
        """Run a job in the SIP thread, soon. From any thread."""
        self._jobs.append(job)
        if threading.get_ident() != self._thread:
            self._waker.sendto(b"\r\n\r\n", (self.config.address, self.config.sip_port))

    def inject(self, message: str) -> None:
        """Have PJSIP read this SIP message as if it came from the network."""
        self._waker.sendto(message.encode(), (self.config.address, self.config.sip_port))

    def send(self, message: str, peer: tuple[str, int]) -> None:
        """Send a SIP message beside PJSIP."""
        self._waker.sendto(message.encode(), peer)

    def register_thread(self, name: str) -> None:
        """Make PJSIP know the calling thread."""
        self._endpoint.libRegisterThread(name)

    def call_later(self, delay_s: float, job: Job) -> Timer:
        """Run a job in the SIP thread after a delay. From the SIP thread only."""
        timer = Timer(job)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def keep_for_a_while(self, *objects: object) -> None:
        """Hold references a second longer: PJSIP's media threads may still know the objects."""
        self.call_later(KEEP_OBJECTS_S, lambda: len(objects))

    def stop(self) -> None:
        """End ``run``. From any thread."""

        def set_stopping() -> None:
            self._stopping = True

        self.post(set_stopping)
