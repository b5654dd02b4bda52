"""Our requests against the vendors' own schemas, which lie in the shared folder beside the project.

They are the vendors' data files and no part of the project: without them these tests say so and skip.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway_adapters.adyen import wire as adyen
from gateway_adapters.adyen.webhook import events_of, signature
from gateway_adapters.checkout_com import wire as checkout_com
from gateway_adapters.stripe import wire as stripe
from paycall.domain.authorization import AuthorizationRequest, OnFile
from paycall.domain.card import Expiry
from paycall.domain.card_ports import Card
from paycall.domain.money import Money
from paycall.domain.secret import Pan, Secret, SecurityCode

SPECS = Path(__file__).parents[3] / "shared" / "references" / "specs"
REQUEST = AuthorizationRequest(
    "att_" + "a" * 22, "pay_" + "b" * 22, Money(4200, "EUR"), "order 17", "Two tickets"
)
CARD = Card(Pan("4111111111111111"), Expiry(2031, 4), SecurityCode("737"), "1051")
BARE_CARD = Card(Pan("4111111111111111"), Expiry(2031, 4))
KEEPING = replace(REQUEST, on_file=OnFile.FIRST)
KEPT = replace(REQUEST, on_file=OnFile.LATER, first_reference="pay_fun26akvvjjerahhctaq2uzhu4")
REQUESTS = pytest.mark.parametrize("request_", [REQUEST, KEEPING, KEPT], ids=["once", "keeping", "kept"])


def spec(name: str) -> Any:
    path = SPECS / name
    if not path.exists():
        pytest.skip(f"the vendors' schemas are not beside the project ({SPECS.name}/{name})")
    return json.loads(path.read_text("utf-8"))


def errors(schema: dict[str, Any], body: Any) -> list[str]:
    return [
        f"{list(error.path)}: {error.message}" for error in Draft202012Validator(schema).iter_errors(body)
    ]


class TestAdyen:
    """Checkout v71."""

    def schema(self, name: str) -> dict[str, Any]:
        document = spec("adyen-checkout-v71.trimmed.json")
        return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}

    @REQUESTS
    @pytest.mark.parametrize("card", [CARD, BARE_CARD])
    def test_payment(self, card: Card, request_: AuthorizationRequest) -> None:
        body = adyen.payment_body(request_, card, "PaycallMOTO", "https://localhost/")
        request = self.schema("PaymentRequest")
        # oneOf over the payment methods has no discriminator value for JSON Schema: the method is checked alone
        method = body.pop("paymentMethod")
        assert errors(self.schema("CardDetails"), method) == []
        found = [
            error for error in errors(request, body) if "'paymentMethod' is a required property" not in error
        ]
        assert found == []
        known = spec("adyen-checkout-v71.trimmed.json")["components"]["schemas"]
        assert set(body) <= set(known["PaymentRequest"]["properties"])
        assert set(method) <= set(known["CardDetails"]["properties"])

    def test_capture_refund_cancel(self) -> None:
        known = spec("adyen-checkout-v71.trimmed.json")["components"]["schemas"]
        amount = adyen.modification_body("PaycallMOTO", "op_" + "c" * 22, REQUEST.money)
        plain = adyen.modification_body("PaycallMOTO", "op_" + "c" * 22)
        by_reference = adyen.cancel_body("PaycallMOTO", "op_" + "c" * 22, REQUEST.attempt_id)
        for name, body in (
            ("PaymentCaptureRequest", amount),
            ("PaymentRefundRequest", amount),
            ("PaymentCancelRequest", plain),
            ("StandalonePaymentCancelRequest", by_reference),
        ):
            assert errors(self.schema(name), body) == [], name
            assert set(body) <= set(known[name]["properties"]), name

    def test_the_key_fits_the_idempotency_header(self) -> None:
        assert len(REQUEST.attempt_id) <= 64

    def test_every_webhook_example_of_theirs_is_understood_once_signed(self) -> None:
        document = spec("adyen-webhooks-v1.trimmed.json")
        key = Secret("ab" * 32)
        kinds = set()
        for example in document["components"]["examples"].values():
            body = example["value"]
            for entry in body["notificationItems"]:
                item = entry["NotificationRequestItem"]
                item.setdefault("additionalData", {})["hmacSignature"] = signature(key, item)
            for event in events_of(key, json.dumps(body).encode()):
                assert event.acquirer_reference
                kinds.add(event.kind.value)
        assert {"authorization", "settlement", "refund", "void", "reversal"} <= kinds


class TestStripe:
    """The parameters of API 2026-10-28, closed against unknown names."""

    def check(self, name: str, form: dict[str, str]) -> None:
        schema = spec(f"stripe-python-{name}.schema.json")
        assert errors(schema, nested(form)) == []

    @pytest.mark.parametrize("card", [CARD, BARE_CARD])
    def test_payment_method(self, card: Card) -> None:
        self.check("PaymentMethodCreateParams", stripe.payment_method_form(card))

    @REQUESTS
    def test_intent(self, request_: AuthorizationRequest) -> None:
        form = stripe.intent_form(request_, "pm_1")
        self.check("PaymentIntentCreateParams", form)
        assert nested(form)["payment_method_options"]["card"]["moto"] is True

    def test_tombstone(self) -> None:
        self.check("PaymentIntentCreateParams", stripe.tombstone_form(REQUEST.attempt_id, REQUEST.money))

    def test_capture_and_refund(self) -> None:
        self.check("PaymentIntentCaptureParams", stripe.amount_form("amount_to_capture", REQUEST.money))
        self.check(
            "RefundCreateParams", {"payment_intent": "pi_1"} | stripe.amount_form("amount", REQUEST.money)
        )


class TestCheckoutCom:
    """The unified payments API."""

    def schema(self, name: str) -> dict[str, Any]:
        document = spec("checkoutcom-nas-2021-07.trimmed.json")
        # OpenAPI 3.0 puts string lengths on numbers; JSON Schema ignores them there
        return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}

    @REQUESTS
    @pytest.mark.parametrize("card", [CARD, BARE_CARD])
    def test_payment(self, card: Card, request_: AuthorizationRequest) -> None:
        body = checkout_com.payment_body(request_, card, "pc_simulator")
        assert errors(self.schema("PaymentRequest"), body) == []
        assert errors(self.schema("03_PaymentRequestCardSource"), body["source"]) == []
        assert set(body) <= set(
            spec("checkoutcom-nas-2021-07.trimmed.json")["components"]["schemas"]["PaymentRequest"][
                "properties"
            ]
        )

    def test_capture_void_refund(self) -> None:
        key = "op_" + "c" * 22
        assert errors(self.schema("CaptureRequest"), checkout_com.capture_body(key, REQUEST.money)) == []
        assert errors(self.schema("RefundRequest"), checkout_com.operation_body(key, REQUEST.money)) == []
        assert errors(self.schema("VoidRequest"), checkout_com.operation_body(key)) == []


_NUMBERS = re.compile(r"amount|amount_to_capture|exp_month|exp_year")


def nested(form: dict[str, str]) -> dict[str, Any]:
    """Form fields such as ``card[number]`` as the object that Stripe's library would have been given."""
    whole: dict[str, Any] = {}
    for name, text in form.items():
        parts = re.findall(r"[^\[\]]+", name)
        value: Any = int(text) if _NUMBERS.fullmatch(parts[-1]) else {"true": True}.get(text, text)
        if parts[0] == "metadata":
            value = text
        place = whole
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value
    return {name: _list(value) for name, value in whole.items()}


def _list(value: Any) -> Any:
    if isinstance(value, dict) and value and all(key.isdigit() for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return value
