"""Settings: a wrong one stops the start with one line that names it and never repeats its value."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from paycall.domain.card import Brand
from paycall.domain.errors import SettingsError
from paycall.settings import RTP_PORTS_PER_CELL, Settings
from paycall.settings_file import load_settings

SECRET = "s3cr3t-4111111111111111"


def from_toml(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "paycall.toml"
    file.write_bytes(text.encode("utf-8"))
    return load_settings(file, environ)


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as refused:
        from_toml(tmp_path, text, **environ)
    assert "".join(traceback.format_exception(refused.value)).count(SECRET) == 0
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_with_nothing_given_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={"PATH": "/bin", "PAYCALL_PROCESS": "panel", "PAYCALL_CONFIG": ""})
    assert settings.panel.port == 8080
    assert settings.media.vault_address == settings.vault.cell_address
    assert settings.panel.vault_address == settings.vault.panel_address
    assert settings.panel.control_address == settings.media.control_address


def test_default_then_file_then_environment(tmp_path: Path) -> None:
    text = '[panel]\nport = 1001\nhost = "127.0.0.2"\n'
    settings = from_toml(tmp_path, text, PAYCALL_PANEL__PORT="1002", PAYCALL_MEDIA__ROUTE_WAIT_S="2.5")
    assert (settings.panel.port, settings.panel.host, settings.panel.idle_minutes) == (1002, "127.0.0.2", 15)
    assert settings.media.route_wait_s == 2.5
    assert load_settings(environ={"PAYCALL_CONFIG": str(tmp_path / "paycall.toml")}).panel.port == 1001


def test_the_environment_reaches_lists_tables_and_truth_values(tmp_path: Path) -> None:
    settings = from_toml(
        tmp_path,
        '[vault.acquirers.stripe]\nurl = "https://a.example"\n',
        PAYCALL_PANEL__BRANDS="visa, mastercard",
        PAYCALL_PANEL__TEST_CALLS="false",
        PAYCALL_PANEL__REFUND_LIMITS_MINOR__OPERATOR="5000",
        PAYCALL_VAULT__ACQUIRERS__STRIPE__API_KEY_FILE="/run/key",
        PAYCALL_MEDIA__FALLBACK_URIS="sip:a@b,sip:c@d",
    )
    assert settings.panel.brands == ("visa", "mastercard")
    assert settings.panel.test_calls is False
    assert settings.panel.refund_limits_minor == {"operator": 5000}
    assert settings.vault.acquirers["stripe"] == {"url": "https://a.example", "api_key_file": "/run/key"}
    assert settings.media.fallback_uris == ("sip:a@b", "sip:c@d")


def test_places_follow_var(tmp_path: Path) -> None:
    settings = from_toml(tmp_path, '[site]\nvar = "elsewhere"\n[panel]\ncontrol_address = "unix:here"\n')
    assert settings.vault.key_file == Path("elsewhere/vault/keys.json")
    assert settings.panel.control_address == "unix:here"
    assert settings.media.control_address == "unix:elsewhere/run/control.sock"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f'[panel]\nport = "{SECRET}"\n', "panel.port"),
        ("[panel]\nport = 65536\n", "panel.port"),
        ("[panel]\nport = true\n", "panel.port"),
        ("[media]\nroute_wait_s = true\n", "media.route_wait_s"),
        (f'[panel]\nprot = "{SECRET}"\n', "panel.prot: there is no such setting"),
        (f'[pannel]\nport = "{SECRET}"\n', "pannel: there is no such setting"),
        (f'panel = "{SECRET}"\n', "panel"),
        (f'[site]\nmode = "{SECRET}"\n', "site.mode"),
        (f'[site]\nname = "{SECRET}/"\n', "site.name"),
        ('[site]\ncurrency = "BGN"\n', "site.currency"),
        (f'[panel]\nbrands = ["visa", "{SECRET}"]\n', "panel.brands"),
        (f'[vault.acquirers]\nstripe = "{SECRET}"\n', "vault.acquirers.stripe"),
        (f'[panel]\n"a\\nb {SECRET[:2]}" = "{SECRET}"\n', "panel.a b s3: there is no such setting"),
        ("[vault]\nsecurity_code_minutes = 5.1\n", "vault.security_code_minutes"),
        ("[media]\ncells = 0\n", "media.cells"),
        (f'[media]\nagent_uri = "{SECRET}"\n', "media.agent_uri"),
        (f'[media]\nfallback_uris = ["sip:a@b", "{SECRET}"]\n', "media.fallback_uris.1"),
        ('[media]\naddress = "::1"\n', "media.address: must be an IPv4 address"),
        ('[kamailio]\ncarriers = ["2001:db8::/32"]\n', "kamailio.carriers: may name IPv4 addresses"),
        (
            '[media]\nsip_tls_certificate = "c"\nfirst_sip_tls_port = 5061\n',
            "media.first_sip_tls_port: the cells'",
        ),
        ('[media]\naddress = "[2001:db8::1]"\n', "media.address: must be an IPv4 address"),
        ('[media]\nagent_uri = "sip:a@[::1]:5090"\n', "media.agent_uri: must not be an IPv6 address"),
        (
            '[media]\nfallback_uris = ["sip:a@b", "sip:a@[::1]"]\n',
            "media.fallback_uris.1: must not be an IPv6",
        ),
        ('[media.trunk]\nuri = "sip:[2001:db8::1]"\n', "media.trunk.uri: must not be an IPv6 address"),
        (f'[media]\naddress = "{SECRET}"\n', "media.address"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(tmp_path: Path, text: str, named: str) -> None:
    assert refusal(tmp_path, text).startswith(f"setting {named}")


@pytest.mark.parametrize("setting", ["panel.control_address", "media.control_address"])
@pytest.mark.parametrize(
    "address",
    [
        "",
        "unix:",
        "tls:host",
        "tls::5060",
        "tls:host:0",
        "tls:host:65536",
        "tls:user@host:1",
        "tls:host:1/x",
        "https://host:1",
        "var/run/control.sock",
        "unix:" + "x" * 108,
    ],
)
def test_an_unusable_control_address_is_refused_by_the_settings_name(
    tmp_path: Path, setting: str, address: str
) -> None:
    section, key = setting.split(".")
    assert refusal(tmp_path, f'[{section}]\n{key} = "{address}"\n').startswith(
        f"setting {setting}: must be unix:PATH"
    )


@pytest.mark.parametrize(
    "setting", ["panel.vault_address", "media.vault_address", "vault.cell_address", "vault.panel_address"]
)
@pytest.mark.parametrize(
    "address", ["unix:", "http://host:1", "https://host", "https://host:1/path", "host:1"]
)
def test_an_unusable_vault_address_is_refused_by_the_settings_name(
    tmp_path: Path, setting: str, address: str
) -> None:
    section, key = setting.split(".")
    assert refusal(tmp_path, f'[{section}]\n{key} = "{address}"\n').startswith(
        f"setting {setting}: must be unix:PATH"
    )


def test_usable_addresses_are_taken(tmp_path: Path) -> None:
    text = (
        '[media]\ncontrol_address = "tls:panel.example:7443"\nvault_address = "https://vault.example:8443"\n'
    )
    assert from_toml(tmp_path, text).media.control_address == "tls:panel.example:7443"


@pytest.mark.parametrize(
    ("sip", "rtp", "cells", "named"),
    [
        (20000, 20000, 1, "first_rtp_port"),
        (20000 + RTP_PORTS_PER_CELL - 1, 20000, 1, "first_rtp_port"),
        (19999, 20000, 2, "first_rtp_port"),
        (20000 + RTP_PORTS_PER_CELL, 20000, 1, None),
        (19999, 20000, 1, None),
        (65000, 20000, 256, None),
        (5060, 65000, 14, "first_rtp_port"),
        (5060, 65000, 13, None),
    ],
)
def test_the_cells_ports_exist_and_do_not_meet(
    tmp_path: Path, sip: int, rtp: int, cells: int, named: str | None
) -> None:
    text = f"[media]\nfirst_sip_port = {sip}\nfirst_rtp_port = {rtp}\ncells = {cells}\n"
    if named is None:
        assert from_toml(tmp_path, text).media.cells == cells
    else:
        assert f"media.{named}" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("PAYCALL_PANEL__PORT", SECRET, "panel.port"),
        ("PAYCALL_PANEL__PROT", SECRET, "panel.prot"),
        ("PAYCALL_NOWHERE__PORT", SECRET, "nowhere"),
        ("PAYCALL_PANEL__", SECRET, "panel."),
        ("PAYCALL_PANEL__PORT__X", SECRET, "panel.port"),
        ("PAYCALL_VAULT__ACQUIRERS", SECRET, "vault.acquirers"),
        ("PAYCALL_PANEL__BRANDS", f"visa,{SECRET}", "panel.brands"),
    ],
)
def test_a_wrong_environment_variable_is_named_and_not_repeated(
    tmp_path: Path, name: str, value: str, named: str
) -> None:
    assert refusal(tmp_path, "", **{name: value}).startswith(f"setting {named}")


def test_a_variable_inside_what_the_file_says_is_no_table(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path, f'panel = "{SECRET}"\n', PAYCALL_PANEL__PORT="1")
        == "setting panel: must be a table"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(SettingsError, match="cannot be read"):
            load_settings(path, {})


def test_a_file_that_is_not_toml_is_named_with_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, f"[panel]\nport = 1\nhost = {SECRET}\n").endswith(
        "paycall.toml is not TOML (line 3)"
    )
    (tmp_path / "latin.toml").write_bytes(b'[site]\nname = "\xe9"\n')
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load_settings(tmp_path / "latin.toml", {})


def test_a_file_of_an_editor_that_writes_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert from_toml(tmp_path, "\ufeff[panel]\nport = 1001\n").panel.port == 1001


def test_credentials_are_in_no_text_of_the_settings(tmp_path: Path) -> None:
    settings = from_toml(
        tmp_path,
        f'[panel]\ndatabase_url = "postgresql://u:{SECRET}@h/d"\n[vault.acquirers.stripe]\napi_key = "{SECRET}"\n',
    )
    assert settings.vault.acquirers["stripe"]["api_key"] == SECRET
    for shown in (repr(settings), str(settings), f"{settings.vault}", repr(settings.panel)):
        assert SECRET not in shown


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        from_toml(tmp_path, "").panel.port = 1  # type: ignore[misc]


def test_every_brand_can_be_accepted(tmp_path: Path) -> None:
    names = ", ".join(f'"{brand.value}"' for brand in Brand)
    assert len(from_toml(tmp_path, f"[panel]\nbrands = [{names}]\n").panel.brands) == len(Brand)
