"""Transfers to what is no phone: refused or told to have failed; the call goes on, and can be transferred still."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.phones import sipp
from tests.phones.plain_agent import PlainAgent
from tests.phones.rtp import RtpPort, free_port
from tests.phones.site import Site, until

NO_ADDRESS = [
    "<tel:+36123456>",
    "<http://x/>",
    "<sip:>",
    "<sips:x@127.0.0.1:9>",
    "<sip:x@[::1]:5>",
    "<sip:x@127.0.0.1:99999>",
    f"<sip:{'a' * 400}@127.0.0.1:9>",
    "<>",
    "",
    "garbage",
]
NOT_TO_BE_DIALLED = [
    "<sip:x@127.0.0.1:9;method=BYE>",
    "<sip:x@127.0.0.1;transport=sctp>",
    "<sip:x@127.0.0.1:9?Replaces=%00%00>",
    "<sip:x@999.999.1.1>",
]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One cell; legs to operators have an account of their own, for SRTP."""
    with Site(agent_srtp="optional", reply_timeout_s=1.0) as running:
        yield running


def _hand_on(agent: PlainAgent, target: str) -> None:
    """As soon as the cell has a place for one more leg (603 until then): PJSIP frees one half a second late."""
    until(lambda: agent.refer(target) == 202, what=f"place for {target}")


def test_what_is_no_phone_is_not_dialled_and_a_phone_is(site: Site) -> None:
    pids = site.pids()
    rtp = site.add(RtpPort())
    agent = site.add(PlainAgent(site.agent_port, sipp.sdp(rtp.port)))
    site.add(sipp.Sipp(sipp.caller(rtp.port, hold_ms=0), free_port(), site.target))
    call_id = site.panel.wait("call.connected").call_id
    for target in NO_ADDRESS:
        assert agent.refer(target) in (400, 603), target
    for number, target in enumerate(NOT_TO_BE_DIALLED, start=1):
        _hand_on(agent, target)
        until(lambda count=number: site.log().count("transfer_failed") == count, what=f"end of {target}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        since = time.monotonic()
        _hand_on(agent, f"<sip:x@127.0.0.1:{silent.getsockname()[1]}>")
        count = len(NOT_TO_BE_DIALLED) + 1
        until(lambda: site.log().count("transfer_failed") == count, what="end of what nobody answers")
        assert time.monotonic() - since < 20.0, "32 s are PJSIP's patience"
    assert not site.panel.of_type("call.ended")
    port = free_port()
    site.add(sipp.Sipp(sipp.agent(rtp.port), port))
    _hand_on(agent, f"<sip:second@127.0.0.1:{port}>")
    assert site.panel.wait("call.transferred", call_id=call_id).agent_uri == f"sip:second@127.0.0.1:{port}"
    until(lambda: "BYE" in agent.requests, what="BYE to the phone that handed it on")
    assert site.pids() == pids
    site.panel.run(site.panel.hub.hang_up(call_id))
    site.panel.wait("call.ended", call_id=call_id)
