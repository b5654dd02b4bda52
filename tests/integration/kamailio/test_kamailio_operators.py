"""Operators' phones register with a digest at their own instance, and cells ring them there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

import dsp
from paycall import kamailio as texts
from paycall.domain.fields import Field
from tests.phones import sipp
from tests.phones.baresip import Baresip
from tests.phones.kamailio import Kamailio
from tests.phones.rtp import RtpPort, Stream, free_port
from tests.phones.site import Site, until

NUMBER = [Field.CARD_NUMBER]
CARD = "4111111111111111"
PASSWORD = "right-horse"


@pytest.fixture(scope="module")
def desk() -> Iterator[tuple[Site, Kamailio, int]]:
    """A cell that rings anna at the operators' instance, and the port of its second route and trunk."""
    port, second_port, carrier_port = free_port(), free_port(), free_port()
    with Site(
        agent_uri=f"sip:anna@127.0.0.1:{port}",
        fallback_uris=[f"sip:second@127.0.0.1:{second_port}"],
        operator_networks=[f"127.0.0.1:{port}"],
        operator_header_from=["agent"],
        trunk={"uri": f"sip:127.0.0.1:{second_port}", "outbound_proxy": f"sip:127.0.0.1:{carrier_port}"},
    ) as site:
        carrier = Kamailio(site, port=carrier_port)
        operators = Kamailio(site, "operators", port=port)
        texts.write_phones(operators.folder, {"anna": texts.ha1("anna", "paycall", PASSWORD)})
        operators.command("htable.reload", "phones")
        try:
            yield site, operators, second_port
        finally:
            operators.close()
            carrier.close()


def phone(operators: Kamailio, password: str) -> Baresip:
    account = (
        f"<sip:anna@127.0.0.1:{operators.port}>;auth_user=anna;auth_pass={password};regint=60;answermode=auto"
    )
    return Baresip(dsp.silence(30.0), account=account)


def test_who_is_not_registered_is_no_answer_and_the_next_route_is_tried(
    desk: tuple[Site, Kamailio, int],
) -> None:
    site, _, second_port = desk
    rtp = site.add(RtpPort())
    site.add(sipp.Sipp(sipp.agent(rtp.port), second_port))
    site.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), site.target))
    connected = site.panel.wait("call.connected")
    assert connected.agent_uri == site.settings["fallback_uris"][0]
    site.panel.run(site.panel.hub.hang_up(connected.call_id))
    site.panel.wait("call.ended")
    site.hang_up_all()


def test_a_phone_that_registered_is_rung_and_hears_no_key(desk: tuple[Site, Kamailio, int]) -> None:
    site, operators, _ = desk
    anna = site.add(phone(operators, PASSWORD))
    until(lambda: "anna" in operators.command("ul.dump"), what="registration")
    mark = len(site.panel.events)
    rtp = site.add(RtpPort())
    caller = site.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), site.target))
    call_id = site.panel.wait("call.connected", since=mark).call_id
    assert site.panel.wait("call.operator", call_id=call_id).operator == "anna"
    payment = site.panel.start_capture(call_id, NUMBER)
    peer = ("127.0.0.1", caller.peer_rtp())
    rtp.play(Stream().silence(0.3).keys(CARD + "#", 0.07, 0.06).silence(0.5), peer)
    site.panel.wait("capture.completed", call_id=call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    anna.command("hangup")
    assert site.panel.wait("call.ended", call_id=call_id).reason == "agent-hung-up"
    site.hang_up_all()


def test_a_phone_that_registered_dials_a_customer(desk: tuple[Site, Kamailio, int]) -> None:
    """Phone, operators' instance, cell, carrier's instance as outbound proxy, customer."""
    site, operators, trunk_port = desk
    rtp = site.add(RtpPort())
    site.add(sipp.Sipp(sipp.agent(rtp.port), trunk_port))
    mark = len(site.panel.events)
    anna = site.add(phone(operators, PASSWORD))
    anna.command("dial", f"sip:+4930123456@127.0.0.1:{operators.port}")
    call = site.panel.wait("call.arrived", since=mark)
    assert (call.direction, call.caller, call.operator) == ("outbound", "+4930123456", "anna")
    site.panel.wait("call.connected", call_id=call.call_id)
    anna.command("hangup")
    site.panel.wait("call.ended", call_id=call.call_id)
    site.hang_up_all()


def test_only_cells_ring_phones_and_only_phones_dial(desk: tuple[Site, Kamailio, int]) -> None:
    """Who finds the operators' address and has no password reaches nobody."""
    site, operators, _ = desk
    scenario = sipp.scenario(
        "stranger",
        sipp.invite("49", sipp.sdp(20000)),
        sipp.receive("407"),
        sipp.in_dialog("ACK", "49", 1),
    )
    stranger = site.add(sipp.Sipp(scenario, free_port(), operators.target, service="anna"))
    assert stranger.wait() == 0, stranger.errors()


def test_a_wrong_password_is_refused_and_guessing_is_not_answered(
    desk: tuple[Site, Kamailio, int],
) -> None:
    site, operators, _ = desk
    operators.command("ul.flush")
    wrong = site.add(phone(operators, "wrong"))  # it goes on trying
    until(lambda: "value: 10" in operators.command("htable.dump", "failed"), what="count of failures")
    right = site.add(phone(operators, PASSWORD))
    time.sleep(0.7)
    assert "anna" not in operators.command("ul.dump")
    for each in (wrong, right):
        each.process.kill()  # it would try to sign off
