"""Hold, resume and a change of codec in the middle of a capture: it goes on, and the mask stays."""

from __future__ import annotations

import time

import pytest

from paycall.domain.fields import Field
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.rtp import PCMA, PCMU, RtpPort, Stream
from tests.phones.site import Site, until

NUMBER = [Field.CARD_NUMBER]
HOLD_AT_MS, HELD_MS = 3000, 600
RESUMED = '<nop><action><log message="resumed now"/></action></nop>\n'


def changed_by_caller(method: str, rtp_port: int, first: str, then: str, codecs: tuple[int, ...]) -> str:
    """A caller that offers ``first``, and then ``then``, by re-INVITE or UPDATE."""
    user = "49"
    steps = []
    for number, direction in enumerate((first, then)):
        body = sipp.sdp(rtp_port, codecs, direction=direction)
        steps += [sipp.in_dialog(method, user, 2 + number, body), sipp.receive("100", 'optional="true"')]
        steps.append(sipp.receive("200"))
        steps += [sipp.in_dialog("ACK", user, 2 + number)] if method == "INVITE" else []
        steps.append(sipp.pause(HELD_MS))
    text = sipp.caller(rtp_port, user, hold_ms=HOLD_AT_MS)
    head, tail = text.split(sipp.pause(HOLD_AT_MS))
    steps[-1] = RESUMED
    rest = sipp.pause(20_000) + tail.replace("CSeq: 2", "CSeq: 9")
    return head + sipp.pause(HOLD_AT_MS) + "".join(steps) + rest


def changed_by_agent(method: str, rtp_port: int, first: str, then: str, codecs: tuple[int, ...]) -> str:
    """An agent that does the same."""
    steps = []
    for number, direction in enumerate((first, then)):
        body = sipp.sdp(rtp_port, codecs, direction=direction)
        steps += [sipp.agent_request(method, 2 + number, body), sipp.receive("100", 'optional="true"')]
        steps.append(sipp.receive("200"))
        steps += [sipp.agent_request("ACK", 2 + number)] if method == "INVITE" else []
        steps.append(sipp.pause(HELD_MS))
    steps[-1] = RESUMED
    text = sipp.agent(rtp_port)
    waiting = '<recv request="BYE"'
    return text.replace(waiting, sipp.pause(HOLD_AT_MS) + "".join(steps) + waiting)


@pytest.mark.parametrize(
    ("who", "method", "first", "codecs"),
    [
        ("caller", "INVITE", "sendonly", (PCMA,)),
        ("agent", "UPDATE", "inactive", (PCMA,)),
        ("agent", "INVITE", "sendonly", (PCMU,)),
        ("caller", "UPDATE", "sendrecv", (PCMU,)),
    ],
    ids=["caller-holds", "agent-holds-by-update", "agent-holds-and-changes-codec", "caller-changes-codec"],
)
def test_a_capture_survives_a_change_of_media(
    site: Site, who: str, method: str, first: str, codecs: tuple[int, ...]
) -> None:
    caller_rtp, agent_rtp = site.add(RtpPort()), site.add(RtpPort())
    change = changed_by_caller if who == "caller" else changed_by_agent
    port = caller_rtp.port if who == "caller" else agent_rtp.port
    text = change(method, port, first, "sendrecv", codecs)
    call = Call(
        site,
        caller_scenario=text if who == "caller" else sipp.caller(caller_rtp.port),
        agent_scenario=text if who == "agent" else sipp.agent(agent_rtp.port),
    )
    payment = call.capture(fields=NUMBER)
    since = time.monotonic()
    caller_rtp.play(Stream().silence(0.1).keys("411111", 0.07, 0.06).silence(0.2), call.caller_peer)
    site.panel.wait("capture.progress", 6, call_id=call.call_id)
    phone = call.caller if who == "caller" else call.agent
    until(lambda: phone.logged("resumed"), what="second change of media")
    later = PCMU if codecs == (PCMU,) and who == "caller" else PCMA
    resumed = time.monotonic()
    caller_rtp.play(
        Stream(payload_type=later).silence(0.1).keys("1111111111#", 0.07, 0.06).silence(0.4), call.caller_peer
    )
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: "4111111111111111"}
    heard = agent_rtp.heard(since)
    assert heard.recovered() == ""
    assert agent_rtp.heard(resumed).packets > 50
    assert not site.panel.of_type("call.alarm", call.call_id)
    assert phone.errors() == ""
