"""What is answered to requests that belong to no call, by Kamailio and by a bare cell; an ACK that never comes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.phones import sipp
from tests.phones.kamailio import Kamailio
from tests.phones.rtp import RtpPort, free_port
from tests.phones.site import Site, sip_message


@pytest.fixture(scope="module")
def fronted() -> Iterator[tuple[Site, Kamailio]]:
    """One cell that waits two seconds for an ACK, and Kamailio."""
    with Site(ack_timeout_s=2.0) as site:
        yield site, site.add(Kamailio(site))


def request(method: str, port: int, *, to_tag: str = "", cseq: str = "") -> str:
    """Status line of the answer to one request."""
    mark = f"{method}{to_tag}{cseq}{time.monotonic_ns()}"
    text = (
        f"{method} sip:paycall@127.0.0.1:{port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK{mark}\r\n"
        f"From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:b@127.0.0.1>{to_tag}\r\nCall-ID: {mark}\r\n"
        f"CSeq: 7 {cseq or method}\r\nContact: <sip:a@127.0.0.1:9>\r\nEvent: presence\r\nMax-Forwards: 9\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    return sip_message(text, ("127.0.0.1", port)).decode().partition("\r\n")[0]


@pytest.mark.parametrize(
    ("method", "status"),
    [
        *((method, "481") for method in ("BYE", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY")),
        *((method, "405") for method in ("REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH")),
        ("BREW", "501"),
        ("OPTIONS", "200"),
        ("CANCEL", "481"),
    ],
)
def test_kamailio_s_answers_outside_a_call(method: str, status: str, fronted: tuple[Site, Kamailio]) -> None:
    assert request(method, fronted[1].port).split(" ")[1] == status


def test_kamailio_s_answers_to_what_is_wrong(fronted: tuple[Site, Kamailio]) -> None:
    port = fronted[1].port
    assert request("OPTIONS", port, cseq="INVITE").startswith("SIP/2.0 400 ")
    assert request("BYE", port, to_tag=";tag=2").startswith("SIP/2.0 481 ")


def test_a_call_that_a_cell_does_not_know_is_gone(fronted: tuple[Site, Kamailio]) -> None:
    """PJSIP says nothing: Kamailio does."""
    site, carrier = fronted
    lines = sipp.scenario(
        "gone",
        sipp.message(
            f"""BYE sip:paycall@{site.target} SIP/2.0
            {sipp.VIA}
            Route: <sip:{carrier.target};lr>
            From: <sip:a@[local_ip]>;tag=1
            To: <sip:b@[local_ip]>;tag=unknown
            Call-ID: [call_id]
            CSeq: 7 BYE
            Max-Forwards: 9"""
        ),
        sipp.receive("481", 'timeout="30000"'),
    )
    asking = site.add(sipp.Sipp(lines, free_port(), carrier.target))
    assert asking.wait() == 0, asking.errors()


def test_a_bare_cell_s_answers(fronted: tuple[Site, Kamailio]) -> None:
    port = fronted[0].sip_port
    assert request("OPTIONS", port).startswith("SIP/2.0 200 ")
    assert request("SUBSCRIBE", port).startswith("SIP/2.0 405 ")


def test_who_never_acknowledges_does_not_keep_the_operator(fronted: tuple[Site, Kamailio]) -> None:
    site, _ = fronted
    rtp = site.add(RtpPort())
    agent = site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port))
    silent = sipp.scenario(
        "late-offer-without-ack",
        sipp.invite("49", ""),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'optional="true"'),
        sipp.receive("200"),
        sipp.pause(8000),
    )
    since = time.monotonic()
    site.add(sipp.Sipp(silent, free_port(), site.target))
    assert agent.wait() == 0, agent.errors()
    assert 1.9 < time.monotonic() - since < 20.0, "SIP's own patience is 32 s"
    assert site.panel.wait("call.ended").reason == "failed"
