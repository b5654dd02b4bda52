"""The resolver: rows that ended meanwhile are left alone, a dead acquirer delays no other, one vault a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway_adapters.registry import make_acquirer
from paycall.domain.authorization import AuthorizationRequest, AuthorizationResult, OperationResult
from paycall.domain.card_ports import Card
from paycall.domain.errors import NotSentError, SettingsError
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.settings import SiteSettings
from paycall.vault.app import create_apps
from paycall.vault.store import Store
from tests.fakes.fake_acquirer import FakeAcquirer
from tests.fakes.vault_harness import Client, VaultHarness


class Busy(FakeAcquirer):
    """Turns the first request of each key away after a while, as with "too many requests", and takes the next."""

    after_s = 0.0

    async def authorize(self, request: AuthorizationRequest, card: Card) -> AuthorizationResult:
        await self._first(request.attempt_id)
        return await super().authorize(request, card)

    async def refund(self, key: str, acquirer_reference: str, money: Money) -> OperationResult:
        await self._first(key)
        return await super().refund(key, acquirer_reference, money)

    async def _first(self, key: str) -> None:
        if self.after_s and f"turned away {key}" not in self.calls:
            self.calls.append(f"turned away {key}")
            await asyncio.sleep(self.after_s)
            raise NotSentError


@pytest.fixture
def slow_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's rows are some hundredths of a second old when it looks at them."""
    read = Store.operations_due

    def slowly(self: Store, *args: Any) -> Any:
        rows = read(self, *args)
        time.sleep(0.05)
        return rows

    monkeypatch.setattr(Store, "operations_due", slowly)


@pytest.mark.usefixtures("slow_reads")
def test_what_was_told_as_not_sent_is_not_sent_afterwards(vault: VaultHarness) -> None:
    acquirer = Busy()
    vault.acquirer = acquirer

    async def turned_away(client: Client, attempt_id: str, after_s: float) -> None:
        acquirer.after_s = after_s
        payment_id, token = await client.capture()
        lost = new_id("att")
        answers = await asyncio.gather(
            client.authorize(payment_id, token, lost),
            client.operate(attempt_id, "refund", amount_minor=100, currency="EUR"),
        )
        assert {answer.json()["code"] for answer in answers} == {"not-sent"}
        assert lost not in acquirer.ledger

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            await client.operate(attempt_id, "settle")
            for number in range(8):
                await turned_away(client, attempt_id, 0.5 + number * 0.03)
            await asyncio.sleep(0.5)
        assert acquirer.ledger[attempt_id].refunded_minor == 0
        assert len(acquirer.ledger) == 1

    asyncio.run(main())


def test_a_dead_acquirer_delays_no_other(vault: VaultHarness) -> None:
    dead = FakeAcquirer(name="iso8583", script=["lost-answer"] * 200)

    async def never(*_: Any) -> None:
        await asyncio.sleep(60)

    dead.look_up = never  # type: ignore[assignment,method-assign]
    vault.others = {"iso8583": dead}
    routes = [{"acquirer": "iso8583", "at_most_minor": 1000}, {"acquirer": "sandbox"}]
    vault.changes = {"acquirer_timeout_s": 20.0, "routes": routes}
    vault.acquirer.script = ["lost-answer"]

    async def lost(client: Client, amount_minor: int) -> str:
        payment_id, token = await client.capture()
        attempt_id = new_id("att")
        answer = await client.authorize(payment_id, token, attempt_id, amount_minor=amount_minor)
        assert answer.json()["outcome"] == "unknown"
        return attempt_id

    async def main() -> None:
        async with vault.running() as client:
            await asyncio.gather(*(lost(client, 900) for _ in range(40)))
            await asyncio.sleep(0.5)
            attempt_id = await lost(client, 4200)
            await client.until(attempt_id, lambda body: body["outcome"] == "approved", limit_s=15)

    asyncio.run(main())


def test_an_operation_id_that_is_under_way_is_for_one_request_only(vault: VaultHarness) -> None:
    acquirer = Busy()
    vault.acquirer = acquirer

    async def main() -> None:
        async with vault.running() as client:
            acquirer.after_s = 0.0
            payment_id, token = await client.capture()
            attempt_id, operation_id = new_id("att"), new_id("op")
            await client.authorize(payment_id, token, attempt_id)
            await client.operate(attempt_id, "settle")
            acquirer.after_s = 1.0

            def refund(minor: int) -> Coroutine[Any, Any, httpx.Response]:
                return client.operate(attempt_id, "refund", operation_id, amount_minor=minor, currency="EUR")

            one = asyncio.create_task(refund(100))
            async with asyncio.timeout(40):
                while f"turned away {operation_id}" not in acquirer.calls:
                    await asyncio.sleep(0.01)
            same, other = await asyncio.gather(refund(100), refund(3000))
            assert (await one).json() == same.json()
            assert other.json()["code"] == "wrong-state"

    asyncio.run(main())


