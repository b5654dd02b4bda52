"""Who has a call, told by SIP: headers that are trusted, transfers; and an agent that cannot be reached."""

from __future__ import annotations

import socket
import time

import pytest

from paycall.domain.fields import Field
from tests.phones import sipp, trunk
from tests.phones.call import Call
from tests.phones.rtp import RtpPort, Stream, free_port
from tests.phones.site import Site

NOTIFIED = (sipp.receive("NOTIFY"), sipp.message(sipp.ANSWER_OK))


def naming_answer() -> str:
    """A phone whose answer says who has the call."""
    plain = "SIP/2.0 200 OK\n[last_Via:]"
    return sipp.agent(free_port()).replace(plain, plain.replace("\n", "\nX-Paycall-Operator: ben\n"), 1)


def test_the_agents_answer_and_the_callers_invite_name_the_operator(site: Site) -> None:
    call = Call(site, agent_scenario=naming_answer(), caller={"headers": "X-Paycall-Operator: 207"})
    assert site.panel.wait("call.operator", call_id=call.call_id).operator == "ben"
    assert site.panel.of_type("call.arrived", call.call_id)[0].operator == "207"
    call.hang_up()


def test_who_calls_and_whom_they_called_first_reach_the_agent(site: Site) -> None:
    """P-Asserted-Identity and Diversion are passed on as they came."""
    wanted = trunk.find("P-Asserted-Identity", "sip:.?4930123456@carrier.example", 12)
    wanted += trunk.find("Diversion", "sip:.?498001234@carrier.example.*reason=no-answer", 13)
    text = sipp.agent(free_port()).replace("</action>", wanted + "</action>", 1)
    text = text.replace('<Reference variables="', '<Reference variables="12,13,')
    headers = "P-Asserted-Identity: <sip:+4930123456@carrier.example>\n        "
    headers += "Diversion: <sip:+498001234@carrier.example>;reason=no-answer"
    call = Call(site, agent_scenario=text, caller={"headers": headers, "user": "anonymous"})
    assert site.panel.of_type("call.arrived", call.call_id)[0].caller == "+4930123456"
    call.hang_up()
    assert call.agent.wait() == 0, call.agent.errors()


def test_a_blind_transfer_in_a_capture_follows_and_masks_the_new_phone_from_its_first_packet(
    site: Site,
) -> None:
    """The old agent has hung up before the new phone, with early media, even rings."""
    new_rtp, new_port = site.add(RtpPort()), free_port()
    ringing = sipp.scenario(
        "new",
        sipp.receive("INVITE", 'rrs="true"', sipp.RTP_OF_PEER),
        sipp.pause(400),
        sipp.reply("183 Session Progress", sipp.sdp(new_rtp.port)),
        sipp.pause(1500),
        sipp.reply("200 OK", sipp.sdp(new_rtp.port), attributes='retrans="500"'),
        sipp.acknowledged(),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    new_phone = site.add(sipp.Sipp(ringing, new_port))
    refer = sipp.agent_request("REFER", 2, headers=f"Refer-To: <sip:second@127.0.0.1:{new_port}>")
    head = sipp.agent(free_port()).split('<recv request="BYE"')[0]
    gone = sipp.pause(1500) + refer + sipp.receive("202") + "".join(NOTIFIED)
    gone += sipp.agent_request("BYE", 3) + sipp.receive("200")
    call = Call(site, agent_scenario=head + gone + '<Reference variables="1,2,3,4,5,6,7"/>\n</scenario>\n')
    payment = call.capture(fields=[Field.CARD_NUMBER])
    tones = Stream().silence(0.1).keys("4111111111111111#", 0.12, 0.1).silence(0.3)
    new_phone.peer_rtp()
    call.caller_plays(tones)  # from before its early media until after its answer
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: "4111111111111111"}
    moved = site.panel.wait("call.transferred", call_id=call.call_id)
    assert moved.agent_uri == f"sip:second@127.0.0.1:{new_port}"
    heard = new_rtp.heard()
    assert heard.packets > 100
    assert heard.recovered() == ""
    # the operator at the new phone can say so
    link = "link_" + "a" * 22
    site.panel.run(site.panel.hub.expect_link_code(link, "5150", 30.0))
    new_rtp.play(
        Stream(event_type=new_phone.peer_event_type()).silence(0.1).events("*95150").silence(0.3),
        ("127.0.0.1", new_phone.peer_rtp()),
    )
    assert site.panel.wait("call.link-code", call_id=call.call_id).link_id == link
    call.hang_up()
    assert new_phone.wait() == 0, new_phone.errors()


@pytest.mark.parametrize(
    ("listening", "reply_timeout_s"), [(False, 30.0), (True, 1.5)], ids=["closed-port", "silent-port"]
)
def test_an_agent_that_cannot_be_reached_is_told_at_once(listening: bool, reply_timeout_s: float) -> None:
    """A closed port says so by ICMP; one that swallows everything is given up after the setting's time."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port = free_port()
    if listening:
        silent.bind(("127.0.0.1", port))
    try:
        with Site(agent_uri=f"sip:operator@127.0.0.1:{port}", reply_timeout_s=reply_timeout_s) as site:
            refused = sipp.scenario(
                "caller", sipp.invite("49", sipp.sdp(free_port())), sipp.receive("100", 'optional="true"'),
                sipp.receive("503"), sipp.in_dialog("ACK", "49", 1),
            )  # fmt: skip
            began = time.monotonic()
            caller = site.add(sipp.Sipp(refused, free_port(), site.target))
            ended = site.panel.wait("call.ended")
            assert ended.reason == "unreachable"
            assert time.monotonic() - began < 20.0, "the setting's or SIP's own 30 seconds"
            assert caller.wait() == 0, caller.errors()
    finally:
        silent.close()


def test_the_next_route_is_tried_at_once_and_without_the_setting_nobody_is_believed() -> None:
    second_port = free_port()
    with Site(
        agent_uri=f"sip:operator@127.0.0.1:{free_port()}",
        reply_timeout_s=30.0,
        fallback_uris=[f"sip:second@127.0.0.1:{second_port}"],
    ) as site:
        second = site.add(sipp.Sipp(naming_answer(), second_port))
        began = time.monotonic()
        text = sipp.caller(free_port(), hold_ms=500, headers="X-Paycall-Operator: 207")
        caller = site.add(sipp.Sipp(text, free_port(), site.target))
        assert site.panel.wait("call.connected").agent_uri == f"sip:second@127.0.0.1:{second_port}"
        assert time.monotonic() - began < 20.0, "the setting's 30 seconds"
        assert caller.wait() == 0, caller.errors()
        assert second.wait() == 0, second.errors()
        assert site.panel.of_type("call.arrived")[0].operator == ""
        assert not site.panel.of_type("call.operator")
