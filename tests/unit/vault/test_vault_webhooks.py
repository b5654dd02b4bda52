"""Webhooks in the vault: signature first, each event once, in any order, and never over what is known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway_adapters.webhooks import WebhookEvent, WebhookKind
from paycall.domain.authorization import AuthorizationResult, OperationOutcome, OperationResult, Outcome
from paycall.domain.card_ports import Card, Traits
from paycall.domain.errors import NoAnswerError, NotAllowedError
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.vault.tables import webhook_events
from tests.fakes.fake_acquirer import FakeAcquirer
from tests.fakes.vault_harness import Client, VaultHarness

DONE, FAILED = OperationOutcome.DONE, OperationOutcome.FAILED


@dataclass
class LaterAcquirer(FakeAcquirer):
    """Receives operations and answers them by webhook; its webhooks name an event that was put in ``events``."""

    events: dict[str, WebhookEvent] = field(default_factory=dict)
    silent: bool = False
    traits: Traits = field(default=Traits(key_life_s=7 * 86_400, holds_back=False, reads_operations=False))
    refund_answer_lost: bool = False
    reversals: list[str] = field(default_factory=list)

    def verify_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> list[WebhookEvent]:
        if headers.get("signature") != "right":
            raise NotAllowedError
        return [self.events[name] for name in json.loads(body)]

    async def settle(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        return OperationResult(OperationOutcome.PENDING, f"{key}-at-acquirer")

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        if self.refund_answer_lost:
            raise NoAnswerError
        return OperationResult(OperationOutcome.PENDING, f"{key}-at-acquirer")

    async def look_up(self, attempt_id: str, sent_at: datetime) -> AuthorizationResult | None:
        return AuthorizationResult(Outcome.UNKNOWN, self.name)

    async def reverse(self, key: str, attempt_id: str, money: Money, sent_at: datetime) -> OperationResult:
        self.reversals.append(key)
        return OperationResult(OperationOutcome.PENDING)

    async def authorize(self, request: Any, card: Card) -> AuthorizationResult:
        result = await super().authorize(request, card)
        return AuthorizationResult(Outcome.UNKNOWN, self.name) if self.silent else result


@pytest.fixture
def acquirer() -> LaterAcquirer:
    return LaterAcquirer()


@pytest.fixture
def vault(tmp_path: Path, acquirer: LaterAcquirer) -> VaultHarness:
    return VaultHarness(tmp_path, acquirer=acquirer)


async def deliver(client: Client, *names: str, signature: str = "right") -> httpx.Response:
    return await client.panel.post(
        "/v1/webhooks/sandbox", content=json.dumps(names), headers={"signature": signature}
    )


async def pending_settle(client: Client) -> tuple[str, str]:
    payment_id, token = await client.capture()
    attempt_id, operation_id = new_id("att"), new_id("op")
    assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "approved"
    assert (await client.operate(attempt_id, "settle", operation_id)).json()["outcome"] == "pending"
    return attempt_id, operation_id


async def outcome(client: Client, attempt_id: str, kind: str, operation_id: str) -> str:
    return str((await client.operate(attempt_id, kind, operation_id)).json()["outcome"])


def test_a_pending_settle_becomes_done_by_its_signed_webhook_and_by_no_other(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id, operation_id = await pending_settle(client)
            acquirer.events["e"] = WebhookEvent(
                "e", WebhookKind.SETTLEMENT, operation_id, "cap-1", "ref-1", outcome=DONE, raw_code="CAPTURE"
            )
            refused = await deliver(client, "e", signature="wrong")
            assert (refused.status_code, refused.json()["code"]) == (403, "not-allowed")
            assert await outcome(client, attempt_id, "settle", operation_id) == "pending"
            for _ in range(3):
                assert (await deliver(client, "e")).status_code == 200
            answer = (await client.operate(attempt_id, "settle", operation_id)).json()
            assert (answer["outcome"], answer["acquirer_reference"]) == ("done", "cap-1")
            assert answer["raw_code"] == "CAPTURE"
            with client.apps.services.store.reading() as connection:
                query = sa.text("select count(*) from audit where subject = :id and result = 'done'")
                assert connection.execute(query, {"id": operation_id}).scalar() == 1

    asyncio.run(main())


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_a_failure_stands_whatever_comes_first(
    vault: VaultHarness, acquirer: LaterAcquirer, order: tuple[str, str]
) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id, operation_id = await pending_settle(client)
            for name, said in (("good", DONE), ("bad", FAILED)):
                acquirer.events[name] = WebhookEvent(name, WebhookKind.SETTLEMENT, operation_id, outcome=said)
            told = [(await deliver(client, name)).json()["failed"] for name in (*order, "bad", "good")]
            assert told == [[operation_id] if name == "bad" else [] for name in (*order, "bad", "good")], (
                "who passes it on learns it each time: he may have missed it"
            )
            assert await outcome(client, attempt_id, "settle", operation_id) == "failed"

    asyncio.run(main())


def test_an_unknown_authorization_becomes_known_and_an_event_never_reopens_it(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        acquirer.silent = True
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
            for name, said in (("yes", Outcome.APPROVED), ("nothing", Outcome.UNKNOWN)):
                result = AuthorizationResult(said, "sandbox", "ref-1", approved_minor=4200)
                acquirer.events[name] = WebhookEvent(
                    name, WebhookKind.AUTHORIZATION, attempt_id, "ref-1", "ref-1", result=result
                )
            assert (await deliver(client, "yes", "nothing")).status_code == 200
            assert (await client.attempt(attempt_id))["outcome"] == "approved"
            await asyncio.sleep(0.8)  # rounds of the resolver that began before
            assert (await client.attempt(attempt_id))["outcome"] == "approved"
            card = (await client.panel.get(f"/v1/payments/{payment_id}/card")).json()
            assert not card["has_security_code"], "it is answered: the code goes"

    asyncio.run(main())


def test_an_approval_announced_after_a_decline_is_reversed(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        acquirer.script.append("decline")
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "declined"
            result = AuthorizationResult(Outcome.APPROVED, "sandbox", "ref-1", approved_minor=4200)
            acquirer.events["late"] = WebhookEvent(
                "late", WebhookKind.AUTHORIZATION, attempt_id, "ref-1", "ref-1", result=result
            )
            assert (await deliver(client, "late")).status_code == 200
            async with asyncio.timeout(40):
                while not acquirer.reversals:
                    await asyncio.sleep(0.05)
            assert (await client.attempt(attempt_id))["outcome"] == "declined", "as the operator was told"

    asyncio.run(main())


def test_a_reversal_that_was_only_received_is_done_by_its_webhook(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        acquirer.silent = True
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            assert (await client.authorize(payment_id, token, attempt_id)).json()["outcome"] == "unknown"
            vault.clock.ahead_s = 400  # the code is gone: from now on it is looked up, then reversed
            async with asyncio.timeout(40):
                while not acquirer.reversals:
                    await asyncio.sleep(0.05)
                    vault.clock.ahead_s += 60
            assert (await client.attempt(attempt_id))["outcome"] == "unknown"
            acquirer.events["undone"] = WebhookEvent(
                "undone", WebhookKind.REVERSAL, acquirer.reversals[0], "psp", outcome=DONE
            )
            assert (await deliver(client, "undone")).status_code == 200
            assert (await client.attempt(attempt_id))["outcome"] == "reversed"

    asyncio.run(main())


def test_a_reversal_that_found_nothing_ends_it_once_nothing_can_be_on_its_way(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        acquirer.silent = True
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            client.apps.services.codes.wipe(token)
            async with asyncio.timeout(40):
                while not acquirer.reversals:
                    await asyncio.sleep(0.3)
                    vault.clock.ahead_s = min(100, vault.clock.ahead_s + 16)
            for name, original in (("nothing", None), ("refused", "psp-of-another")):
                acquirer.events[name] = WebhookEvent(
                    name, WebhookKind.REVERSAL, attempt_id, "psp", original, outcome=FAILED
                )
            assert (await deliver(client, "nothing")).status_code == 409, "it may be on its way"
            vault.clock.ahead_s = 130
            assert (await deliver(client, "refused")).status_code == 200
            assert (await client.attempt(attempt_id))["outcome"] == "unknown", "it was found, and stands"
            assert (await deliver(client, "nothing")).status_code == 200
            assert (await client.attempt(attempt_id))["outcome"] == "reversed"

    asyncio.run(main())


def test_a_refund_is_known_by_the_acquirers_name(vault: VaultHarness, acquirer: LaterAcquirer) -> None:
    async def main() -> None:
        async with vault.running() as client:
            attempt_id, settle_id = await pending_settle(client)
            refund_id, reference = new_id("op"), (await client.attempt(attempt_id))["acquirer_reference"]
            await client.operate(attempt_id, "refund", refund_id, amount_minor=100, currency="EUR")
            for name, refund in (("other", "somebody-elses"), ("ours", f"{refund_id}-at-acquirer")):
                acquirer.events[name] = WebhookEvent(
                    name, WebhookKind.REFUND, None, refund, reference, outcome=DONE
                )
            assert (await deliver(client, "other")).status_code == 200
            again = {"amount_minor": 100, "currency": "EUR"}
            answer = await client.operate(attempt_id, "refund", refund_id, **again)
            assert answer.json()["outcome"] == "pending"
            assert (await deliver(client, "ours")).status_code == 200
            answer = await client.operate(attempt_id, "refund", refund_id, **again)
            assert answer.json()["outcome"] == "done"
            assert await outcome(client, attempt_id, "settle", settle_id) == "pending"

    asyncio.run(main())


def test_a_refunds_event_before_its_answer_is_asked_for_again(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        acquirer.refund_answer_lost = True
        async with vault.running() as client:
            attempt_id, _ = await pending_settle(client)
            refund_id, reference = new_id("op"), (await client.attempt(attempt_id))["acquirer_reference"]
            await client.operate(attempt_id, "refund", refund_id, amount_minor=100, currency="EUR")
            acquirer.events["early"] = WebhookEvent(
                "early", WebhookKind.REFUND, None, f"{refund_id}-at-acquirer", reference, outcome=DONE
            )
            assert (await deliver(client, "early")).status_code == 409, "nobody can tell whose it is yet"
            acquirer.refund_answer_lost = False
            async with asyncio.timeout(40):
                while (await deliver(client, "early")).status_code != 200:
                    await asyncio.sleep(0.05)
            answer = await client.operate(attempt_id, "refund", refund_id, amount_minor=100, currency="EUR")
            assert answer.json()["outcome"] == "done"

    asyncio.run(main())


def test_what_names_nothing_of_ours_is_taken_and_old_events_are_forgotten(
    vault: VaultHarness, acquirer: LaterAcquirer
) -> None:
    async def main() -> None:
        acquirer.events["strange"] = WebhookEvent("s", WebhookKind.VOID, "order 7", "x", "y", outcome=DONE)
        async with vault.running() as client:
            assert (await deliver(client, "strange")).status_code == 200
            assert (await client.panel.post("/v1/webhooks/nobody", content=b"[]")).status_code == 404
            webhooks = client.apps.services.webhooks
            assert webhooks.delete_old() == 0
            vault.clock.ahead_s = 61 * 86400
            webhooks.delete_old()  # or the vault by itself, which may be faster
            with client.apps.services.store.reading() as connection:
                assert not connection.execute(sa.select(webhook_events)).all()

    asyncio.run(main())


def test_an_acquirer_without_webhooks_has_no_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with VaultHarness(tmp_path).running() as client:
            assert (await deliver(client)).status_code == 404

    asyncio.run(main())
