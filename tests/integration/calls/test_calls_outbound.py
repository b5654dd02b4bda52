"""Calls that operators dial out: through a trunk that wants credentials, the customer's leg masked all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paycall.domain.errors import NumberNotAllowedError
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.media.status import read_status
from tests.phones import sipp, trunk
from tests.phones.rtp import RtpPort, Stream, free_port
from tests.phones.site import Site, kill, until
from tests.phones.sounds import hears_tone

CARD = "4111111111111111"
NUMBER, CALLER_ID = "+3612345678", "+3619990000"
OPERATORS = "127.0.0.2"  # where the operators' phones are: what tells them from the carrier


class Carrier:
    """A site with a trunk, and the port where the carrier is."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.port = port
        self.rtp: Any = None

    def answers(self, **how: Any) -> sipp.Sipp:
        self.rtp = self.site.add(RtpPort())
        return self.plays(trunk.answering(self.rtp.port, **how))

    def plays(self, scenario: str) -> sipp.Sipp:
        return self.site.add(sipp.Sipp(scenario, self.port))

    def events(self, kind: str, call_id: str) -> list[Any]:
        return self.site.panel.of_type(kind, call_id)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    port = free_port()
    password = tmp_path_factory.mktemp("trunk") / "password"
    password.write_text(trunk.PASSWORD + "\n")
    registrar = sipp.Sipp(trunk.registrar(expires_s=3600), port)  # no second REGISTER to phones at this port
    settings = {
        "uri": f"sip:127.0.0.1:{port}",
        "registrar": f"sip:127.0.0.1:{port}",
        "username": trunk.USER,
        "password_file": str(password),
        "caller_id": CALLER_ID,
        "numbers": r"\+?[0-9]{4,15}",
    }
    with Site(trunk=settings, operator_networks=[f"{OPERATORS}/32"], operator_header_from=["agent"]) as site:
        try:
            assert registrar.wait() == 0, registrar.errors()
            assert trunk.credentials_hold(registrar, "REGISTER")
        finally:
            registrar.close()
        yield Carrier(site, port)


@pytest.fixture
def carrier(whole: Carrier) -> Iterator[Carrier]:
    yield whole
    panel = whole.site.panel
    ended = {event.call_id for event in panel.of_type("call.ended")}
    for event in panel.of_type("call.arrived"):
        if event.call_id not in ended:
            panel.run(panel.hub.hang_up(event.call_id))
            panel.wait("call.ended", call_id=event.call_id)
    whole.site.hang_up_all()


def dials(site: Site, number: str, rtp_port: int, **kwargs: Any) -> sipp.Sipp:
    """An operator's phone that calls a number."""
    text = sipp.caller(rtp_port, user="207", hold_ms=0, rtp_address=OPERATORS, **kwargs)
    return site.add(sipp.Sipp(text, free_port(OPERATORS), site.target, service=number, address=OPERATORS))


def test_the_node_registers_with_its_credentials(carrier: Carrier) -> None:
    until(lambda: "trunk_registered" in carrier.site.log(), what="word of the registration")
    assert trunk.PASSWORD not in carrier.site.log()
    path = Path(carrier.site.settings["status_socket"])
    until(lambda: read_status(path).trunk == "registered", what="word of it in the node's status")


def test_an_operator_dials_and_the_customers_keys_stay_away_from_the_operator(carrier: Carrier) -> None:
    site = carrier.site
    seen = trunk.find("P-Asserted-Identity", CALLER_ID.replace("+", r"\+"), 12)
    seen += trunk.find("From", CALLER_ID.replace("+", r"\+"), 13) + trunk.find("To", NUMBER[1:], 14)
    customer = carrier.answers(checks=seen)
    operator_rtp = site.add(RtpPort(OPERATORS))
    mark = len(site.panel.events)
    with_header = {"headers": "X-Paycall-Operator: anna"}
    operator = dials(site, NUMBER, operator_rtp.port, **with_header)
    call = site.panel.wait("call.arrived", since=mark)
    assert (call.direction, call.caller, call.called, call.operator) == (
        "outbound",
        NUMBER,
        CALLER_ID,
        "anna",
    )
    assert call.agent_uri.startswith("sip:207@")
    site.panel.wait("call.connected", call_id=call.call_id)
    payment = site.panel.start_capture(call.call_id, [Field.CARD_NUMBER])
    to_customer = ("127.0.0.1", customer.peer_rtp())
    carrier.rtp.play(Stream().silence(0.2).keys(CARD[:8], 0.07, 0.06).silence(1.2), to_customer)
    carrier.rtp.play(
        Stream(event_type=customer.peer_event_type()).events(CARD[8:] + "#", 0.07, 0.06), to_customer
    )
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    assert operator_rtp.heard().packets > 50
    site.panel.run(site.panel.hub.hang_up(call.call_id))
    assert site.panel.wait("call.ended", call_id=call.call_id).agent_leg_keys == 0
    assert customer.wait() == 0, customer.errors()
    assert trunk.credentials_hold(customer, "INVITE")
    assert operator.wait() == 0, operator.errors()


