"""An acquirer's settings: a wrong one is named, its value never repeated, and no card goes out in clear."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_adapters.registry import REGISTRY, make_acquirer, webhook_receiver
from paycall.domain.errors import SettingsError

KEY = "sk_very_secret"


@pytest.mark.parametrize(
    ("name", "table", "setting"),
    [
        ("sandbox", {}, "sandbox.api_key"),
        ("sandbox", {"api_key": KEY, "url": "http://pay.example"}, "sandbox.url"),
        ("sandbox", {"api_key": KEY, "url": "ftp://127.0.0.1"}, "sandbox.url"),
        ("sandbox", {"api_key": KEY, "url": "https://user:pass@127.0.0.1"}, "sandbox.url"),
        ("sandbox", {"api_key": KEY, "read_s": "soon"}, "sandbox.read_s"),
        ("sandbox", {"api_key": KEY, "read_s": 1000}, "sandbox.read_s"),
        ("sandbox", {"api_key": KEY, "apikey": KEY}, "sandbox.apikey"),
        ("stripe", {"api_key": ""}, "stripe.api_key"),
        ("adyen", {"api_key": KEY}, "adyen.merchant_account"),
        ("adyen", {"api_key": KEY, "merchant_account": "M", "webhook_hmac_key": "xyz"}, "webhook_hmac_key"),
        ("checkout_com", {"api_key": KEY, "url": "http://10.0.0.1"}, "checkout_com.url"),
        ("generic", {"api_key": KEY, "username": "u"}, "generic.url"),
        ("generic", {"api_key": KEY, "username": "u", "url": "https://x", "codes": "visa"}, "generic.codes"),
        ("iso8583", {"url": "tcp://10.0.0.1:5000"}, "iso8583.url"),
        ("iso8583", {"url": "tls://host"}, "iso8583.institution_id"),
    ],
)
def test_a_wrong_setting_is_named_and_not_repeated(name: str, table: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingsError, match=setting) as caught:
        make_acquirer(name, table)
    assert KEY not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_an_unknown_acquirer_is_named() -> None:
    with pytest.raises(SettingsError, match=r"vault\.acquirer: must be one of adyen"):
        make_acquirer("paypal", {})


def test_a_port_and_a_field_are_asked_for() -> None:
    terminal = {"institution_id": "1", "terminal_id": "T", "merchant_id": "M"}
    with pytest.raises(SettingsError, match="name a port"):
        make_acquirer("iso8583", terminal | {"url": "tls://host.example"})
    with pytest.raises(SettingsError, match="fields"):
        make_acquirer("iso8583", terminal | {"url": "tls://host.example:5000", "fields": {"cvv": "48"}})


def test_the_names_in_the_table_are_the_adapters_own() -> None:
    tables: dict[str, dict[str, Any]] = {
        "adyen": {"merchant_account": "M"},
        "generic": {"url": "https://x", "username": "u"},
    }
    for name in REGISTRY:
        if name == "iso8583":
            continue
        acquirer = make_acquirer(name, {"api_key": KEY} | tables.get(name, {}))
        assert acquirer.name == name
        assert (webhook_receiver(acquirer) is not None) == (name in ("adyen", "stripe"))
