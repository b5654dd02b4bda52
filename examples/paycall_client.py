"""A small client of paycall's API: take a payment on a call, follow what happens, check a webhook's signature.

To be copied into a program of your own; it needs httpx and nothing of paycall. On the command line it takes one
payment on the call that is connected, with a key of the scopes calls:read and payments:write::

    python examples/paycall_client.py --key-file key.txt --amount-minor 1999 --currency EUR
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

# A payment in one of these waits for nobody any more.
FINAL = frozenset({"settled", "declined", "cancelled", "reversed", "voided", "settle_failed"})


class Paycall:
    """A program's way into paycall.

    Parameters
    ----------
    url
        The panel's address.
    key
        An API key (the panel's page "Programs" makes them).
    """

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1", headers={"authorization": f"Bearer {key}"}, timeout=30
        )

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def calls(self) -> list[dict[str, Any]]:
        """The calls in progress, the newest first."""
        return list(self._ask("GET", "/calls")["calls"])

    def payment(self, payment_id: str) -> dict[str, Any]:
        """A payment as it is now."""
        return self._ask("GET", f"/payments/{payment_id}")

    def start_payment(
        self, call_id: str, amount_minor: int, currency: str, *, reference: str = "", key: str | None = None
    ) -> dict[str, Any]:
        """Mask the line and have the caller key the card.

        ``key`` is the Idempotency-Key: give your order's number, and asking again after a lost answer starts nothing
        twice.
        """
        return self._ask(
            "POST",
            f"/calls/{call_id}/payments",
            {"amount_minor": amount_minor, "currency": currency, "reference": reference},
            {"idempotency-key": key or str(uuid.uuid4())},
        )

    def charge(self, payment_id: str) -> dict[str, Any]:
        """Charge the card that was keyed; the outcome follows as an event."""
        return self._ask("POST", f"/payments/{payment_id}/authorize")

    def cancel(self, payment_id: str) -> dict[str, Any]:
        """Call the payment off; the line opens again."""
        return self._ask("POST", f"/payments/{payment_id}/cancel")

    def events(self, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """What happens, as it happens: name and data, for ever.

        A connection that breaks is made anew and goes on after the last event that came. ``reset`` comes first, and
        whenever too much was missed: ask for the present state.
        """
        while True:
            try:
                with self._http.stream(
                    "GET", "/events", headers={"last-event-id": after} if after else {}, timeout=30
                ) as stream:
                    stream.raise_for_status()
                    lines = stream.iter_lines()
                    next(lines)  # from here on nothing is missed
                    if not after:
                        yield "reset", {}
                    for event_id, name, data in _frames(lines):
                        after = event_id or after
                        if name != "heartbeat":
                            yield name, data
            except httpx.TransportError:
                time.sleep(1)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body, headers=headers)
        answer.raise_for_status()
        return dict(answer.json())


def _frames(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): id, name, data."""
    event_id = name = data = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            event_id = value
        elif field == "event":
            name = value
        elif field == "data":
            data = value
        elif not line and name:
            yield event_id, name, json.loads(data)
            event_id = name = data = ""


def verify_webhook(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now_s: float | None = None,
    tolerance_s: float = 300,
) -> dict[str, Any]:
    """What a webhook says, if it is paycall's and fresh (https://www.standardwebhooks.com).

    Keep the ids (``webhook-id``) that you have acted on: a delivery may come twice.

    Raises
    ------
    ValueError
        If the signature is wrong, or the timestamp is too old or in the future.
    """
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs((time.time() if now_s is None else now_s) - int(timestamp)) > tolerance_s:
        raise ValueError("the webhook's timestamp is not of now")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    given = headers["webhook-signature"].split()
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise ValueError("the webhook's signature is wrong")
    return dict(json.loads(body))


def take_payment(paycall: Paycall, amount_minor: int, currency: str, reference: str) -> dict[str, Any]:
    """Take a payment on the call that is connected: wait for the card, charge it, give what became of it."""
    call = next(call for call in paycall.calls() if call["state"] == "connected")
    payment = paycall.start_payment(call["id"], amount_minor, currency, reference=reference)
    print(f"{payment['id']}: the line is masked, the caller is asked for the card")
    charged = False
    for name, data in paycall.events():
        if name == "reset":
            payment = paycall.payment(payment["id"])
        elif name.startswith("payment.") and data["payment"]["id"] == payment["id"]:
            payment = data["payment"]
        elif name == "capture.progress" and data["payment_id"] == payment["id"]:
            print(f"  {data['field']}: {data['digits']} keys")
        if payment["state"] == "ready" and not charged:
            charged = True
            paycall.charge(payment["id"])
        elif payment["state"] in FINAL:
            break
    return payment


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Take one payment on the call that is connected.")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--key-file", type=Path, required=True, help="the API key, alone in a file")
    parser.add_argument("--amount-minor", type=int, required=True, help="in minor units: 1999 is EUR 19.99")
    parser.add_argument("--currency", default="EUR")
    parser.add_argument("--reference", default="")
    given = parser.parse_args()
    paycall = Paycall(given.url, given.key_file.read_text("ascii").strip())
    try:
        payment = take_payment(paycall, given.amount_minor, given.currency, given.reference)
    finally:
        paycall.close()
    newest = payment["attempts"][-1] if payment["attempts"] else {}
    said = (newest.get("decline") or {}).get("happened") or newest.get("authorization_code") or ""
    print(f"{payment['state']} {said}")
    return 0 if payment["state"] == "settled" else 1


if __name__ == "__main__":
    raise SystemExit(main())
