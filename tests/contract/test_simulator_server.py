"""The simulator as a server: its page, its refusals, its webhooks on their way."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from Adyen.util import is_valid_hmac_notification

from gateway_adapters.sandbox.wires.adyen import MERCHANT_ACCOUNT, webhook_hmac_key

KEY = "contract-suite-key"
PAN = "4111111111111111"


@pytest.fixture
def client(served: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    served.open(tmp_path / "ledger.sqlite3")
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=40, trust_env=False) as client:
        yield client


def authorize(client: httpx.Client, key: str = "k1", **changes: Any) -> httpx.Response:
    body = {
        "reference": "att_<b>one",
        "amount_minor": 4200,
        "currency": "EUR",
        "moto": True,
        "card": {"number": PAN, "expiry_month": 4, "expiry_year": 2031, "security_code": "737"},
    } | changes
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
    return client.post("/v1/authorizations", json=body, headers=headers)


def test_the_page_shows_the_ledger_and_not_the_card(client: httpx.Client) -> None:
    assert authorize(client).status_code == 200
    page = client.get("/")
    assert page.status_code == 200
    assert "EUR 42.00" in page.text
    assert "visa …1111" in page.text
    assert "att_&lt;b&gt;one" in page.text, "what a client sends is text, not markup"
    assert PAN not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    "changes",
    [
        {"card": {"number": PAN + "x"}},
        {"card": {"number": PAN, "cvv": "737"}},
        {"moto": False},
        {"currency": "EURO"},
        {"amount_minor": -1},
        {"amount_minor": "4200"},
        {"surprise": PAN},
    ],
)
def test_a_refusal_never_repeats_what_was_sent(
    client: httpx.Client, served: Any, changes: dict[str, Any]
) -> None:
    answer = authorize(client, **changes)
    assert (answer.status_code, answer.json()) == (422, {"code": "invalid-request"})
    assert served.ledger.authorizations() == []


def test_a_key_used_for_something_else_is_refused(client: httpx.Client, served: Any) -> None:
    first = authorize(client)
    assert authorize(client).json() == first.json()
    assert authorize(client, amount_minor=4300).status_code == 409
    assert len(served.ledger.authorizations()) == 1


def test_the_ledger_cannot_be_searched_for_a_card_without_the_key(client: httpx.Client, served: Any) -> None:
    authorize(client)
    (row,) = served.ledger.authorizations()
    assert len(row.card_hash) == 64
    assert row.card_hash != hashlib.sha256(PAN.encode()).hexdigest()
    assert client.get("/v1/ledger").status_code == 401
    assert client.get("/v1/ledger", headers={"Authorization": f"Bearer {KEY}"}).json()["authorizations"]


def test_webhooks_are_delivered_again_until_somebody_takes_them(served: Any, tmp_path: Path) -> None:
    taken: list[bytes] = []
    refusals = [500]

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = refusals.pop() if refusals else 200
            if status == 200:
                taken.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_address[1]}/"
        served.open(tmp_path / "ledger.sqlite3", webhook_urls={"adyen": url})
        body = {
            "merchantAccount": MERCHANT_ACCOUNT,
            "reference": "att_one",
            "returnUrl": "https://localhost/",
            "shopperInteraction": "Moto",
            "amount": {"currency": "EUR", "value": 4200},
            "paymentMethod": {"type": "scheme", "number": PAN, "expiryMonth": "04", "expiryYear": "2031"},
        }
        paid = httpx.post(
            f"http://127.0.0.1:{served.port}/adyen/v71/payments",
            json=body,
            headers={"X-API-Key": KEY},
            trust_env=False,
        )
        assert paid.json()["resultCode"] == "Authorised"
        deadline = time.monotonic() + 40
        while (
            not all(sent.delivered for sent in served.ledger.webhooks("adyen"))
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        receiver.shutdown()
    (sent,) = served.ledger.webhooks("adyen")
    assert sent.delivered
    assert taken == [sent.body.encode()], "the bytes that were signed"
    assert is_valid_hmac_notification(json.loads(taken[0]), webhook_hmac_key(KEY))
