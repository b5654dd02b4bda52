"""What every test with a call relies on: tshark's capture of an operator's leg holds each key that is let through,
whatever the leg speaks, and none while a capture runs."""

from __future__ import annotations

import pytest

from paycall.domain.fields import Field
from tests.phones import capture, sipp
from tests.phones.call import Call
from tests.phones.rtp import PCMA, PCMU, RtpPort, Stream
from tests.phones.site import Site, until

G722 = 9
# The third of what PJSIP offers; the phone's own key, which it never uses: it is silent.
CRYPTO = "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n"


def phone(rtp_port: int, codec: int, *, encrypted: bool) -> str:
    """An operator's phone."""
    text = sipp.agent(rtp_port, codecs=(codec,))
    return text.replace("a=ptime", CRYPTO + "a=ptime") if encrypted else text


def test_the_search_finds_keys_without_a_capture_and_none_in_one() -> None:
    """Four calls side by side: A-law, µ-law, G.722 and SRTP."""
    with Site(cells=2, agent_srtp="optional") as site:
        calls = []
        for number, codec in enumerate((PCMA, PCMU, G722, PCMA)):
            rtp = site.add(RtpPort())
            target = f"127.0.0.1:{site.sip_port + number // 2}"
            calls.append(
                Call(site, target=target, agent_scenario=phone(rtp.port, codec, encrypted=number == 3))
            )
            calls[
                -1
            ].agent.close()  # the next one answers at the same port; the call needs no word of this phone
            calls[-1].agent_rtp = rtp
        for call in calls:
            call.caller_plays(
                Stream().silence(0.2).keys("159", 0.08, 0.08).events("26", 0.08, 0.16).silence(0.2),
                wait=False,
            )
        until(lambda: [leg.events for leg in capture.search()] == ["26"] * 4, what="events on the wire")
        for leg in capture.search():
            capture.assert_keys([leg], "1+5+9+", "26")
            with pytest.raises(AssertionError, match="tones on an operator"):
                capture.assert_keys([leg])
        assert calls[-1].agent_heard().packets
        assert calls[-1].agent_heard().recovered() == "", "readable without the key"
        capture.forget()
        payments = [call.capture(fields=[Field.SECURITY_CODE]) for call in calls]
        for call in calls:
            call.caller_plays(
                Stream().silence(0.1).keys("15", 0.08, 0.08).silence(0.6).events("2").silence(0.4), wait=False
            )
        for call, payment in zip(calls, payments, strict=True):
            site.panel.wait("capture.completed", call_id=call.call_id)
            assert site.vault.values(payment) == {Field.SECURITY_CODE: "152"}
        capture.assert_keys(capture.search())
