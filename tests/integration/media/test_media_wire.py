"""What every test with a call relies on: tshark's capture of an operator's leg holds each key that is let through,
whatever the leg speaks, and none while a capture runs."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from paycall.domain.fields import Field
from tests.phones import capture, sipp
from tests.phones.call import Call
from tests.phones.legs import Keys
from tests.phones.rtp import PCMA, PCMU, RtpPort, Stream
from tests.phones.site import PATIENCE_S, Site

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
            operator = phone(rtp.port, codec, encrypted=number == 3)
            calls.append(Call(site, target=target, agent_scenario=operator))
            calls[-1].agent.close()  # the next one answers at the same port
            calls[-1].agent_rtp = rtp
        found: list[Keys] = []
        end = time.monotonic() + PATIENCE_S
        while not found or not all(
            set("159") <= {*leg.tones} and set("26") <= {*leg.events} for leg in found
        ):
            assert time.monotonic() < end, "keys that do not come through"
            key(calls)
            found = capture.search()
        assert len(found) == len(calls)
        for leg in found:
            with pytest.raises(AssertionError, match="tones on an operator"):
                capture.assert_keys([leg])
            with pytest.raises(AssertionError, match="events on an operator"):
                capture.assert_keys([replace(leg, tones="", tones_by_spandsp="")])
        assert calls[-1].agent_heard().packets
        assert calls[-1].agent_heard().recovered() == "", "readable without the key"
        for call in calls:
            call.capture(fields=[Field.CARD_NUMBER])
        capture.search()
        capture.forget()
        key(calls)
        for call in calls:
            site.panel.wait("capture.progress", 3, call_id=call.call_id)
        capture.assert_keys(capture.search())


def key(calls: list[Call]) -> None:
    """All callers at once; what a machine without time loses of it is keyed again."""
    for call in calls:
        call.caller_plays(
            Stream().silence(0.2).keys("159", 0.08, 0.08).events("26", 0.08, 0.16).silence(0.6), wait=False
        )
    for call in calls:
        call.caller_rtp.wait()
