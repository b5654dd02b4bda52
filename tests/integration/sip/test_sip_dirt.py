"""Floods, malformed SIP and bad RTP beside a running call with a running capture: both go on, the mask holds."""

from __future__ import annotations

import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from paycall.domain.fields import Field
from paycall.health import sip_answers
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.kamailio import Kamailio
from tests.phones.rtp import Stream, free_port
from tests.phones.site import Site, until
from tests.phones.spandsp import spandsp_keys
from tests.phones.torture import TORTURE

NUMBER = [Field.CARD_NUMBER]
CARD = "4111111111111111"
FLOOD_S = 2.0
CUT_OFF_S = (
    1.0  # people think that the line is dead; a machine without time for all of this makes gaps up to 0.4
)
INVITES_A_S = 500
_INVITE = (
    "INVITE sip:shop@{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{mark}\r\n"
    "From: <sip:flood@{own}>;tag={mark}\r\nTo: <sip:shop@{host}>\r\nCall-ID: {mark}\r\nCSeq: 1 INVITE\r\n"
    "Contact: <sip:flood@{own}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n"
    "Content-Length: {length}\r\n\r\n{body}"
)


def flood(target: tuple[str, int], sources: tuple[str, ...]) -> None:
    """New INVITEs at an even pace, from each of the addresses in turn."""
    ends = []
    for source in sources:
        ends.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ends[-1].bind((source, 0))
    body = sipp.sdp(9).replace("[local_ip]", "127.0.0.9").replace("\n", "\r\n")
    start, sent = time.monotonic(), 0
    try:
        while sent < FLOOD_S * INVITES_A_S:  # all of them, also where this process gets no time for the pace
            due = (time.monotonic() - start) * INVITES_A_S
            while sent < min(due, FLOOD_S * INVITES_A_S):
                end = ends[sent % len(ends)]
                text = _INVITE.format(
                    host=target[0],
                    port=target[1],
                    own="{}:{}".format(*end.getsockname()),
                    mark=secrets.token_hex(8),
                    length=len(body),
                    body=body,
                )
                end.sendto(text.encode(), target)
                sent += 1
            time.sleep(0.002)
    finally:
        for end in ends:
            end.close()


class Running:
    """A call with a capture that is keyed while something else happens."""

    def __init__(self, site: Site, target: str) -> None:
        self.site = site
        self.call = Call(site, target=target)
        self.payment = self.call.capture(fields=NUMBER)

    def keys_during(self, seconds: float) -> threading.Thread:
        """Start the caller's sound: speech-like noise, then the card's keys, all in about ``seconds``."""
        self.since = time.monotonic()
        noise = (1500 * np.random.default_rng(7).standard_normal(int(8000 * 0.5))).astype(np.int16)
        pause_s = max((seconds - 1.0) / 17 - 0.09, 0.06)
        stream = Stream().audio(noise).keys(CARD + "#", 0.09, pause_s).silence(0.5)
        thread = threading.Thread(target=self.call.caller_plays, args=(stream,))
        thread.start()
        return thread

    def check(self) -> None:
        """The keys were captured, the agent's phone heard sound without a gap and no key."""
        self.site.panel.wait("capture.completed", call_id=self.call.call_id)
        assert self.site.vault.values(self.payment) == {Field.CARD_NUMBER: CARD}
        heard = self.call.agent_heard(self.since)
        assert heard.largest_gap_s < CUT_OFF_S
        assert np.count_nonzero(np.abs(heard.pcm.astype(int)) > 300) > 2000, "no sound passes"
        assert (heard.events, heard.recovered(), spandsp_keys(heard.pcm)) == ([], "", "")


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Site, Kamailio]]:
    """A node with two cells, and Kamailio in front; the test that leaves unanswered calls behind comes last."""
    with Site(cells=2, ring_timeout_s=2.0) as running:
        yield running, running.add(Kamailio(running))


@pytest.fixture
def site(shared: tuple[Site, Kamailio]) -> Iterator[Site]:
    """The module's node, with no call on it before and after."""
    site, carrier = shared
    yield site
    panel = site.panel
    assert panel is not None
    arrived = {event.call_id for event in panel.of_type("call.arrived")}
    lost = {call_id for event in panel.of_type("node.cell-lost") for call_id in event.call_ids}
    for call_id in arrived - lost - {event.call_id for event in panel.of_type("call.ended")}:
        panel.run(panel.hub.hang_up(call_id))
    for call_id in arrived - lost:
        panel.wait("call.ended", call_id=call_id)
    site.phones.remove(carrier)
    site.hang_up_all()
    site.add(carrier)


@pytest.fixture
def carrier(shared: tuple[Site, Kamailio]) -> Kamailio:
    """The module's Kamailio."""
    return shared[1]


def rubbish(count: int) -> list[bytes]:
    """Datagrams to an RTP port: too short, wrong versions, unknown payload types, odd extensions, RTCP, noise."""
    random = np.random.default_rng(3)
    made = []
    for number in range(count):
        length = int(random.integers(0, 400))
        noise = random.integers(0, 256, length, dtype=np.uint8).tobytes()
        head = struct.pack("!BBHII", 0x80, int(random.integers(0, 128)), number, number * 160, 77)
        made += [
            noise,
            head + noise,
            struct.pack("!BBH", 0xBF, 0xFF, 0xFFFF) + noise,
            b"\x80\xc8\xff\xff" + noise,
            b"\x90\x08" + head[2:] + b"\xbe\xde\xff\xff",
            b"\x80\x65" + head[2:] + b"\x04",
        ]
    return made


