"""The vendors' own libraries pointed at the simulator, and their webhook verifiers against ours.

If the simulator speaks a wire that Stripe's and Adyen's libraries understand, an adapter that works with it works
with more than our own idea of the wire.
"""

from __future__ import annotations

import json
import time
from typing import Any

import Adyen
import pytest
import stripe
from Adyen.exceptions import AdyenAPIUnprocessableEntity
from Adyen.util import generate_notification_sig, is_valid_hmac_notification

from gateway_adapters.registry import make_acquirer, webhook_receiver
from gateway_adapters.sandbox.wires.adyen import MERCHANT_ACCOUNT, webhook_hmac_key
from gateway_adapters.sandbox.wires.stripe import webhook_secret
from gateway_adapters.webhooks import WebhookEvent, WebhookKind, WebhookReceiver
from paycall.domain.authorization import OperationOutcome, Outcome
from paycall.domain.errors import InputError, NotAllowedError

KEY = "contract-suite-key"


@pytest.fixture
def books(served: Any, tmp_path: Any) -> Any:
    served.open(tmp_path / "ledger.sqlite3")
    return served


def receiver(name: str, **table: str) -> WebhookReceiver:
    found = webhook_receiver(make_acquirer(name, {"api_key": KEY} | table))
    assert found is not None
    return found


class TestStripe:
    """stripe-python."""

    @pytest.fixture
    def client(self, books: Any) -> stripe.StripeClient:
        return stripe.StripeClient(
            KEY, base_addresses={"api": f"http://127.0.0.1:{books.port}/stripe"}, max_network_retries=0
        )

    def intent(self, client: stripe.StripeClient, number: str, **options: Any) -> stripe.PaymentIntent:
        method = client.v1.payment_methods.create(
            {"type": "card", "card": {"number": number, "exp_month": 4, "exp_year": 2031, "cvc": "737"}}
        )
        return client.v1.payment_intents.create(
            {
                "amount": 4200,
                "currency": "eur",
                "payment_method": method.id,
                "confirm": True,
                "capture_method": "manual",
                "payment_method_options": {"card": {"moto": True}},
                "metadata": {"attempt_id": "att_library"},
                "expand": ["latest_charge"],
            },
            options=options or None,
        )

    def test_authorize_capture_refund(self, client: stripe.StripeClient, books: Any) -> None:
        intent = self.intent(client, "4242424242424242")
        assert intent.status == "requires_capture"
        assert (
            client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 4000}).amount_received == 4000
        )
        refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 1000})
        assert refund.status == "succeeded"
        assert sum(row.charged_minor for row in books.ledger.authorizations()) == 3000

    def test_cancel_and_retrieve(self, client: stripe.StripeClient) -> None:
        intent = self.intent(client, "4242424242424242")
        assert client.v1.payment_intents.cancel(intent.id).status == "canceled"
        assert client.v1.payment_intents.retrieve(intent.id).status == "canceled"
        assert [found.id for found in client.v1.payment_intents.list({"limit": 3})] == [intent.id]

    @pytest.mark.parametrize(
        ("number", "decline_code"),
        [("4000000000000002", "generic_decline"), ("4000000000009995", "insufficient_funds")],
    )
    def test_declines(self, client: stripe.StripeClient, number: str, decline_code: str) -> None:
        with pytest.raises(stripe.CardError) as caught:
            self.intent(client, number)
        assert caught.value.error is not None
        assert caught.value.error.decline_code == decline_code

    def test_the_same_key_is_the_same_intent_and_never_another(self, client: stripe.StripeClient) -> None:
        method = client.v1.payment_methods.create(
            {"type": "card", "card": {"number": "4242424242424242", "exp_month": 4, "exp_year": 2031}}
        )
        params: Any = {
            "amount": 4200,
            "currency": "eur",
            "payment_method": method.id,
            "confirm": True,
            "payment_method_options": {"card": {"moto": True}},
        }
        first = client.v1.payment_intents.create(params, options={"idempotency_key": "k1"})
        assert client.v1.payment_intents.create(params, options={"idempotency_key": "k1"}).id == first.id
        with pytest.raises(stripe.IdempotencyError):
            client.v1.payment_intents.create(params | {"amount": 4300}, options={"idempotency_key": "k1"})

    def test_wrong_key(self, books: Any) -> None:
        client = stripe.StripeClient("wrong", base_addresses={"api": f"http://127.0.0.1:{books.port}/stripe"})
        with pytest.raises(stripe.AuthenticationError):
            client.v1.payment_intents.list()

    def test_webhooks_both_verifiers_agree(self, client: stripe.StripeClient, books: Any) -> None:
        intent = self.intent(client, "4242424242424242")
        client.v1.payment_intents.capture(intent.id)
        client.v1.refunds.create({"payment_intent": intent.id})
        ours = receiver("stripe", webhook_secret=webhook_secret(KEY))
        events: list[WebhookEvent] = []
        for sent in books.ledger.webhooks("stripe"):
            headers, body = json.loads(sent.headers), sent.body.encode()
            theirs = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], webhook_secret(KEY))
            (event,) = ours.verify_webhook(headers, body, time.time())
            assert event.event_id == theirs.id
            events.append(event)
        assert [event.kind for event in events] == [
            WebhookKind.AUTHORIZATION,
            WebhookKind.SETTLEMENT,
            WebhookKind.REFUND,
        ]
        assert events[0].our_reference == "att_library"
        assert events[0].result is not None
        assert events[0].result.outcome is Outcome.APPROVED
        assert events[2].original_reference == intent.id
        assert events[2].outcome is OperationOutcome.DONE

    def test_what_their_verifier_refuses_ours_refuses(self, client: stripe.StripeClient, books: Any) -> None:
        self.intent(client, "4242424242424242")
        (sent,) = books.ledger.webhooks("stripe")
        signature, body = json.loads(sent.headers)["Stripe-Signature"], sent.body.encode()
        ours = receiver("stripe", webhook_secret=webhook_secret(KEY))
        late = time.time() + 301
        for given, content in (
            (signature, body.replace(b"4200", b"4201")),
            (signature.replace("v1=", "v0="), body),
            ("", body),
            ("t=now,v1=0", body),
            (signature[:-2], body),
        ):
            with pytest.raises(stripe.SignatureVerificationError):
                stripe.Webhook.construct_event(content, given, webhook_secret(KEY))
            with pytest.raises(NotAllowedError):
                ours.verify_webhook({"stripe-signature": given}, content, time.time())
        with pytest.raises(NotAllowedError):
            ours.verify_webhook({"Stripe-Signature": signature}, body, late)
        with pytest.raises(NotAllowedError):
            receiver("stripe", webhook_secret="whsec_other").verify_webhook(
                {"Stripe-Signature": signature}, body, time.time()
            )


