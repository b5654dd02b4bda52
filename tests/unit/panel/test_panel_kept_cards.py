"""Reusable tokens on the panel: kept where the caller agrees and the site allows it, charged again, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from paycall.domain.ids import new_id
from paycall.panel.roles import Role
from tests.fakes.panel_world import APPROVED, DECLINED, PanelWorld, card_ready, charge, new_payment, until

Run = Callable[..., None]
ALLOWED = {"reusable_token_roles": ("operator", "supervisor")}


async def kept_by(client: httpx.AsyncClient, call_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/api/v1/calls/{call_id}/kept-cards")
    assert answer.status_code == 200, answer.text
    cards: list[dict[str, Any]] = answer.json()["kept_cards"]
    return cards


async def keep(world: PanelWorld, client: httpx.AsyncClient) -> tuple[str, dict[str, Any]]:
    """A call whose caller paid and lets the card be kept; the payment names it."""
    call_id, payment = await card_ready(world, client, APPROVED, token_type="reusable")
    await charge(client, payment["id"], "settled")
    (card,) = await kept_by(client, call_id)
    async with asyncio.timeout(40):
        while not (shown := (await client.get(f"/api/v1/payments/{payment['id']}")).json())["kept_token"]:
            await asyncio.sleep(0.02)
    assert (shown["token_type"], shown["kept_token"]) == ("reusable", card["token"])
    return call_id, card


async def start(client: httpx.AsyncClient, call_id: str, **body: Any) -> httpx.Response:
    body = {"amount_minor": 500, "currency": "EUR", **body}
    headers = {"idempotency-key": new_id("key")}
    return await client.post(f"/api/v1/calls/{call_id}/payments", json=body, headers=headers)


def test_a_kept_card_is_charged_in_a_later_call_and_nothing_is_keyed(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        first, card = await keep(world, anna)
        assert (card["brand"], card["last4"], card["expiry"], card["expired"]) == (
            "visa",
            "4242",
            "12/30",
            False,
        )
        await world.cell.end(first)
        call_id = await world.cell.call_in()
        page = (await anna.get("/", params={"call": call_id})).text
        assert f'data-kept-card="{card["token"]}"' in page and "data-keeps-card" in page
        assert "Forget the kept card" not in page
        payment = await new_payment(anna, call_id, kept_card=card["token"])
        assert (payment["state"], payment["missing"], payment["card"]["last4"]) == ("ready", [], "4242")
        assert not world.cell.calls[call_id].masked
        again = await anna.post(f"/api/v1/payments/{payment['id']}/authorize")
        assert again.json()["code"] == "possible-duplicate"
        await anna.post(f"/api/v1/payments/{payment['id']}/authorize", json={"confirm_duplicate": True})
        await until(anna, payment["id"], "settled")
        first_request, later = world.vault.authorizations
        assert first_request.keep_for and not later.keep_for

    run(scenario, **ALLOWED)


def test_a_withheld_number_keeps_no_card_and_reaches_nobody_s(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, card = await keep(world, anna)
        hidden = await world.cell.call_in(caller="anonymous")
        refused = await start(anna, hidden, token_type="reusable")
        assert (refused.status_code, refused.json()["code"]) == (409, "number-withheld")
        assert (await start(anna, hidden, kept_card=card["token"])).json()["code"] == "number-withheld"
        assert await kept_by(anna, hidden) == []
        assert "data-keeps-card" not in (await anna.get("/", params={"call": hidden})).text
        other = await world.cell.call_in(caller="+36705550000")
        assert await kept_by(anna, other) == []
        stolen = await start(anna, other, kept_card=card["token"])
        assert (stolen.status_code, stolen.json()["code"]) == (404, "not-found")

    run(scenario, **ALLOWED)


def test_where_the_site_does_not_name_the_role_no_card_is_kept(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        for body in ({"token_type": "reusable"}, {"kept_card": new_id("tok")}):
            assert (await start(anna, call_id, **body)).status_code == 403
        assert 'name="token_type"' not in (await anna.get("/", params={"call": call_id})).text

    run(scenario)


def test_a_supervisor_forgets_a_kept_card_and_the_audit_says_who(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("sofia", Role.SUPERVISOR)
        world.add("otto", Role.ADMINISTRATOR)
        anna, sofia = await world.signed_in("anna"), await world.signed_in("sofia")
        call_id, card = await keep(world, anna)
        path = f"/api/v1/calls/{call_id}/kept-cards/{card['token']}"
        assert (await anna.delete(path)).status_code == 403
        assert (await sofia.delete(path)).status_code == 204
        assert await kept_by(anna, call_id) == []
        payments = (await anna.get("/api/v1/payments", params={"call_id": call_id})).json()["payments"]
        assert [payment["kept_token"] for payment in payments] == [None]
        assert (await start(anna, call_id, kept_card=card["token"])).status_code == 404
        audit = (await (await world.signed_in("otto")).get("/audit")).text
        assert card["token"] in audit

    run(scenario, **ALLOWED)


def test_nothing_is_kept_of_a_declined_card_and_another_one_may_be_keyed_instead_of_a_kept_one(
    run: Run,
) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await card_ready(world, anna, DECLINED, token_type="reusable")
        await charge(anna, payment["id"], "declined")
        assert await kept_by(anna, call_id) == []
        await anna.post(f"/api/v1/payments/{payment['id']}/cancel")
        call_id, card = await keep(world, anna)
        later = await new_payment(anna, call_id, kept_card=card["token"])
        fields = {"fields": ["payment-card-number", "expiration-date", "security-code"]}
        taken = await anna.post(f"/api/v1/payments/{later['id']}/capture", json=fields)
        assert taken.status_code == 202 and world.cell.calls[call_id].masked
        await world.cell.key(call_id, "5555555555554444", "1230", "123")
        ready = await until(anna, later["id"], "ready")
        assert ready["card"]["last4"] == "4444"

    run(scenario, **ALLOWED)