def test_rubbish_at_the_rtp_ports_neither_mutes_nor_leaks(site: Site) -> None:
    """From a third address, while both phones send (PJMEDIA follows who sends ten between two of theirs)."""
    pids = site.pids()
    running = Running(site, site.target)
    running.call.agent_plays(Stream().silence(4.0), wait=False)
    keying = running.keys_during(3.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.66", 0))
        for datagram in rubbish(60):
            for peer in (running.call.caller_peer, running.call.agent_peer):
                end.sendto(datagram, peer)
            time.sleep(0.005)
    keying.join()
    running.check()
    assert site.pids() == pids


def test_stalls_and_loss_cost_no_key_and_no_mask(site: Site) -> None:
    """40 ms stalls five times a second and 5 % of packets lost; half of the keys as tones, half as events."""
    call = Call(site)
    payment = call.capture(fields=NUMBER)
    noise = (1500 * np.random.default_rng(7).standard_normal(4000)).astype(np.int16)
    stream = (
        Stream()
        .audio(noise)
        .keys(CARD[:8], 0.16, 0.14)
        .silence(0.6)
        .events(CARD[8:], 0.1, 0.1)
        .keys("#", 0.16)
    )
    since = time.monotonic()
    call.caller_plays(stream.silence(0.5).lossy(0.05, seed=5).stalled(0.2, 0.04))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    heard = call.agent_heard(since)
    assert heard.largest_gap_s < CUT_OFF_S
    assert np.count_nonzero(np.abs(heard.pcm.astype(int)) > 300) > 1500
    assert (heard.events, heard.recovered(), spandsp_keys(heard.pcm)) == ([], "", "")


def test_torture_messages_end_neither_cell_nor_kamailio_nor_call() -> None:
    """Some of them are calls: the agents' phone hears of these for seconds more, so the site is the test's own."""
    with Site(cells=2) as site:
        torture(site, site.add(Kamailio(site)))


def torture(site: Site, carrier: Kamailio) -> None:
    pids = site.pids()
    running = Running(site, site.target)
    keying = running.keys_during(3.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.66", 0))
        for message in TORTURE.values():
            for port in (site.sip_port, carrier.port):
                end.sendto(message, ("127.0.0.1", port))
            time.sleep(0.03)
    with socket.create_connection(("127.0.0.1", site.sip_port), 2.0) as stream:
        stream.sendall(b"".join(TORTURE.values()))
        time.sleep(0.2)
    keying.join()
    running.check()
    assert site.pids() == pids
    until(lambda: sip_answers("127.0.0.1", carrier.port), what="answer of Kamailio")
    assert carrier.process.poll() is None
    assert "mhandley" not in carrier.log(), "a body"


def test_a_flood_of_invites_at_kamailio_touches_no_running_call(site: Site, carrier: Kamailio) -> None:
    """Half of it from the address that the running call comes from."""
    pids = site.pids()
    running = Running(site, carrier.target)
    keying = running.keys_during(FLOOD_S + 0.5)
    flood(("127.0.0.1", carrier.port), ("127.0.0.1", "127.0.0.66"))
    keying.join()
    running.check()
    assert site.pids() == pids
    assert not site.panel.of_type("node.cell-lost")
    running.call.hang_up()


def test_a_flood_at_a_bare_cell_costs_nobody_the_call() -> None:
    """Not even the flooded cell's own: what PJSIP would abort at is never reached."""
    with Site() as site:
        pids = site.pids()
        running = Running(site, site.target)
        keying = running.keys_during(FLOOD_S + 0.5)
        flood(("127.0.0.1", site.sip_port), ("127.0.0.66",))
        until(lambda: sip_answers("127.0.0.1", site.sip_port), what="answer of the flooded cell")
        keying.join()
        running.check()
        assert site.pids() == pids
        assert not site.panel.of_type("node.cell-lost")


def test_a_flood_of_calls_that_end_at_once_does_not_end_the_cell() -> None:
    """Operators who are busy: each call and each route takes sockets of PJSIP's for half a second beyond its end."""
    busy = sipp.refusing("486 Busy Here")
    port = free_port(count=2)
    routes = [f"sip:operator@127.0.0.1:{port + number}" for number in (0, 1)]
    with Site(agent_uri=routes[0], fallback_uris=[routes[1]]) as site:
        pids = site.pids()
        for number in (0, 1):
            site.add(sipp.Sipp(busy, port + number, calls=10_000))
        flood(("127.0.0.1", site.sip_port), ("127.0.0.66",))
        until(lambda: sip_answers("127.0.0.1", site.sip_port), what="answer of the flooded cell")
        assert site.pids() == pids
        # The flood did reach calls and their routes; how many in two seconds is the machine's affair.
        site.panel.wait("call.ended", 2)
