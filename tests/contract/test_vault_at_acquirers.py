"""The vault with each acquirer's own wire: what is lost on the way is charged and given back once, whatever happens.

The simulator forgets keys, keeps no errors, books late and tells later where the real acquirer does so.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import gateway_adapters.stripe.adapter as stripe_adapter
from gateway_adapters.registry import make_acquirer
from paycall.domain.ids import new_id
from tests.contract.conftest import WIRES, Served
from tests.fakes.vault_harness import Client, VaultHarness

DAY_S = 86_400
PATIENCE_S = 40.0
DROPPED_AFTER_BOOKING = "4000000000000341"
DROPPED_BEFORE_BOOKING = "4000000000000408"
SERVER_ERROR = "4000000000000424"
READ_BACK = ("sandbox", "stripe", "checkout_com")


class Site:
    """A vault with one acquirer, and the simulator that speaks its wire."""

    def __init__(self, name: str, served: Served, folder: Path) -> None:
        self.name, self.served, self.folder = name, served, folder
        served.open(folder / "ledger.sqlite3")
        self.harness = VaultHarness(folder)
        self.harness.changes = {"acquirer": name}
        self.changes: dict[str, Any] = {}

    def rule(self, text: str) -> None:
        rules = self.folder / "rules.toml"
        rules.write_text(text)
        self.served.open(self.folder / "ledger.sqlite3", rules)

    def run(self, work: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            settings = WIRES[self.name].settings(self.served.port_of(self.name)) | self.changes
            self.harness.others = {self.name: make_acquirer(self.name, settings)}  # type: ignore[dict-item]
            async with self.harness.running() as client:
                await work(client)

        asyncio.run(main())

    async def approved(self, client: Client) -> str:
        payment_id, token = await client.capture()
        attempt_id = new_id("att")
        answer = await client.authorize(payment_id, token, attempt_id)
        assert answer.json()["outcome"] == "approved", answer.text
        return attempt_id

    async def settled(self, client: Client) -> str:
        attempt_id = await self.approved(client)
        await client.operate(attempt_id, "settle")
        await self.webhooks(client)
        return attempt_id

    async def webhooks(self, client: Client) -> None:
        """Deliver what the acquirer tells later, as often as it takes."""
        for sent in self.served.ledger.webhooks(self.name):
            content, headers = sent.body.encode(), json.loads(sent.headers)
            await client.panel.post(f"/v1/webhooks/{self.name}", content=content, headers=headers)

    async def later(self, *, seconds: float, rounds: int = 1) -> None:
        """Let time pass, and the vault work in it."""
        for _ in range(rounds):
            self.harness.clock.ahead_s += seconds
            await asyncio.sleep(0.4)

    def operation(self, operation_id: str) -> tuple[str, int]:
        """State, and how often the resolver took it up."""
        with sqlite3.connect(self.folder / "vault" / "vault.sqlite3") as database:
            query = "SELECT state, tries FROM operations WHERE operation_id = ?"
            state, tries = database.execute(query, (operation_id,)).fetchone()
        return str(state), int(tries)

    async def until(self, operation_id: str, state: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.operation(operation_id)[0] != state:
                await asyncio.sleep(0.05)

    def booked(self, attempt_id: str) -> list[Any]:
        return self.served.ledger.find_all(attempt_id)


@pytest.fixture
def site(request: pytest.FixtureRequest, served: Served, tmp_path: Path) -> Site:
    return Site(request.param, served, tmp_path)


def at(*names: str) -> Any:
    return pytest.mark.parametrize("site", names, indirect=True)


@at("adyen", "checkout_com", "sandbox", "stripe")
def test_what_was_accepted_is_never_sent_again(site: Site) -> None:
    site.rule('[[rule]]\non = "refund"\npending_s = 3600\n')

    async def work(client: Client) -> None:
        attempt_id, operation_id = await site.settled(client), new_id("op")
        part = {"amount_minor": 1000, "currency": "EUR"}
        answer = await client.operate(attempt_id, "refund", operation_id, **part)
        assert answer.json()["outcome"] == "pending"
        site.served.ledger.forget_keys()
        await site.later(seconds=8 * DAY_S)
        async with asyncio.timeout(PATIENCE_S):
            while site.operation(operation_id)[1] < 2:
                await site.later(seconds=DAY_S)
        assert site.operation(operation_id)[0] == "pending"
        assert [row.refunded_minor for row in site.booked(attempt_id)] == [1000]
        waiting = (await client.operate(attempt_id, "refund", operation_id, **part)).json()
        assert waiting["needs_review"], "nobody but people can find it out"

    site.run(work)


@at(*READ_BACK)
def test_what_was_accepted_is_read_back_until_it_is_done(site: Site) -> None:
    site.rule('[[rule]]\non = "refund"\npending_s = 1\n')

    async def work(client: Client) -> None:
        attempt_id, operation_id = await site.settled(client), new_id("op")
        await client.operate(attempt_id, "refund", operation_id, amount_minor=1000, currency="EUR")
        await asyncio.sleep(1)
        await site.later(seconds=700)
        await site.until(operation_id, "done")

    site.run(work)


@at(*READ_BACK)
@pytest.mark.parametrize("kind", ["settle", "void", "refund"])
def test_an_operation_whose_answer_was_lost_is_found_done_when_its_key_is_gone(site: Site, kind: str) -> None:
    site.rule(f'[[rule]]\non = "{kind}"\nfault = "drop_after_booking"\n')

    async def work(client: Client) -> None:
        attempt_id = await (site.settled(client) if kind == "refund" else site.approved(client))
        operation_id = new_id("op")
        answer = await client.operate(attempt_id, kind, operation_id)
        assert answer.json()["outcome"] == "unknown"
        site.served.ledger.forget_keys()
        await site.later(seconds=DAY_S + 3600)
        await site.until(operation_id, "done")
        (row,) = site.booked(attempt_id)
        assert row.charged_minor == (4200 if kind == "settle" else 0)

    site.run(work)


@at("iso8583")
def test_what_cannot_be_read_back_is_not_sent_past_its_keys_life_and_is_for_people(site: Site) -> None:
    site.rule('[[rule]]\non = "settle"\nfault = "drop_after_booking"\n')

    async def work(client: Client) -> None:
        attempt_id, operation_id = await site.approved(client), new_id("op")
        asking = asyncio.create_task(client.operate(attempt_id, "settle", operation_id))
        site.harness.clock.ahead_s += DAY_S + 3600
        assert (await asking).json()["outcome"] == "unknown"
        site.served.ledger.forget_keys()
        async with asyncio.timeout(PATIENCE_S):
            while site.operation(operation_id)[1] == 0:
                await site.later(seconds=DAY_S)
        assert site.operation(operation_id)[0] == "unknown"
        assert (await client.operate(attempt_id, "settle", operation_id)).json()["needs_review"]
        movements = [row for row in site.served.ledger.movements() if row.kind == "settle"]
        assert len(movements) == 1, "sent once"

    site.run(work)


@at("checkout_com", "stripe", "sandbox")
def test_a_server_error_after_booking_books_once(site: Site) -> None:
    site.rule('[[rule]]\non = "refund"\nfault = "server_error"\n')

    async def work(client: Client) -> None:
        payment_id, token = await client.capture(number=SERVER_ERROR)
        attempt_id, operation_id = new_id("att"), new_id("op")
        assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
        found = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
        assert found["outcome"] == "approved"
        await client.operate(attempt_id, "settle")
        part = {"amount_minor": 1000, "currency": "EUR"}
        assert (await client.operate(attempt_id, "refund", operation_id, **part)).json()["outcome"] == (
            "unknown"
        )
        await site.later(seconds=1)
        await site.until(operation_id, "done")
        (row,) = site.booked(attempt_id)
        assert row.refunded_minor == 1000

    site.run(work)


@at("checkout_com")
def test_an_operation_that_the_acquirer_never_got_fails_after_a_while_and_not_before(site: Site) -> None:
    site.rule('[[rule]]\non = "settle"\nfault = "drop_before_booking"\n')

    async def work(client: Client) -> None:
        attempt_id, operation_id = await site.approved(client), new_id("op")
        assert (await client.operate(attempt_id, "settle", operation_id)).json()["outcome"] == "unknown"
        await site.later(seconds=60, rounds=4)
        assert site.operation(operation_id)[0] == "unknown", "it may be on its way"
        async with asyncio.timeout(PATIENCE_S):
            while site.operation(operation_id)[0] == "unknown":
                await site.later(seconds=300)
        assert site.operation(operation_id)[0] == "failed"
        assert (await client.operate(attempt_id, "settle")).json()["outcome"] in ("unknown", "done")

    site.run(work)


@at("checkout_com", "sandbox", "stripe")
def test_what_is_booked_late_is_never_told_as_reversed_while_it_stands(site: Site) -> None:
    # Only what is delayed may end for want of time: the rest is done in 1.5 s on a busy machine, too.
    site.rule("[[rule]]\nbooking_delay_s = 3.0\n")
    site.changes = {"read_s": 1.5}

    async def work(client: Client) -> None:
        payment_id, token = await client.capture()
        attempt_id = new_id("att")
        assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
        client.apps.services.codes.wipe(token)  # as after a crash: it cannot be sent again
        await asyncio.sleep(2.0)
        known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
        booked = [row for row in site.booked(attempt_id) if row.charged_minor]
        assert bool(booked) is (known["outcome"] == "approved")

    site.run(work)


@at("checkout_com")
def test_nothing_there_is_believed_after_two_minutes(site: Site) -> None:
    async def work(client: Client) -> None:
        payment_id, token = await client.capture(number=DROPPED_BEFORE_BOOKING)
        attempt_id = new_id("att")
        assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
        await site.later(seconds=15, rounds=5)
        assert (await client.attempt(attempt_id))["outcome"] == "unknown"
        await site.later(seconds=60, rounds=2)
        known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
        assert known["outcome"] == "reversed"

    site.run(work)


@at("adyen")
@pytest.mark.parametrize("number", [DROPPED_BEFORE_BOOKING, DROPPED_AFTER_BOOKING])
def test_adyens_own_webhook_ends_an_attempt_that_nobody_answered(site: Site, number: str) -> None:
    async def work(client: Client) -> None:
        payment_id, token = await client.capture(number=number)
        attempt_id = new_id("att")
        assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
        client.apps.services.codes.wipe(token)
        cancelled: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            while not cancelled:
                await site.later(seconds=60)
                told = site.served.ledger.webhooks("adyen")
                cancelled = [sent for sent in told if "TECHNICAL_CANCEL" in sent.body]
        assert (await client.attempt(attempt_id))["outcome"] == "unknown"
        for sent in cancelled:  # the authorization's own webhook got lost too
            answer = await client.panel.post("/v1/webhooks/adyen", content=sent.body.encode())
            assert answer.status_code == 200
        assert (await client.attempt(attempt_id))["outcome"] == "reversed"
        assert sum(row.charged_minor for row in site.booked(attempt_id)) == 0

    site.run(work)


@at("stripe")
def test_stripes_intent_is_found_among_those_of_its_minutes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_adapter, "_PAGE", 2)
    monkeypatch.setattr(stripe_adapter, "_MOST_PAGES", 2)
    for number in range(8):  # the shop's other intents of that day
        shop = {"reference": f"web{number}", "payment": "", "wire": "stripe"}
        site.served.ledger.draft(amount_minor=100, currency="EUR", **shop)
    with sqlite3.connect(site.folder / "ledger.sqlite3") as ledger:
        ledger.execute("UPDATE authorizations SET created_at = '2026-01-01T00:00:00.000000+00:00'")

    async def work(client: Client) -> None:
        payment_id, token = await client.capture(number=DROPPED_AFTER_BOOKING)
        attempt_id = new_id("att")
        await client.authorize(payment_id, token, attempt_id)
        client.apps.services.codes.wipe(token)
        known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
        assert known["outcome"] == "approved"

    site.run(work)


@at("stripe")
def test_a_harmless_intent_beside_a_charge_reverses_the_charge(site: Site) -> None:
    async def work(client: Client) -> None:
        payment_id, token = await client.capture(number=DROPPED_AFTER_BOOKING)
        attempt_id = new_id("att")
        await client.authorize(payment_id, token, attempt_id)
        with sqlite3.connect(site.folder / "vault" / "vault.sqlite3") as database:
            database.execute("UPDATE attempts SET reversal = 'due'")
        site.served.ledger.forget_keys()  # earlier than Stripe says
        known = await client.until(attempt_id, lambda body: body["outcome"] != "unknown")
        assert known["outcome"] == "reversed"
        assert sum(row.charged_minor for row in site.booked(attempt_id)) == 0

    site.run(work)


@at("generic")
def test_a_charge_that_nobody_can_find_out_is_closed_by_people(site: Site) -> None:
    async def work(client: Client) -> None:
        payment_id, token = await client.capture(number=DROPPED_AFTER_BOOKING)
        attempt_id = new_id("att")
        await client.authorize(payment_id, token, attempt_id)
        client.apps.services.codes.wipe(token)
        close = {"verdict": "approved", "acquirer_reference": "charge-17"}
        early = await client.panel.post(f"/v1/reviews/{attempt_id}", json=close)
        assert early.json()["code"] == "wrong-state"
        async with asyncio.timeout(PATIENCE_S):
            while not (await client.attempt(attempt_id))["needs_review"]:
                await site.later(seconds=61)
        assert client.apps.services.reviews.waiting() == 1
        nameless = await client.panel.post(f"/v1/reviews/{attempt_id}", json={"verdict": "approved"})
        assert nameless.status_code == 422
        async with asyncio.timeout(PATIENCE_S):
            url = f"/v1/reviews/{attempt_id}"
            while (await client.panel.post(url, json=close)).status_code != 204:
                await asyncio.sleep(0.1)  # the acquirer was just being asked
        after = await client.attempt(attempt_id)
        assert (after["outcome"], after["needs_review"]) == ("approved", False)
        assert (await client.operate(attempt_id, "settle")).json()["outcome"] == "done"
        again = await client.panel.post(f"/v1/reviews/{attempt_id}", json={"verdict": "reversed"})
        assert again.json()["code"] == "wrong-state"

    site.run(work)
