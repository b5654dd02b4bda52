"""A call's life: joined, ended by either side, refused, redirected; the panel away."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from paycall.control.hub import SessionInProgressError
from paycall.control.messages import CallSnapshot
from paycall.domain.errors import InputError, NotFoundError, StateError
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.domain.ports import CaptureRules
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.plain_agent import PlainAgent
from tests.phones.rtp import Heard, Stream, free_port
from tests.phones.site import Site, sip_message, until
from tests.phones.sounds import hears_tone

NUMBER = [Field.CARD_NUMBER]


def tone(hz: float, seconds: float = 0.6) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 8000)) / 8000)).astype(np.int16)


def assert_hears(heard: Callable[[], Heard], hz: float) -> None:
    until(lambda: hears_tone(heard().pcm, hz), what=f"tone of {hz} Hz")


def ended(site: Site, call: Call) -> str:
    return site.panel.wait("call.ended", since=call.mark).reason


def test_both_hear_each_other(site: Site) -> None:
    call = Call(site)
    call.caller_plays(Stream().audio(tone(440)), wait=False)
    call.agent_plays(Stream().audio(tone(620)))
    assert_hears(call.agent_heard, 440)
    assert_hears(call.caller_heard, 620)
    arrived = site.panel.wait("call.arrived", since=call.mark)
    assert (arrived.caller, arrived.called) == ("4930123456", "paycall")


def test_caller_hangs_up(site: Site) -> None:
    call = Call(site, caller={"hold_ms": 500})
    assert ended(site, call) == "caller-hung-up"
    assert call.agent.wait() == 0
    assert call.caller.wait() == 0


def test_agent_hangs_up(site: Site) -> None:
    call = Call(site, caller={"hold_ms": 0}, agent={"hold_ms": 500})
    assert ended(site, call) == "agent-hung-up"
    assert call.caller.wait() == 0
    assert call.agent.wait() == 0


def test_caller_hangs_up_in_a_capture(site: Site) -> None:
    call = Call(site, caller={"hold_ms": 3000})
    call.capture()
    assert site.panel.wait("capture.ended", call_id=call.call_id).error == "caller-hung-up"
    assert ended(site, call) == "caller-hung-up"


def test_cancel_before_the_answer_ends_the_agent_s_ringing(site: Site) -> None:
    cancelled = sipp.message(
        f"""CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0
        {sipp.VIA.replace("[branch]", "[branch-3]")}
        From: Caller <sip:49@[local_ip]:[local_port]>;tag=[pid]caller[call_number]
        To: <sip:[service]@[remote_ip]:[remote_port]>
        Call-ID: [call_id]
        CSeq: 1 CANCEL"""
    )
    caller = sipp.scenario(
        "cancel",
        sipp.invite("49", sipp.sdp(free_port())),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180"),
        cancelled,
        sipp.receive("200"),
        sipp.receive("487"),
        sipp.message(
            f"""ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
            {sipp.VIA.replace("[branch]", "[branch-6]")}
            From: Caller <sip:49@[local_ip]:[local_port]>;tag=[pid]caller[call_number]
            To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
            Call-ID: [call_id]
            CSeq: 1 ACK"""
        ),
    )
    agent = sipp.scenario(
        "cancelled",
        sipp.receive("INVITE", actions=sipp.KEEP_CSEQ),
        sipp.reply("180 Ringing"),
        sipp.receive("CANCEL"),
        sipp.message(sipp.ANSWER_OK),
        sipp.reply("487 Request Terminated", cseq=sipp.KEPT_CSEQ),
        sipp.receive("ACK"),
    )
    call = Call(site, caller_scenario=caller, agent_scenario=agent, connected=False)
    assert ended(site, call) == "cancelled"
    assert call.agent.wait() == 0, call.agent.errors()
    assert call.caller.wait() == 0, call.caller.errors()


@pytest.mark.parametrize(
    ("answer", "reason", "told"),
    [
        ("486 Busy Here", "busy", "486"),
        ("480 Temporarily Unavailable", "no-answer", "480"),
        ("404 Not Found", "unreachable", "503"),
    ],
)
def test_an_agent_that_does_not_take_the_call(site: Site, answer: str, reason: str, told: str) -> None:
    caller = sipp.refused(told)
    agent = sipp.refusing(answer)
    call = Call(site, caller_scenario=caller, agent_scenario=agent, connected=False)
    assert ended(site, call) == reason
    assert call.caller.wait() == 0, call.caller.errors()


def test_an_agent_that_answers_with_what_nobody_can_hear_is_not_reached(site: Site) -> None:
    """G.729, which was not offered: the caller is not answered, and pays for no call."""
    g729 = sipp.sdp(free_port()).replace("RTP/AVP 8 ", "RTP/AVP 18 ").replace("8 PCMA", "18 G729")
    agent = site.add(PlainAgent(site.agent_port, g729))
    mark = len(site.panel.events)
    caller = site.add(sipp.Sipp(sipp.refused("503"), free_port(), site.target))
    assert site.panel.wait("call.ended", since=mark).reason == "unreachable"
    assert caller.wait() == 0, caller.errors()
    until(lambda: "BYE" in agent.requests, what="BYE to the agent")


def test_a_full_cell_refuses_and_its_calls_go_on(site: Site) -> None:
    ports = [free_port(), free_port()]
    # For two calls; sipp counts a late ACK of the test before as one, too.
    site.add(sipp.Sipp(sipp.agent(ports[0]), site.agent_port, calls=4))
    mark = len(site.panel.events)
    site.add(sipp.Sipp(sipp.caller(ports[1]), free_port(), site.target, calls=2, rate=5))
    site.panel.wait("call.connected", 2, since=mark)
    refused = sipp.refused("486")
    third = site.add(sipp.Sipp(refused, free_port(), site.target))
    assert third.wait() == 0, third.errors()
    assert len(site.panel.of_type("call.arrived", since=mark)) == 2
    assert not site.panel.of_type("call.ended", since=mark)


def test_commands_in_the_wrong_state_are_refused(site: Site) -> None:
    hub, run = site.panel.hub, site.panel.run
    with pytest.raises(NotFoundError):
        run(hub.start_capture(new_id("call"), new_id("pay"), NUMBER, CaptureRules()))
    call = Call(site)
    with pytest.raises(StateError):
        run(hub.end_capture(call.call_id, new_id("pay")))
    with pytest.raises(InputError):
        run(hub.start_capture(call.call_id, new_id("pay"), [*NUMBER, *NUMBER], CaptureRules()))
    payment = call.capture(fields=NUMBER)
    with pytest.raises(SessionInProgressError):
        call.capture(fields=NUMBER)
    with pytest.raises(StateError):
        run(hub.capture_fields(call.call_id, new_id("pay"), NUMBER))
    run(hub.capture_fields(call.call_id, payment, [Field.EXPIRY]))
    call.caller_plays(Stream().silence(0.2).events("1230", 0.06, 0.06))
    stored = site.panel.wait("capture.stored", call_id=call.call_id)
    assert stored.field is Field.EXPIRY
    with pytest.raises(StateError):
        run(hub.route_call(call.call_id, "sip:other@127.0.0.1"))


def test_malformed_sip_is_shrugged_off(site: Site) -> None:
    call = Call(site)
    at = ("127.0.0.1", site.sip_port)
    for text in (
        "INVITE",
        "\x00\xff" * 40,
        "INVITE sip:a SIP/2.0\r\nVia: \r\nCSeq: x y\r\n\r\n",
        "BYE x\r\n\r\n" * 50,
    ):
        sip_message(text, at, timeout_s=0.2)  # most of it is not answered
    call.caller_plays(Stream().audio(tone(440)))
    assert_hears(call.agent_heard, 440)


def test_the_panel_away_calls_take_the_default_route_and_a_capture_goes_on() -> None:
    with Site(route_wait_s=10.0) as site:
        call = Call(site, connected=False)
        arrived = site.panel.wait("call.arrived")
        site.panel.run(site.panel.hub.route_call(arrived.call_id, ""))
        call.caller_peer = ("127.0.0.1", call.caller.peer_rtp())
        call.call_id = site.panel.wait("call.connected").call_id
        payment = call.capture(fields=NUMBER)
        site.panel.stop()
        since = time.monotonic()
        call.caller_plays(Stream().silence(0.2).keys("4111111111111111#").silence(0.4))
        until(lambda: site.vault.values(payment), what="field in the vault")
        assert call.agent_heard(since).recovered() == ""
        before = len(site.panel.events)
        call.caller.close()
        call.agent.close()
        began = time.monotonic()
        second = Call(site, connected=False)  # nobody routes it: the default agent, without the wait
        second.caller.peer_rtp()
        assert time.monotonic() - began < 9.0
        site.panel.start()
        stored = site.panel.wait("capture.stored", since=before)
        assert stored.payment_id == payment
        ours = call.call_id

        def told() -> list[CallSnapshot]:
            """The call as the cell's hello tells of it, which follows what was resent."""
            hellos = site.panel.of_type("hello", since=before)
            return [each for hello in hellos for each in hello.calls if each.call_id == ours]

        (snapshot,) = until(told, what="hello with the call")
        assert (snapshot.masked, snapshot.payment_id) == (True, payment)
