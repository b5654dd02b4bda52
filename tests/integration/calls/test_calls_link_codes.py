"""Behind a PBX's queue: the operator keys ``*9`` and a code, the cell says which code, and nobody else hears it."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.rtp import Stream, free_port
from tests.phones.site import Site, until

CARD = "4111111111111111"


def expect(site: Site, code: str, seconds: float = 60.0) -> str:
    link_id = new_id("link")
    site.panel.run(site.panel.hub.expect_link_code(link_id, code, seconds))
    return link_id


def keyed(site: Site, call: Call, count: int = 1) -> Any:
    return site.panel.wait("call.link-code", count, call_id=call.call_id)


def events_of(call: Call) -> Stream:
    return Stream(event_type=call.agent.peer_event_type()).silence(0.1)


def test_a_code_is_seen_as_events_and_as_tones_outside_and_in_a_capture(site: Site) -> None:
    call = Call(site)
    links = [expect(site, code) for code in ("4071", "2580", "6193", "3748")]
    call.agent_plays(events_of(call).events("*94071", 0.08, 0.08).silence(0.2))
    call.agent_plays(Stream().silence(0.1).keys("*92580", 0.08, 0.07).silence(0.3))
    payment = call.capture(fields=[Field.CARD_NUMBER])
    call.agent_plays(events_of(call).events("*96193", 0.08, 0.08).silence(0.2))
    call.agent_plays(Stream().silence(0.1).keys("*93748", 0.08, 0.07).silence(0.3))
    assert [keyed(site, call, count).link_id for count in (1, 2, 3, 4)] == links
    assert call.caller_heard().events == []
    # and none of it is of the card
    call.caller_plays(Stream().silence(0.1).keys(CARD + "#", 0.08, 0.07).silence(0.3))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}


def test_a_code_as_info_is_seen_and_the_caller_does_not_get_it(site: Site) -> None:
    link_id = expect(site, "1379")
    agent_rtp, steps = free_port(), ""
    for number, key in enumerate("*91379"):
        steps += sipp.agent_request(
            "INFO", 2 + number, f"Signal={key}\nDuration=160", "application/dtmf-relay"
        )
        steps += sipp.receive("200")
    text = sipp.agent(agent_rtp)
    waiting = '<recv request="BYE"'
    call = Call(site, agent_scenario=text.replace(waiting, sipp.pause(800) + steps + waiting))
    assert keyed(site, call).link_id == link_id
    assert call.caller_heard().events == []
    call.hang_up()
    assert call.agent.wait() == 0, call.agent.errors()


def test_a_wrong_code_is_told_without_its_digits_and_a_code_is_good_once_and_for_its_time(site: Site) -> None:
    call = Call(site)
    expect(site, "9753", 0.3)
    link_id = expect(site, "7777")
    call.agent_plays(events_of(call).events("*91234*97777*97777*99753", 0.07, 0.06).silence(0.3))
    assert [keyed(site, call, count).link_id for count in (1, 2, 3, 4)] == [None, link_id, None, None]
    assert call.caller_heard().events == []
    said = "".join(event.model_dump_json() for event in site.panel.of_type("call.link-code", call.call_id))
    assert not any(character.isdigit() for character in said)
    # As words: ports and fractions of a second have such digits, too.
    assert not re.search(r"(?<![0-9.])(1234|7777|9753)(?!\d)", site.log())


def test_what_is_no_code_reaches_the_caller(site: Site) -> None:
    call = Call(site)
    expect(site, "4321")
    call.agent_plays(events_of(call).events("5*8#**3", 0.08, 0.08).silence(0.5))
    until(lambda: call.caller_heard().events == list("5*8#**3"), what="keys at the caller's phone")
    assert not site.panel.of_type("call.link-code", call.call_id)


@pytest.mark.keys_pass(tones=r"\*+9+8+6+4+2+", events=r"\*98642")
def test_the_caller_cannot_key_a_code_nor_its_echo(site: Site) -> None:
    call = Call(site)
    expect(site, "8642")
    tones = Stream().silence(0.2).keys("*98642", 0.09, 0.08).silence(0.6)
    call.caller_plays(tones, wait=False)
    time.sleep(0.15)
    call.agent_plays(
        Stream().silence(0.2).keys("*98642", 0.09, 0.08).silence(0.6)
    )  # a loudspeaker in the room
    call.caller_plays(Stream().silence(0.1).events("*98642", 0.08, 0.08).silence(0.5))
    assert not site.panel.of_type("call.link-code", call.call_id)
