"""While nobody knows what became of a charge: asked for now, set aside, and never charged twice without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from paycall.domain.authorization import Outcome, Search
from paycall.domain.ids import new_id
from paycall.panel.roles import Role
from tests.fakes.panel_world import APPROVED, NO_ANSWER, PanelWorld, card_ready, charge, new_payment, until

Run = Callable[..., None]
SEARCH = Search(rounds=3, asks_again=False, reversing=False, next_in_s=30.0, people_in_s=3000.0)


async def _unknown(world: PanelWorld, client: httpx.AsyncClient, **body: Any) -> tuple[str, dict[str, Any]]:
    """A call whose payment has no outcome, and what the panel says of it once the vault has told of its search."""
    world.vault.search = SEARCH
    call_id, payment = await card_ready(world, client, NO_ANSWER, **body)
    await charge(client, payment["id"], "unknown")
    return call_id, await _told(client, payment["id"], lambda told: told["search"] is not None)


async def _told(
    client: httpx.AsyncClient, payment_id: str, good: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    while not good(payment := (await client.get(f"/api/v1/payments/{payment_id}")).json()):
        await asyncio.sleep(0.02)
    return dict(payment)


async def _post(client: httpx.AsyncClient, payment_id: str, what: str, **body: Any) -> httpx.Response:
    return await client.post(f"/api/v1/payments/{payment_id}/{what}", json=body or None)


async def _start(client: httpx.AsyncClient, call_id: str, **body: Any) -> httpx.Response:
    return await client.post(
        f"/api/v1/calls/{call_id}/payments",
        json={"amount_minor": 1999, "currency": "EUR", **body},
        headers={"idempotency-key": new_id("key")},
    )


def test_the_acquirer_is_asked_at_the_operators_word_once_in_a_while(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await _unknown(world, anna)
        page = (await anna.get(f"/fragments/board?call={call_id}")).text
        assert "the acquirer simulator" in page and "A supervisor is asked in" in page
        assert 2990 < payment["search"]["people_in_s"] <= 3000
        world.vault.enquiry_gate = asyncio.Event()
        asked = await _post(anna, payment["id"], "enquire")
        assert asked.status_code == 202 and asked.json()["search"]["enquiring"]
        assert "is being asked at this moment" in (await anna.get(f"/fragments/board?call={call_id}")).text
        for _ in range(3):
            again = await _post(anna, payment["id"], "enquire")
            assert (again.status_code, again.json()["code"]) == (429, "too-many-requests")
        world.vault.enquiry_gate.set()
        await _told(anna, payment["id"], lambda told: not told["search"]["enquiring"])
        world.clock.advance(seconds=11)
        world.vault.resolve(payment["attempts"][0]["id"], Outcome.APPROVED)
        await _post(anna, payment["id"], "enquire")
        await until(anna, payment["id"], "settled")
        assert len(world.vault.authorizations) == 1, "an enquiry charges nothing"
        assert (await _post(anna, payment["id"], "enquire")).status_code == 409
        assert len(world.vault.enquiries) <= 2
        story = (await anna.get(f"/payments/{payment['id']}")).text
        assert story.count("The acquirer is asked at somebody&#39;s word") == len(world.vault.enquiries)

    run(scenario)


def test_an_enquiry_that_fails_leaves_the_search_as_it_was(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await _unknown(world, anna)
        world.vault.down = True
        assert (await _post(anna, payment["id"], "enquire")).status_code == 202
        world.vault.down = False
        world.vault.resolve(payment["attempts"][0]["id"], Outcome.REVERSED)
        await until(anna, payment["id"], "reversed")

    run(scenario)


@pytest.mark.parametrize("keeps", [False, True], ids=["nobody", "somebody"])
def test_who_stops_waiting_frees_the_call_and_a_late_approval_is_kept_or_voided(
    run: Run, keeps: bool
) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        anna, boss = await world.signed_in("anna"), await world.signed_in("boss")
        call_id, payment = await _unknown(world, anna)
        assert world.cell.calls[call_id].masked
        assert 'id="waiting"' not in (await boss.get("/fragments/board")).text
        aside = await _post(anna, payment["id"], "set-aside")
        assert aside.status_code == 202 and aside.json()["set_aside"]
        assert aside.json()["actions"] == ["enquire"]
        async with asyncio.timeout(40):
            while world.cell.calls[call_id].masked:
                await asyncio.sleep(0.02)
        assert "1 payment waits for somebody" in (await boss.get("/fragments/board")).text
        assert f"/payments/{payment['id']}" in (await boss.get("/history?state=waiting")).text
        page = (await anna.get(f"/fragments/board?call={call_id}")).text
        assert "Start another payment" in page and "Set aside" in page
        second = await new_payment(anna, call_id, amount_minor=500)
        assert second["state"] == "capturing" and world.cell.calls[call_id].masked
        await _post(anna, second["id"], "cancel")

        world.vault.resolve(payment["attempts"][0]["id"], Outcome.APPROVED)
        late = await until(anna, payment["id"], "approved")
        assert late["decision_deadline"] and not world.vault.operations, "not settled behind anybody's back"
        assert "1 payment waits for somebody" in (await boss.get("/fragments/board")).text
        if keeps:
            await _post(boss, payment["id"], "settle")
            await until(anna, payment["id"], "settled")
        else:
            world.clock.advance(minutes=10, seconds=1)
            again = await world.signed_in("anna")  # idle for ten minutes and more
            await until(again, payment["id"], "voided")
        kinds = [kind for kind, _ in world.vault.operations.values()]
        assert kinds == (["settle"] if keeps else ["void"])
        assert len(world.vault.authorizations) == 1

    run(scenario)


def test_set_aside_and_never_sent_is_cancelled(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await _unknown(world, anna)
        await _post(anna, payment["id"], "set-aside")
        world.vault.attempts.clear()
        await until(anna, payment["id"], "cancelled")
        async with asyncio.timeout(40):
            while payment["id"] not in world.vault.dropped:
                await asyncio.sleep(0.02)
        assert (await new_payment(anna, call_id))["state"] == "capturing"

    run(scenario)


def test_what_was_set_aside_keeps_nobody_signed_in(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await _unknown(world, anna)
        world.clock.advance(minutes=16)
        assert (await anna.get("/api/v1/session")).status_code == 200, "in the middle of a payment"
        await _post(anna, payment["id"], "set-aside")
        world.clock.advance(minutes=16)
        assert (await anna.get("/api/v1/session")).status_code == 401

    run(scenario)


def test_a_second_payment_of_the_same_amount_is_warned_of(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boris")
        anna, boris = await world.signed_in("anna"), await world.signed_in("boris")
        call_id, payment = await _unknown(world, anna)
        await _post(anna, payment["id"], "set-aside")
        other = await world.cell.call_in()  # the same caller, at another desk
        stranger = await world.cell.call_in(caller="+3699999999")
        for client, call, body, status in (
            (anna, call_id, {}, 409),
            (boris, other, {}, 409),
            (boris, other, {"amount_minor": 2000}, 201),
            (boris, stranger, {}, 201),
        ):
            answer = await _start(client, call, **body)
            assert answer.status_code == status
            assert status == 201 or answer.json()["code"] == "outcome-unknown"
        meant = await _start(anna, call_id, confirm_duplicate=True)
        assert meant.status_code == 201
        # The same card again: asked once more, however long ago it was.
        world.clock.advance(minutes=11)
        await world.cell.key(call_id, NO_ANSWER, "1230", "123")
        await until(anna, meant.json()["id"], "ready")
        refused = await _post(anna, meant.json()["id"], "authorize")
        assert (refused.status_code, refused.json()["code"]) == (409, "outcome-unknown")
        assert len(world.vault.authorizations) == 1

    run(scenario)


def test_callers_whose_number_is_withheld_are_not_one(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        world.vault.search = SEARCH
        one, other = [await world.cell.call_in(caller="anonymous") for _ in range(2)]
        payment = await new_payment(anna, one)
        await world.cell.key(one, NO_ANSWER, "1230", "123")
        await until(anna, payment["id"], "ready")
        await charge(anna, payment["id"], "unknown")
        assert (await _start(anna, other)).status_code == 201
        assert (await _start(anna, one)).status_code == 409, "the same call is the same caller"

    run(scenario)


def test_keeping_what_was_paid_again_meanwhile_is_warned_of(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await _unknown(world, anna)
        await _post(anna, payment["id"], "set-aside")
        second = (await _start(anna, call_id, confirm_duplicate=True)).json()
        await world.cell.key(call_id, APPROVED, "1230", "123")
        await until(anna, second["id"], "ready")
        await charge(anna, second["id"], "settled")
        world.vault.resolve(payment["attempts"][0]["id"], Outcome.APPROVED)
        assert (await until(anna, payment["id"], "approved"))["paid_again"]
        page = (await anna.get(f"/payments/{payment['id']}")).text
        assert "keep this one only if both are meant" in page

    run(scenario)
