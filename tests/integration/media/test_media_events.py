"""RFC 4733 as bad lines and long thumbs send it: each press is one key, whatever happened to its packets."""

from __future__ import annotations

import time

import dsp
from paycall.domain.fields import Field
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.rtp import PCMA, RtpPort, Stream
from tests.phones.site import Site, until
from tests.phones.spandsp import spandsp_keys

CARD = "4111111111111111"
SECOND = 8000
CHANGED = 110


def changes_event_type(rtp_port: int) -> str:
    """A caller whose re-INVITE, a second after the answer, gives events another payload type."""
    text = sipp.caller(rtp_port, "49", hold_ms=1000)
    head, tail = text.split(sipp.pause(1000))
    again = [
        sipp.in_dialog("INVITE", "49", 2, sipp.sdp(rtp_port, event_type=CHANGED)),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("200", actions='<log message="changed yes"/>'),
        sipp.in_dialog("ACK", "49", 2),
    ]
    return head + sipp.pause(1000) + "".join(again) + sipp.pause(60_000) + tail.replace("CSeq: 2", "CSeq: 9")


class Trouble(Stream):
    """A stream whose events have lost, late and overflowing packets."""

    def held(self, key: str, seconds: int) -> Trouble:
        """A key held so long that its duration overflows (2.5.1.3): the next segment goes on. Sent in a hurry."""
        start, duration = self._ts, 0
        for step in range(seconds):
            duration += SECOND
            if duration > 0xFFFF:
                self._add(self.event_type, start, self._event(key, 0xFFFF, end=False))
                start, duration = start + 0xFFFF, duration - 0xFFFF
            self._add(self.event_type, start, self._event(key, duration, end=False), marker=step == 0)
            self.at_s += 0.02
        for _ in range(3):
            self._add(self.event_type, start, self._event(key, duration, end=True))
        self._ts += seconds * SECOND
        return self

    def beheaded(self, key: str) -> Trouble:
        """A press whose first three packets are lost."""
        first = len(self.packets)
        self.event(key, 0.1)
        del self.packets[first : first + 3]
        return self

    def overtaken(self, key: str) -> Trouble:
        """A press whose end overtakes an earlier packet."""
        self.event(key, 0.1)
        late = self.packets.pop(-5)
        self.packets.insert(-2, (self.packets[-3][0] + 0.003, late[1]))
        return self

    def twice(self, key: str) -> Trouble:
        """A press that comes as a tone, and then as an event."""
        return self.audio(dsp.dtmf_tone(key, 0.04, -10.0)).event(key, 0.04)  # type: ignore[return-value]


def test_each_press_is_one_key_whatever_happens_to_its_packets(site: Site) -> None:
    rtp = site.add(RtpPort())
    call = Call(site, caller_scenario=changes_event_type(rtp.port))
    payment = call.capture(fields=[Field.CARD_NUMBER])
    until(lambda: call.caller.logged("changed "), what="answer to the re-INVITE")
    stream = Trouble(payload_type=PCMA, event_type=CHANGED).silence(0.1)
    stream.held("4", 10).silence(0.06)
    for key in "111":
        stream.event(key, 0.06, ends=0).silence(0.04)
    for key in "111":
        stream.twice(key).silence(0.04)
    for key in "111":
        stream.beheaded(key).silence(0.06)
    for key in "111":
        stream.overtaken(key).silence(0.06)
    stream.events("111#", 0.06, 0.04).silence(0.4)
    since = time.monotonic()
    rtp.play(stream, call.caller_peer)
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    assert [event.digits for event in site.panel.of_type("capture.progress", call.call_id)] == list(
        range(1, 17)
    )
    heard = call.agent_heard(since)
    assert heard.packets
    assert (heard.recovered(), spandsp_keys(heard.pcm), heard.events) == ("", "", [])


def test_tone_and_event_of_a_press_are_one_behind_a_line_that_stalls(site: Site) -> None:
    """Packets held up for 0.4 s fill the jitter buffer: from then on the sound comes later than the events."""
    call = Call(site)
    payment = call.capture(fields=[Field.CARD_NUMBER])
    stream = Trouble().silence(0.4)
    for key in CARD + "#":
        stream.twice(key).silence(0.06)
    call.caller_plays(stream.silence(0.6).stalled(0.9, 0.4))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
