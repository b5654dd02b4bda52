"""The trunk: who may dial, what, and as whom; and what the carrier's answers mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from paycall.domain.call import EndReason
from paycall.domain.errors import NumberNotAllowedError, SettingsError
from paycall.media.outcomes import NO_PLACE, inbound_failure, outbound_failure
from paycall.media.sip_text import number_in, operator_in, parse_message
from paycall.media.trunk import from_operators, trunk_of
from paycall.settings import MediaSettings, TrunkSettings


def settings(**trunk: object) -> MediaSettings:
    return MediaSettings(trunk=TrunkSettings(uri="sip:carrier.example;transport=tcp", **trunk))


def test_a_number_is_dialled_as_the_sites_own_number() -> None:
    trunk = trunk_of(settings(caller_id="+3619990000"), 0)
    assert trunk is not None
    target = trunk.target("+3612345678")
    assert target.uri == "sip:+3612345678@carrier.example;transport=tcp"
    assert target.own_uri == "sip:+3619990000@carrier.example"
    assert target.headers == (("P-Asserted-Identity", "<sip:+3619990000@carrier.example>"),)


@pytest.mark.parametrize("number", ["112", "0900123456", "+3612345678x", "sip:a@b", ""])
def test_what_the_settings_do_not_name_is_not_dialled(number: str) -> None:
    trunk = trunk_of(settings(numbers=r"\+36[0-9]{8,9}"), 0)
    assert trunk is not None
    with pytest.raises(NumberNotAllowedError):
        trunk.target(number)


def test_one_cell_of_a_node_registers() -> None:
    assert [trunk.registers for n in range(3) if (trunk := trunk_of(settings(), n))] == [True, False, False]
    assert trunk_of(MediaSettings(), 0) is None


def test_the_password_is_read_and_never_printed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("not-for-print\n")
    trunk = trunk_of(settings(username="shop", password_file=file), 0)
    assert trunk is not None
    assert trunk.password.get_secret_value() == "not-for-print"
    assert "not-for-print" not in repr(trunk) + str(trunk)
    with pytest.raises(SettingsError, match="missing"):
        trunk_of(settings(username="shop", password_file=tmp_path / "missing"), 0)


@pytest.mark.parametrize(
    ("peer", "operators"),
    [
        ("198.51.100.7:5060", True),
        ("198.51.101.7:5060", False),
        ("192.0.2.10:5055", True),
        ("192.0.2.10:5050", False),
        ("192.0.2.1:5055", False),
        ("[2001:db8::1]:5060", False),
        ("", False),
    ],
)
def test_the_source_address_tells_operators_from_the_carrier(peer: str, operators: bool) -> None:
    assert from_operators(peer, ["198.51.100.0/24", "192.0.2.10:5055"]) is operators


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("INVITE sip:+36-1-234.5678@192.0.2.1 SIP/2.0", "+3612345678"),
        ("INVITE sip:0612345678;phone-context=hu@192.0.2.1 SIP/2.0", "0612345678"),
        ("INVITE sip:192.0.2.1 SIP/2.0", ""),
        ("INVITE tel:+3612345678 SIP/2.0", "+3612345678"),
        ("INVITE sip:anna@192.0.2.1 SIP/2.0", ""),
        ("INVITE", ""),
    ],
)
def test_the_number_of_an_operators_invite(line: str, number: str) -> None:
    assert number_in(parse_message(line + "\r\n\r\n")) == number


def test_a_header_that_is_no_name_names_nobody() -> None:
    message = parse_message("SIP/2.0 200 OK\r\nX-Who: anna\r\nX-Bad: anna <a@b>\r\n\r\n")
    assert (operator_in(message, "X-Who"), operator_in(message, "X-Bad"), operator_in(message, "X-No")) == (
        "anna",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("status", "outbound"),
    [
        (486, (EndReason.BUSY, 486)),
        (480, (EndReason.NO_ANSWER, 480)),
        (487, (EndReason.NO_ANSWER, 480)),
        (603, (EndReason.DECLINED, 603)),
        (403, (EndReason.DECLINED, 403)),
        (404, (EndReason.UNREACHABLE, 404)),
        (407, (EndReason.UNREACHABLE, 503)),
        (302, (EndReason.UNREACHABLE, 503)),
    ],
)
def test_what_a_trunks_refusal_means(status: int, outbound: tuple[EndReason, int]) -> None:
    assert outbound_failure(status) == outbound


def test_an_agent_that_declines_is_busy_for_the_caller() -> None:
    assert inbound_failure(603) == (EndReason.BUSY, 486)
    assert inbound_failure(503) == (EndReason.UNREACHABLE, 503)
    assert inbound_failure(NO_PLACE) == (EndReason.UNREACHABLE, 500), "another cell may do better"
