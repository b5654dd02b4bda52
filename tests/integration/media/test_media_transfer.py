"""The agent hands the call on (REFER) in the middle of a capture: it goes on, and the new agent hears no key."""

from __future__ import annotations

import re
import time

from paycall.domain.fields import Field
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.rtp import RtpPort, Stream, free_port
from tests.phones.site import Site, until

NUMBER = [Field.CARD_NUMBER]
NOTIFIED = (sipp.receive("NOTIFY"), sipp.message(sipp.ANSWER_OK))


def transferring(rtp_port: int, refer_to: str, *steps: str) -> str:
    """An agent that answers and asks for a transfer 1.5 s later."""
    refer = sipp.agent_request(
        "REFER", 2, headers=f"Refer-To: <{refer_to}>\n        Referred-By: <sip:operator@[local_ip]>"
    )
    text = sipp.agent(rtp_port)
    waiting = '<recv request="BYE"'
    return text.replace(waiting, sipp.pause(1500) + refer + "".join(steps) + waiting)


def key_half(call: Call, keys: str) -> None:
    call.caller_plays(Stream().silence(0.1).keys(keys, 0.07, 0.06).silence(0.3))


def test_a_capture_survives_an_attended_transfer(site: Site) -> None:
    """The blind one is the same without the Replaces, which PJSIP puts into the new INVITE."""
    replaces = "?Replaces=abc%40other%3Bto-tag%3D1%3Bfrom-tag%3D2"
    old_rtp, new_rtp, new_port = site.add(RtpPort()), site.add(RtpPort()), free_port()
    found = (
        '<ereg regexp="abc@other;to-tag=1" search_in="hdr" header="Replaces:" check_it="true" assign_to="9"/>'
    )
    second = sipp.scenario(
        "second",
        sipp.receive("INVITE", 'rrs="true"', sipp.RTP_OF_PEER + found),
        sipp.reply("183 Session Progress", sipp.sdp(new_rtp.port)),
        sipp.pause(1200),
        sipp.reply("200 OK", sipp.sdp(new_rtp.port), attributes='retrans="500"'),
        sipp.acknowledged(),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    new_phone = site.add(sipp.Sipp(second, new_port))
    first = transferring(
        old_rtp.port,
        f"sip:second@127.0.0.1:{new_port}{replaces}",
        sipp.receive("202"),
        *NOTIFIED,
        *NOTIFIED,
        *NOTIFIED,
    )
    call = Call(site, agent_scenario=first)
    payment = call.capture(fields=NUMBER)
    key_half(call, "41111111")
    new_phone.peer_rtp()
    key_half(call, "1111")  # while the new phone rings, with early media
    assert call.agent.wait() == 0, call.agent.errors()
    moved = site.panel.wait("call.transferred", call_id=call.call_id)
    assert moved.agent_uri == f"sip:second@127.0.0.1:{new_port}"  # the new INVITE's headers are no address
    since = time.monotonic()
    key_half(call, "1111#")
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: "4111111111111111"}
    assert old_rtp.heard().recovered() == ""
    assert new_rtp.heard().recovered() == ""
    assert new_rtp.heard(since).packets > 20
    mark = time.monotonic()
    new_rtp.play(Stream().keys("5").silence(0.3), ("127.0.0.1", new_phone.peer_rtp()))
    until(lambda: "5" in call.caller_heard(mark).recovered(), what="sound of the new phone")
    call.hang_up()
    assert new_phone.wait() == 0, new_phone.errors()


def test_a_transfer_that_fails_leaves_the_call_as_it_was(site: Site) -> None:
    agent_rtp, busy_port = site.add(RtpPort()), free_port()
    busy = sipp.scenario("busy", sipp.receive("INVITE"), sipp.reply("486 Busy Here"), sipp.receive("ACK"))
    site.add(sipp.Sipp(busy, busy_port))
    first = transferring(
        agent_rtp.port, f"sip:second@127.0.0.1:{busy_port}", sipp.receive("202"), *NOTIFIED, *NOTIFIED
    )
    call = Call(site, agent_scenario=first)
    call.capture(fields=NUMBER)
    failed = re.compile(f"transfer_failed .*{call.call_id}")
    until(lambda: failed.search(site.log()), what="end of the transfer")
    since = time.monotonic()
    key_half(call, "4111")
    heard = agent_rtp.heard(since)
    assert heard.packets > 20
    assert heard.recovered() == ""
    assert not site.panel.of_type("call.transferred", call.call_id)
    call.hang_up()
    assert call.agent.wait() == 0, call.agent.errors()


def test_a_full_cell_refuses_a_transfer_and_its_calls_go_on(site: Site) -> None:
    agent_rtp, caller_port = free_port(), free_port()
    text = transferring(
        agent_rtp, "sip:second@127.0.0.1:9", sipp.receive("603", actions='<log message="told no"/>')
    )
    agents = site.add(sipp.Sipp(text, site.agent_port, calls=2))
    mark = len(site.panel.events)
    site.add(sipp.Sipp(sipp.caller(caller_port), free_port(), site.target, calls=2, rate=5))
    site.panel.wait("call.connected", 2, since=mark)
    until(lambda: agents.log().count("told no") == 2, what="two refused transfers")
    assert not site.panel.of_type("call.ended", since=mark)
    for event in site.panel.of_type("call.connected", since=mark):
        site.panel.run(site.panel.hub.hang_up(event.call_id))
    assert agents.wait() == 0, agents.errors()


# the last one: PJSIP goes on notifying the phone that has left, and sipp takes such a message for a call
def test_an_agent_that_leaves_at_once_and_a_target_that_fails_end_the_call(site: Site) -> None:
    agent_rtp, busy_port = free_port(), free_port()
    busy = sipp.scenario(
        "busy", sipp.receive("INVITE"), sipp.pause(700), sipp.reply("486 Busy Here"), sipp.receive("ACK")
    )
    site.add(sipp.Sipp(busy, busy_port))
    text = transferring(agent_rtp, f"sip:second@127.0.0.1:{busy_port}", sipp.receive("202"), *NOTIFIED)
    head = text.split('<recv request="BYE"')[0]
    bye = sipp.agent_request("BYE", 3) + sipp.receive("200")
    references = '<Reference variables="1,2,3,4,5,6,7"/>\n</scenario>\n'
    call = Call(site, caller={"hold_ms": 0}, agent_scenario=head + bye + references)
    assert site.panel.wait("call.ended", since=call.mark).reason == "agent-hung-up"
    assert call.caller.wait() == 0, call.caller.errors()
