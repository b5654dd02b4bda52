"""What else phones and trunks do: early media, reliable ringing, late offers, timers, codecs, SRTP, TCP, routes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import dsp
from paycall.domain.fields import Field
from tests.phones import sipp
from tests.phones.baresip import Baresip
from tests.phones.call import Call
from tests.phones.rtp import PCMA, PCMU, Heard, RtpPort, Stream, free_port
from tests.phones.site import Site, until
from tests.phones.sounds import hears_tone

NUMBER = [Field.CARD_NUMBER]
CARD = "4111111111111111"


def tone(hz: float, seconds: float = 0.6) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 8000)) / 8000)).astype(np.int16)


def assert_hears(heard: Callable[[], Heard], hz: float) -> None:
    until(lambda: hears_tone(heard().pcm, hz), what=f"tone of {hz} Hz")


def assert_capture_works(site: Site, call: Call) -> None:
    payment = call.capture(fields=NUMBER)
    since = time.monotonic()
    codec = call.caller_payload_type
    call.caller_plays(Stream(payload_type=codec).silence(0.2).keys(CARD + "#", 0.07, 0.06).silence(0.4))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    heard = call.agent_heard(since)
    assert heard.packets
    assert heard.recovered() == ""


def test_each_leg_has_its_own_codec(site: Site) -> None:
    caller, agent = PCMU, PCMA
    call = Call(site, caller={"codecs": (caller,)}, agent={"codecs": (agent,)})
    call.caller_payload_type = caller
    call.caller_plays(Stream(payload_type=caller).audio(tone(440)), wait=False)
    call.agent_plays(Stream(payload_type=agent).audio(tone(620)).silence(0.1))
    assert_hears(call.agent_heard, 440)
    assert_hears(call.caller_heard, 620)
    assert_capture_works(site, call)


def test_baresip_s_tones_in_g722_are_captured_and_masked(site: Site) -> None:
    codec, rate_hz, name = "g722", 16000, "G722"
    parts = [dsp.silence(2.0, rate_hz)]
    for key in CARD + "#":
        parts += [dsp.dtmf_tone(key, 0.1, -10.0, sample_rate_hz=rate_hz), dsp.silence(0.1, rate_hz)]
    agent_rtp = site.add(RtpPort())
    site.add(sipp.Sipp(sipp.agent(agent_rtp.port), site.agent_port))
    phone = site.add(
        Baresip(np.concatenate([*parts, dsp.silence(20.0, rate_hz)]), codec=codec, rate_hz=rate_hz)
    )
    mark = len(site.panel.events)
    phone.command("dial", f"sip:paycall@{site.target}")
    call_id = site.panel.wait("call.connected", since=mark).call_id
    payment = site.panel.start_capture(call_id, NUMBER)
    site.panel.wait("capture.completed", call_id=call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    assert agent_rtp.heard().recovered() == ""
    assert f"audio encoder: {name}" in phone.output()


def test_baresip_s_events_are_captured_over_srtp() -> None:
    with Site(srtp="optional") as site:
        agent_rtp = site.add(RtpPort())
        site.add(sipp.Sipp(sipp.agent(agent_rtp.port), site.agent_port))
        phone = site.add(Baresip(dsp.silence(30.0), options=";mediaenc=srtp-mand"))
        phone.command("dial", f"sip:paycall@{site.target}")
        call_id = site.panel.wait("call.connected").call_id
        payment = site.panel.start_capture(call_id, NUMBER)
        phone.press(CARD + "#")
        site.panel.wait("capture.completed", call_id=call_id)
        assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
        assert "SRTP is Enabled" in phone.output()


def test_early_media_is_heard_before_the_answer(site: Site) -> None:
    agent_rtp = site.add(RtpPort())
    agent = sipp.scenario(
        "early",
        sipp.receive("INVITE", 'rrs="true"', sipp.RTP_OF_PEER),
        sipp.reply("183 Session Progress", sipp.sdp(agent_rtp.port)),
        sipp.pause(4000),
        sipp.reply("200 OK", sipp.sdp(agent_rtp.port), attributes='retrans="500"'),
        sipp.acknowledged(),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    caller_rtp = site.add(RtpPort())
    caller = sipp.caller(caller_rtp.port).replace(
        sipp.receive("183", 'optional="true"'), sipp.receive("183", 'optional="true"', sipp.RTP_OF_PEER)
    )
    call = Call(site, caller_scenario=caller, agent_scenario=agent, connected=False)
    peer = ("127.0.0.1", call.agent.peer_rtp())
    call.caller.peer_rtp()
    agent_rtp.play(Stream().silence(0.2).audio(tone(620)).silence(0.2), peer, wait=False)
    assert_hears(caller_rtp.heard, 620)
    assert not site.panel.of_type("call.connected", since=call.mark)
    site.panel.wait("call.connected", since=call.mark)


def test_a_reliable_provisional_answer_is_acknowledged(site: Site) -> None:
    agent_port = free_port()
    agent = sipp.scenario(
        "prack",
        sipp.receive("INVITE", 'rrs="true"', sipp.RTP_OF_PEER + sipp.KEEP_INVITE),
        sipp.reply("180 Ringing", headers="Require: 100rel\n        RSeq: 17"),
        sipp.receive("PRACK"),
        sipp.message(sipp.ANSWER_OK),
        sipp.pause(200),
        sipp.message(sipp.LATER_ANSWER.format(status="200 OK"), sipp.sdp(agent_port), 'retrans="500"'),
        sipp.acknowledged(),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    call = Call(site, agent_scenario=agent)
    call.hang_up()
    assert call.agent.wait() == 0, call.agent.errors()


def test_a_caller_that_demands_reliable_ringing_gets_it(site: Site) -> None:
    rtp = site.add(RtpPort())
    user = "49"
    demand = "Require: 100rel\n        Supported: 100rel"
    rseq = '<ereg regexp="([0-9]+)" search_in="hdr" header="RSeq:" check_it="true" assign_to="11,12"/>'
    caller = sipp.scenario(
        "reliable",
        sipp.invite(user, sipp.sdp(rtp.port), demand),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'rrs="true"', rseq),
        sipp.in_dialog("PRACK", user, 2, headers="RAck: [$12] 1 INVITE"),
        sipp.receive("200"),
        sipp.receive("200", 'rrs="true"', sipp.RTP_OF_PEER),
        sipp.in_dialog("ACK", user, 1),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    call = Call(site, caller_scenario=caller, agent={"ring_ms": 500})
    call.hang_up()
    assert call.caller.wait() == 0, call.caller.errors()


def test_a_late_offer_is_answered_in_the_ack(site: Site) -> None:
    rtp = site.add(RtpPort())
    user = "49"
    caller = sipp.scenario(
        "late",
        sipp.invite(user, ""),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'optional="true"'),
        sipp.receive("200", 'rrs="true"', sipp.RTP_OF_PEER),
        sipp.in_dialog("ACK", user, 1, sipp.sdp(rtp.port)),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    call = Call(site, caller_scenario=caller)
    rtp.play(Stream().audio(tone(440)).silence(0.1), call.caller_peer)
    assert_hears(call.agent_heard, 440)


def test_session_timers_are_agreed_and_refreshed(site: Site) -> None:
    rtp = site.add(RtpPort())
    user = "49"
    expires = (
        '<ereg regexp="90;refresher=uac" search_in="hdr" header="Session-Expires:" check_it="true" '
        'assign_to="9"/>'
    )
    caller = sipp.scenario(
        "timer",
        sipp.invite(user, sipp.sdp(rtp.port), "Supported: timer\n        Session-Expires: 90;refresher=uac"),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'optional="true"'),
        sipp.receive("200", 'rrs="true"', sipp.RTP_OF_PEER + expires),
        sipp.in_dialog("ACK", user, 1),
        sipp.pause(300),
        sipp.in_dialog(
            "UPDATE", user, 2, headers="Supported: timer\n        Session-Expires: 90;refresher=uac"
        ),
        sipp.receive("200"),
        sipp.in_dialog("UPDATE", user, 3, sipp.sdp(rtp.port)),
        sipp.receive("200", actions='<log message="refreshed twice"/>'),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    call = Call(site, caller_scenario=caller)
    until(lambda: call.caller.logged("refreshed"), what="both UPDATEs")
    rtp.play(Stream().audio(tone(440)).silence(0.1), call.caller_peer)
    assert_hears(call.agent_heard, 440)
    call.hang_up()
    assert call.caller.wait() == 0, call.caller.errors()


def test_a_caller_over_tcp(site: Site) -> None:
    agent_rtp, caller_rtp = site.add(RtpPort()), site.add(RtpPort())
    site.add(sipp.Sipp(sipp.agent(agent_rtp.port), site.agent_port))
    mark = len(site.panel.events)
    caller = site.add(
        sipp.Sipp(sipp.caller(caller_rtp.port, hold_ms=3000), free_port(), site.target, transport="t1")
    )
    caller_rtp.play(Stream().audio(tone(440)).silence(0.1), ("127.0.0.1", caller.peer_rtp()))
    assert_hears(agent_rtp.heard, 440)
    assert caller.wait() == 0, caller.errors()
    assert site.panel.wait("call.ended", since=mark).reason == "caller-hung-up"


def test_the_next_route_is_tried_when_an_agent_does_not_take_the_call() -> None:
    ports = [free_port() for _ in range(2)]
    fallbacks = [f"sip:second@127.0.0.1:{ports[0]}", f"sip:third@127.0.0.1:{ports[1]}"]
    busy = sipp.refusing("486 Busy Here")
    silent = sipp.scenario(
        "silent",
        sipp.receive("INVITE", actions=sipp.KEEP_CSEQ),
        sipp.reply("180 Ringing"),
        sipp.receive("CANCEL"),
        sipp.message(sipp.ANSWER_OK),
        sipp.reply("487 Request Terminated", cseq=sipp.KEPT_CSEQ),
        sipp.receive("ACK"),
    )
    with Site(fallback_uris=fallbacks, ring_timeout_s=1.0) as site:
        third_rtp = site.add(RtpPort())
        site.add(sipp.Sipp(silent, ports[0]))
        site.add(sipp.Sipp(sipp.agent(third_rtp.port), ports[1]))
        call = Call(site, agent_scenario=busy, connected=False)
        connected = site.panel.wait("call.connected", since=call.mark)
        assert connected.agent_uri == fallbacks[1]
        peer = ("127.0.0.1", call.caller.peer_rtp())
        call.caller_rtp.play(Stream().audio(tone(440)).silence(0.1), peer)
        assert_hears(third_rtp.heard, 440)


def test_the_policy_always_masks_from_the_first_sound() -> None:
    with Site(mask_policy="always") as site:
        call = Call(site)
        noise = (2000 * np.random.default_rng(5).standard_normal(8000)).astype(np.int16)
        call.caller_plays(Stream().audio(noise).silence(0.2).keys("159").events("7").silence(0.5))
        until(lambda: np.count_nonzero(np.abs(call.agent_heard().pcm.astype(int)) > 500) > 4000, what="noise")
        heard = call.agent_heard()
        assert heard.recovered() == ""
        assert heard.events == []
        call.caller_payload_type = PCMA
        assert_capture_works(site, call)
        site.panel.run(
            site.panel.hub.end_capture(call.call_id, site.panel.of_type("capture.started")[0].payment_id)
        )
        site.panel.wait("capture.ended")
        since = time.monotonic()
        call.caller_plays(Stream().keys("159").silence(0.4))
        assert call.agent_heard(since).recovered() == ""