def test_click_to_dial_rings_the_operator_and_then_the_customer(carrier: Carrier) -> None:
    site = carrier.site
    customer = carrier.answers(code=401, ring_ms=1500)
    operator_rtp = site.add(RtpPort())
    shown = trunk.find("P-Asserted-Identity", NUMBER[1:], 12)
    text = (
        sipp.agent(operator_rtp.port)
        .replace("</action>", shown + "</action>", 1)
        .replace('<Reference variables="', '<Reference variables="12,')
    )
    operator = site.add(sipp.Sipp(text, site.agent_port))
    call_id = new_id("call")
    site.panel.run(site.panel.hub.dial_out(call_id, site.settings["agent_uri"], NUMBER))
    connected = site.panel.wait("call.connected", call_id=call_id)
    assert connected.agent_uri == site.settings["agent_uri"]
    until(lambda: hears_tone(operator_rtp.heard().pcm, 425), what="ringing that the operator hears")
    payment = site.panel.start_capture(call_id, [Field.CARD_NUMBER])
    to_customer = ("127.0.0.1", customer.peer_rtp())
    carrier.rtp.play(Stream().silence(0.2).keys(CARD + "#", 0.08, 0.07).silence(0.3), to_customer)
    site.panel.wait("capture.completed", call_id=call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    site.panel.run(site.panel.hub.hang_up(call_id))
    assert customer.wait() == 0, customer.errors()
    assert operator.wait() == 0, operator.errors()


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        ("486 Busy Here", "busy", "486"),
        ("480 Temporarily Unavailable", "no-answer", "480"),
        ("603 Decline", "declined", "603"),
        ("404 Not Found", "unreachable", "404"),
    ],
    ids=["busy", "no-answer", "declined", "no-such-number"],
)
def test_what_the_trunk_says_is_told_to_the_operator(
    carrier: Carrier, status: str, reason: str, told: str
) -> None:
    site = carrier.site
    carrier.plays(sipp.refusing(status))
    mark = len(site.panel.events)
    refused = sipp.scenario(
        "operator", sipp.invite("207", sipp.sdp(free_port(), rtp_address=OPERATORS)),
        sipp.receive("100", 'optional="true"'), sipp.receive(told), sipp.in_dialog("ACK", "207", 1),
    )  # fmt: skip
    phone = site.add(sipp.Sipp(refused, free_port(OPERATORS), site.target, service=NUMBER, address=OPERATORS))
    assert phone.wait() == 0, phone.errors()
    assert site.panel.wait("call.ended", since=mark).reason == reason


def test_click_to_dial_tells_whose_phone_it_was(carrier: Carrier) -> None:
    """The operator's own phone does not answer; then it does and the customer is busy."""
    site = carrier.site
    first, second = new_id("call"), new_id("call")
    site.panel.run(site.panel.hub.dial_out(first, f"sip:nobody@127.0.0.1:{free_port()}", NUMBER))
    assert site.panel.wait("call.ended", call_id=first).reason == "operator-not-reached"
    carrier.plays(sipp.refusing("486 Busy Here"))
    operator = site.add(sipp.Sipp(sipp.agent(free_port()), site.agent_port))
    site.panel.run(site.panel.hub.dial_out(second, site.settings["agent_uri"], NUMBER))
    assert site.panel.wait("call.ended", call_id=second).reason == "busy"
    assert operator.wait() == 0, operator.errors()


def test_a_number_that_the_settings_do_not_allow_is_not_dialled(carrier: Carrier) -> None:
    site = carrier.site
    with pytest.raises(NumberNotAllowedError):
        site.panel.run(site.panel.hub.dial_out(new_id("call"), site.settings["agent_uri"], "112"))
    refused = sipp.scenario(
        "operator", sipp.invite("207", sipp.sdp(free_port(), rtp_address=OPERATORS)),
        sipp.receive("100", 'optional="true"'), sipp.receive("403"), sipp.in_dialog("ACK", "207", 1),
    )  # fmt: skip
    phone = site.add(sipp.Sipp(refused, free_port(OPERATORS), site.target, service="112", address=OPERATORS))
    assert phone.wait() == 0, phone.errors()


def test_an_operator_who_gives_up_takes_the_call_back(carrier: Carrier) -> None:
    site = carrier.site
    ringing = sipp.scenario(
        "ringing", sipp.receive("INVITE", actions=sipp.KEEP_INVITE), sipp.reply("180 Ringing"),
        sipp.receive("CANCEL"), sipp.message(sipp.ANSWER_OK),
        sipp.message(sipp.LATER_ANSWER.format(status="487 Request Terminated")), sipp.receive("ACK"),
    )  # fmt: skip
    customer = carrier.plays(ringing)
    operator = site.add(sipp.Sipp(sipp.agent(free_port(), hold_ms=800), site.agent_port))
    call_id = new_id("call")
    site.panel.run(site.panel.hub.dial_out(call_id, site.settings["agent_uri"], NUMBER))
    assert site.panel.wait("call.ended", call_id=call_id).reason == "agent-hung-up"
    assert customer.wait() == 0, customer.errors()
    assert operator.wait() == 0, operator.errors()


def test_a_cell_that_replaces_the_one_that_registered_registers_again(carrier: Carrier) -> None:
    """The last one: the node's first cell dies."""
    registrar = carrier.plays(trunk.registrar())
    kill(carrier.site.pids()[carrier.site.sip_port])
    assert registrar.wait() == 0, registrar.errors()
    assert trunk.credentials_hold(registrar, "REGISTER")