class TestAdyen:
    """adyen-python-api-library."""

    @pytest.fixture
    def payments(self, books: Any) -> Any:
        client = Adyen.Adyen(xapikey=KEY, platform="test")
        for api in (client.checkout.payments_api, client.checkout.modifications_api):
            api.baseUrl = f"http://127.0.0.1:{books.port}/adyen/v71"
        return client.checkout

    def pay(self, checkout: Any, number: str = "4111111111111111", key: str = "k1") -> Any:
        return checkout.payments_api.payments(
            {
                "merchantAccount": MERCHANT_ACCOUNT,
                "reference": "att_library",
                "amount": {"currency": "EUR", "value": 4200},
                "returnUrl": "https://localhost/",
                "shopperInteraction": "Moto",
                "paymentMethod": {
                    "type": "scheme",
                    "number": number,
                    "expiryMonth": "04",
                    "expiryYear": "2031",
                    "cvc": "737",
                },
            },
            idempotency_key=key,
        ).message

    def test_authorize_capture_refund(self, payments: Any, books: Any) -> None:
        answer = self.pay(payments)
        assert answer["resultCode"] == "Authorised"
        psp = answer["pspReference"]
        for modify in ("capture_authorised_payment", "refund_captured_payment"):
            received = getattr(payments.modifications_api, modify)(
                {"merchantAccount": MERCHANT_ACCOUNT, "amount": {"currency": "EUR", "value": 4200}}, psp
            )
            assert received.message["status"] == "received"
        assert sum(row.charged_minor for row in books.ledger.authorizations()) == 0

    def test_declines_and_idempotency(self, payments: Any) -> None:
        refused = self.pay(payments, "4000000000009995", key="k2")
        assert (refused["resultCode"], refused["refusalReasonCode"]) == ("Refused", "12")
        assert self.pay(payments)["pspReference"] == self.pay(payments)["pspReference"]
        with pytest.raises(AdyenAPIUnprocessableEntity):
            self.pay(payments, "5555555555554444")

    def test_cancel_by_our_reference(self, payments: Any, books: Any) -> None:
        self.pay(payments)
        received = payments.modifications_api.cancel_authorised_payment(
            {"merchantAccount": MERCHANT_ACCOUNT, "paymentReference": "att_library"}
        )
        assert received.message["status"] == "received"
        assert sum(row.charged_minor for row in books.ledger.authorizations()) == 0

    def ours(self, key: str = webhook_hmac_key(KEY)) -> WebhookReceiver:
        return receiver("adyen", merchant_account=MERCHANT_ACCOUNT, webhook_hmac_key=key)

    def test_webhooks_both_verifiers_agree(self, payments: Any, books: Any) -> None:
        psp = self.pay(payments)["pspReference"]
        payments.modifications_api.capture_authorised_payment(
            {
                "merchantAccount": MERCHANT_ACCOUNT,
                "reference": "op_library",
                "amount": {"currency": "EUR", "value": 9999},
            },
            psp,
        )
        self.pay(payments, "4000000000000127", key="k2")
        events = []
        for sent in books.ledger.webhooks("adyen"):
            assert is_valid_hmac_notification(json.loads(sent.body), webhook_hmac_key(KEY))
            events += self.ours().verify_webhook({}, sent.body.encode(), time.time())
        paid, captured, refused = events
        assert paid.result is not None
        assert (paid.kind, paid.our_reference, paid.acquirer_reference) == (
            WebhookKind.AUTHORIZATION,
            "att_library",
            psp,
        )
        assert (paid.result.outcome, paid.result.approved_minor) == (Outcome.APPROVED, 4200)
        assert (captured.kind, captured.our_reference, captured.original_reference) == (
            WebhookKind.SETTLEMENT,
            "op_library",
            psp,
        )
        assert captured.outcome is OperationOutcome.FAILED, "more than was authorized"
        assert refused.result is not None
        assert refused.result.decline is not None
        assert refused.result.decline.reason == "wrong_cvc"
        assert len({event.event_id for event in events}) == 3

    def test_what_their_verifier_refuses_ours_refuses(self, payments: Any, books: Any) -> None:
        self.pay(payments)
        (sent,) = books.ledger.webhooks("adyen")
        for old, new in (('"value": 4200', '"value": 4201'), ('"success": "true"', '"success": "false"')):
            changed = sent.body.replace(old, new)
            assert changed != sent.body
            assert not is_valid_hmac_notification(json.loads(changed), webhook_hmac_key(KEY))
            with pytest.raises(NotAllowedError):
                self.ours().verify_webhook({}, changed.encode(), time.time())
        with pytest.raises(NotAllowedError):
            self.ours("ab" * 32).verify_webhook({}, sent.body.encode(), time.time())
        with pytest.raises(NotAllowedError):
            unsigned = sent.body.replace("hmacSignature", "other")
            self.ours().verify_webhook({}, unsigned.encode(), time.time())
        with pytest.raises(InputError):
            self.ours().verify_webhook({}, b"[]", time.time())

    def test_a_bad_item_among_good_ones_spoils_the_webhook(self, payments: Any, books: Any) -> None:
        self.pay(payments)
        (sent,) = books.ledger.webhooks("adyen")
        body = json.loads(sent.body)
        forged = json.loads(sent.body)["notificationItems"][0]
        forged["NotificationRequestItem"]["merchantReference"] = "att_other"
        body["notificationItems"].append(forged)
        with pytest.raises(NotAllowedError):
            self.ours().verify_webhook({}, json.dumps(body).encode(), time.time())

    def test_their_signature_is_ours(self, payments: Any, books: Any) -> None:
        self.pay(payments)
        (sent,) = books.ledger.webhooks("adyen")
        item = json.loads(sent.body)["notificationItems"][0]["NotificationRequestItem"]
        theirs = generate_notification_sig(item, webhook_hmac_key(KEY)).decode()
        assert theirs == item["additionalData"]["hmacSignature"]