def test_a_second_vault_on_the_same_database_is_refused(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running():
            with pytest.raises(SettingsError, match="another vault works on this database"):
                async with vault.running():
                    pass
        async with vault.running():
            pass

    asyncio.run(main())


def test_a_webhook_that_was_faster_is_what_is_told(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            asking = await vault.hanging(client, payment_id, token, attempt_id)
            with client.apps.services.store.begin() as connection:  # what a webhook writes
                connection.execute(
                    sa.text("UPDATE attempts SET state = 'reversed', reversal = 'done', next_try_at = NULL")
                )
            vault.acquirer.release.set()
            assert (await asking).json()["outcome"] == "reversed"

    asyncio.run(main())


def test_a_live_site_needs_adyens_webhooks(vault: VaultHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[str, Any] = {"api_key": "key", "merchant_account": "Shop"}
    vault.changes = {"acquirer": "adyen", "acquirers": {"adyen": table}}
    made: list[Any] = []

    def make(*args: Any) -> Any:
        made.append(make_acquirer(*args))
        return made[-1]

    monkeypatch.setattr("paycall.vault.app.make_acquirer", make)
    with pytest.raises(SettingsError, match="webhook_hmac_key: a live site cannot do without"):
        create_apps(vault.settings, SiteSettings(mode="live"))
    for acquirer in made:
        asyncio.run(acquirer.aclose())


def test_what_is_being_done_about_an_unknown_outcome_is_told(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-request"] * 40
    vault.acquirer.trouble = {"look_up", "reverse"}

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            await client.authorize(payment_id, token, attempt_id)
            told = (await client.until(attempt_id, lambda body: body["search"]["rounds"] == 2))["search"]
            assert told["asks_again"] and not told["reversing"] and 0 <= told["next_in_s"] <= 1
            vault.clock.ahead_s += 301  # the code is gone: it is not asked for again
            told = (await client.until(attempt_id, lambda body: body["search"]["rounds"] > 2))["search"]
            assert not told["asks_again"]
            async with asyncio.timeout(40):
                while not (told := (await client.attempt(attempt_id))["search"])["reversing"]:
                    vault.clock.ahead_s += 60
                    await asyncio.sleep(0.05)
            assert told["rounds"] >= 6 and not told["asks_again"]
            vault.acquirer.trouble = set()
            vault.clock.ahead_s += 60
            assert (await client.until(attempt_id, lambda body: body["outcome"] == "reversed"))[
                "search"
            ] is None

    asyncio.run(main())


def test_an_enquiry_looks_up_and_neither_charges_nor_hastens_a_reversal(vault: VaultHarness) -> None:
    vault.acquirer.script = ["lost-answer"]
    vault.acquirer.trouble = {"look_up"}
    vault.clock.ahead_s = 600

    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")

            async def enquire() -> dict[str, Any]:
                answer = await client.panel.post(f"/v1/authorizations/{attempt_id}/enquire")
                assert answer.status_code == 200
                return dict(answer.json())

            assert (await client.panel.post(f"/v1/authorizations/{attempt_id}/enquire")).status_code == 404
            await client.authorize(payment_id, token, attempt_id)
            vault.clock.ahead_s -= 600  # the search stands still: what is asked now is asked by us
            while client.apps.services.resolver.busy(attempt_id):
                await asyncio.sleep(0.01)
            before = (await client.attempt(attempt_id))["search"]["rounds"]
            vault.acquirer.calls.clear()
            for _ in range(8):
                told = await enquire()
                assert told["outcome"] == "unknown" and told["search"]["rounds"] == before
            assert vault.acquirer.calls == ["look_up"] * 8
            vault.acquirer.trouble = set()
            assert (await enquire())["outcome"] == "approved"
            assert (await enquire())["outcome"] == "approved"
            assert vault.acquirer.calls == ["look_up"] * 9, "what is known is not asked for"
            assert [booking.reserved_minor for booking in vault.acquirer.ledger.values()] == [4200]

    asyncio.run(main())


def test_what_is_on_its_way_is_not_enquired_about(vault: VaultHarness) -> None:
    async def main() -> None:
        async with vault.running() as client:
            payment_id, token = await client.capture()
            attempt_id = new_id("att")
            asking = await vault.hanging(client, payment_id, token, attempt_id)
            answer = await client.panel.post(f"/v1/authorizations/{attempt_id}/enquire")
            assert answer.json()["outcome"] == "unknown"
            assert vault.acquirer.calls == ["authorize"]
            vault.acquirer.release.set()
            assert (await asking).json()["outcome"] == "approved"

    asyncio.run(main())
