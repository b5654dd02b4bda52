"""What `paycall kamailio` writes, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from paycall import kamailio
from paycall.domain.errors import SettingsError
from paycall.settings import KamailioSettings, MediaSettings, Settings
from paycall.settings_file import load_settings

MEDIA = MediaSettings(address="192.0.2.10", cells=2, first_sip_port=5100)


def site_text(**settings: object) -> str:
    return kamailio.site_text(KamailioSettings.model_validate(settings), MEDIA, Path("/k"))


def test_every_cell_is_listed_once_with_a_load_of_its_own() -> None:
    cells = [*kamailio.cells_of(MEDIA), ("192.0.2.10", 5101)]
    lines = kamailio.cells_text(cells).splitlines()
    assert [line.split()[1] for line in lines] == ["sip:192.0.2.10:5100", "sip:192.0.2.10:5101"]
    assert len({line.split("duid=")[1] for line in lines}) == 2


def test_carriers_are_networks_or_single_addresses() -> None:
    assert kamailio.carriers_text(["192.0.2.0/24", "198.51.100.7"]) == "1 192.0.2.0 24\n1 198.51.100.7 32\n"


def test_both_instances_listen_at_the_node_s_address_unless_told_otherwise() -> None:
    said = site_text(operators_address="198.51.100.10", operators_port=5061)
    assert "#!define CARRIER_LISTEN udp:192.0.2.10:5050\n" in said
    assert "#!define OPERATORS_LISTEN tcp:" not in said
    assert "#!define OPERATORS_LISTEN_TCP tcp:198.51.100.10:5061\n" in said


def test_what_is_not_set_is_not_defined() -> None:
    plain = site_text()
    assert "CARRIERS_FILE" not in plain
    assert "TLS" not in plain
    tls = site_text(tls_certificate="/c.pem", carriers=("192.0.2.0/24",))
    assert "#!define CARRIER_LISTEN_TLS tls:192.0.2.10:5051\n" in tls
    assert '#!define CARRIERS_FILE "/k/carriers.list"\n' in tls


def test_nobody_is_trusted_over_tls_who_is_not_named() -> None:
    settings = KamailioSettings(tls_certificate=Path("/c.pem"))
    text = kamailio.tls_text(settings)
    assert "ca_list" not in text
    assert text.count("verify_certificate = yes") == 1
    assert "private_key = /c.pem" in text
    named = settings.model_copy(update={"tls_ca": Path("/ca.pem"), "tls_key": Path("/k.pem")})
    assert "ca_list = /ca.pem" in kamailio.tls_text(named)
    assert "private_key = /k.pem" in kamailio.tls_text(named)


def test_a_digest_s_first_hash_is_the_rfc_s_own() -> None:
    """RFC 2617, section 3.5, whose answer is made of this one."""
    assert (
        kamailio.ha1("Mufasa", "testrealm@host.com", "Circle Of Life") == "939e7578ed9e3c518a452acee763bce9"
    )


def test_phones_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert kamailio.read_phones(tmp_path) == {}
    kamailio.write_phones(tmp_path, {"bela": "b" * 32, "anna": "a" * 32})
    table = tmp_path / "phones" / "phones"
    first_s = int(table.stat().st_mtime)
    kamailio.write_phones(tmp_path, {"anna": "a" * 32})
    assert kamailio.read_phones(tmp_path) == {"anna": "a" * 32}
    assert int(table.stat().st_mtime) > first_s, "Kamailio would not see the change"
    assert table.stat().st_mode & 0o077 == 0


def test_a_folder_too_deep_for_its_sockets_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"kamailio\.folder"):
        kamailio.site_text(KamailioSettings(), MEDIA, Path("/" + "d" * 100))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"kamailio\.folder"):
        kamailio.write_file(tmp_path / "file" / "site.cfg", "")


def test_an_operators_instance_beside_the_cells_is_believed_about_who_dials() -> None:
    settings = Settings(
        media=MediaSettings(operator_networks=["192.0.2.0/24"]),
        kamailio=KamailioSettings(operators_port=5065),
    )
    assert kamailio.environment(settings, ["carrier"]) == {}
    known = kamailio.environment(settings, ["carrier", "operators"])
    assert known == {"PAYCALL_MEDIA__OPERATOR_NETWORKS": "192.0.2.0/24,127.0.0.1:5065"}
    assert load_settings(environ=known).media.operator_networks == ("192.0.2.0/24", "127.0.0.1:5065")
