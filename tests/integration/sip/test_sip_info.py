"""Keys as SIP INFO at a bare cell, in every form that phones and carriers send: read once, and no end of the cell."""

from __future__ import annotations

from tests.phones import sipp
from tests.phones.plain_agent import PlainAgent
from tests.phones.rtp import RtpPort, free_port
from tests.phones.site import Site, until

RELAY, PLAIN = "application/dtmf-relay", "application/dtmf"
# content type, body, the answer, the key
FORMS = [
    (RELAY, "Signal=1", 200, "1"),  # PJSIP would abort
    (RELAY, "Signal=2\r\n", 200, "2"),
    (RELAY, "Signal= 3\r\nDuration= 160\r\n", 200, "3"),
    (RELAY, "Duration=160\r\nSignal=4", 200, "4"),
    (RELAY, "signal=5\r\nduration=160", 200, "5"),
    (RELAY, "Signal=11\r\nDuration=160", 200, "#"),
    (RELAY, "Signal=10", 200, "*"),
    (RELAY, "6", 200, "6"),
    (f"{RELAY}; charset=utf-8", "Signal=7\nDuration=160\n", 200, "7"),
    (RELAY, "Signal=a\r\nDuration=160\r\n", 200, "A"),
    (PLAIN, "8", 500, "8"),
    (f"{PLAIN}; a=b", "9\r\n", 500, "9"),
    (PLAIN, "11", 500, "#"),
    (PLAIN, "Signal=0\r\nDuration=160", 500, "0"),
    (RELAY, "Signal=", 400, ""),
    (RELAY, "Signal", 400, ""),
    (RELAY, "Signal=16\r\nDuration=160", 400, ""),
    (RELAY, "Signal=55\r\nDuration=160", 400, ""),
    (RELAY, "Duration=160\r\n", 400, ""),
    (RELAY, " ", 400, ""),
    (PLAIN, "no key", 500, ""),
    (RELAY, "Signal=D\r\nDuration=160\r\n", 200, "D"),
]


def test_each_form_is_one_key_and_none_ends_the_cell() -> None:
    with Site() as site:
        pids = site.pids()
        caller_rtp, agent_rtp = site.add(RtpPort()), site.add(RtpPort())
        agent = site.add(PlainAgent(site.agent_port, sipp.sdp(agent_rtp.port)))
        site.add(sipp.Sipp(sipp.caller(caller_rtp.port, hold_ms=0), free_port(), site.target))
        site.panel.wait("call.connected")
        for content_type, body, status, _ in FORMS:
            assert agent.info(content_type, body) == status, (content_type, body)
        keys = [key for *_, key in FORMS if key]
        until(lambda: len(caller_rtp.heard().events) >= len(keys), 20.0, "keys at the caller's phone")
        assert caller_rtp.heard().events == keys
        assert site.pids() == pids
