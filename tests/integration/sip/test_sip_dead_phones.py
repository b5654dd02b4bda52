"""Phones that are gone: what nobody answers keeps a place of a cell's for seconds, not for half a minute."""

from __future__ import annotations

import signal
import socket
import time

from tests.phones import sipp
from tests.phones.rtp import RtpPort, free_port
from tests.phones.site import Site, until

FREED_S = 24.0  # four or five on a quiet machine; PJSIP by itself: 32


def silent(port: int) -> socket.socket:
    """A port that takes everything and says nothing."""
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", port))
    end.setblocking(False)
    return end


def requests(end: socket.socket) -> set[str]:
    """The methods of all that came."""
    came = set()
    while True:
        try:
            came.add(end.recv(9000).partition(b" ")[0].decode())
        except BlockingIOError:
            return came


def assert_both_places_are_free(site: Site, since: float) -> None:
    """Two calls are connected side by side; a phone that is refused tries again."""
    rtp = site.add(RtpPort())
    mark = len(site.panel.events)
    for number in (1, 2):
        phone = site.add(sipp.Sipp(sipp.caller(rtp.port, hold_ms=0), free_port(), site.target))
        while len(site.panel.of_type("call.connected", since=mark)) < number:
            assert time.monotonic() - since < FREED_S, "the cell is full"
            if phone.process.poll() is not None:
                phone = site.add(sipp.Sipp(sipp.caller(rtp.port, hold_ms=0), free_port(), site.target))
            time.sleep(0.05)


def test_agents_that_are_not_there_do_not_fill_the_cell() -> None:
    """Two routes each, of which neither answers: four places that nobody is in."""
    dead = free_port()
    refused = sipp.refused("503")
    with Site(fallback_uris=[f"sip:op@127.0.0.1:{dead}"], reply_timeout_s=0.7) as site:
        ends = [silent(site.agent_port), silent(dead)]
        callers = site.add(sipp.Sipp(refused, free_port(), site.target, calls=2, rate=20))
        site.panel.wait("call.arrived", 1)
        assert callers.wait() == 0, callers.errors()
        since = time.monotonic()
        site.panel.wait("call.ended", 1)
        until(lambda: "CANCEL" in requests(ends[1]), FREED_S, "word that nobody waits any more")
        for end in ends:
            end.close()
        rtp = site.add(RtpPort())
        site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port, calls=100))
        assert_both_places_are_free(site, since)


def test_phones_that_died_in_their_calls_do_not_fill_the_cell() -> None:
    with Site() as site:
        rtp = site.add(RtpPort())
        agents = site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port, calls=2))
        callers = site.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), site.target, calls=2, rate=20))
        site.panel.wait("call.connected", 2)
        for phone in (agents, callers):
            phone.process.send_signal(signal.SIGSTOP)  # its port takes everything still
        since = time.monotonic()
        for event in site.panel.of_type("call.connected"):
            site.panel.run(site.panel.hub.hang_up(event.call_id))
        site.panel.wait("call.ended", 2)
        agents.process.kill()
        agents.process.wait()
        site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port, calls=100))
        assert_both_places_are_free(site, since)
