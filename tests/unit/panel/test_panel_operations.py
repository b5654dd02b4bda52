"""Settling, voiding, refunding: amounts, limits of roles, what goes by itself."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Callable

import pytest

from paycall.domain.authorization import OperationOutcome
from paycall.domain.errors import NotSentError
from paycall.panel import languages
from paycall.panel.languages import LANGUAGES, sum_money
from paycall.panel.roles import Role
from tests.fakes.panel_world import (
    APPROVED,
    PanelWorld,
    card_ready,
    charge,
    until,
)

Run = Callable[..., None]


def test_refunds_in_parts_and_not_more_than_was_paid(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        anna, boss = await world.signed_in("anna"), await world.signed_in("boss")
        _, payment = await card_ready(world, anna, APPROVED)
        await charge(anna, payment["id"], "settled")
        url = f"/api/v1/payments/{payment['id']}/refund"
        assert (await anna.post(url)).status_code == 403
        assert (await boss.post(url, json={"amount_minor": 2000})).status_code == 422
        assert (await boss.post(url, json={"amount_minor": 500})).status_code == 202
        await until(boss, payment["id"], "partly_refunded")
        assert (await boss.post(url)).status_code == 202
        refunded = await until(boss, payment["id"], "refunded")
        assert refunded["refunded_minor"] == 1999

    run(scenario)


def test_a_failed_settlement_can_be_repeated(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        world.vault.operation_outcome = OperationOutcome.FAILED
        _, payment = await card_ready(world, anna, APPROVED)
        await charge(anna, payment["id"], "settle_failed")
        world.vault.operation_outcome = OperationOutcome.DONE
        await anna.post(f"/api/v1/payments/{payment['id']}/settle")
        await until(anna, payment["id"], "settled")

    run(scenario)


def test_what_settles_by_itself_is_sent_until_the_acquirer_is_reached(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        world.vault.operation_error = NotSentError
        _, payment = await card_ready(world, anna, APPROVED)
        await charge(anna, payment["id"], "settling")
        await world.restart()
        back = world.client()
        back.cookies = anna.cookies
        assert (await back.get(f"/api/v1/payments/{payment['id']}")).json()["state"] == "settling"
        world.vault.operation_error = None
        await until(back, payment["id"], "settled")
        assert len(world.vault.operations) == 1

    run(scenario)


def test_what_a_person_asked_for_and_was_not_sent_is_told_as_failed(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        payment_id = await _paid(world, "approved")
        anna = await world.signed_in("anna")
        world.vault.operation_error = NotSentError
        await anna.post(f"/api/v1/payments/{payment_id}/void")
        assert (await until(anna, payment_id, "void_failed"))["operations"][-1]["error"] == "not-sent"

    run(scenario, settlement="manual")


async def _paid(world: PanelWorld, *states: str) -> str:
    """A payment of EUR 19.99 that the bank approved, in one of these states."""
    anna = await world.signed_in("anna")
    _, payment = await card_ready(world, anna, APPROVED)
    await charge(anna, payment["id"], *states)
    return str(payment["id"])


def test_a_role_refunds_up_to_its_limit(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        url = f"/api/v1/payments/{await _paid(world, 'settled')}/refund"
        boss = await world.signed_in("boss")
        for body in (None, {"amount_minor": 1001}):
            refused = await boss.post(url, json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "over-limit")
        assert (await boss.post(url, json={"amount_minor": 600})).status_code == 202
        payment = await until(boss, url.split("/")[4], "partly_refunded")
        assert payment["refunded_minor"] == 600
        refused = await boss.post(url, json={"amount_minor": 401})  # the limit is not met twice by halves
        assert (refused.status_code, refused.json()["code"]) == (403, "over-limit")
        assert (await boss.post(url, json={"amount_minor": 400})).status_code == 202

    run(scenario, refund_limits_minor={"supervisor": 1000})


def test_a_limit_can_be_one_for_each_currency(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        for currency, status in (("HUF", 202), ("EUR", 403)):
            _, payment = await card_ready(world, anna, APPROVED, currency=currency)
            await charge(anna, payment["id"], "approved")
            answer = await anna.post(f"/api/v1/payments/{payment['id']}/settle")
            assert answer.status_code == status, currency

    run(scenario, settlement="manual", settle_limits_minor={"operator": {"HUF": 1999}})


def test_a_part_is_settled_and_only_that_can_be_refunded(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        url = f"/api/v1/payments/{await _paid(world, 'approved')}"
        anna, boss = await world.signed_in("anna"), await world.signed_in("boss")
        refused = await anna.post(f"{url}/settle", json={"amount_minor": 2000})
        assert refused.status_code == 422
        assert (await anna.get(url)).json()["state"] == "approved", "nothing was changed"
        assert (await anna.post(f"{url}/settle", json={"amount_minor": 1500})).status_code == 202
        settled = await until(anna, url.split("/")[4], "settled")
        assert (settled["amount_minor"], settled["settled_minor"]) == (1999, 1500)
        assert list(world.vault.operations.values()) == [("settle", 1500)]
        assert (await boss.post(f"{url}/refund", json={"amount_minor": 1501})).status_code == 422
        assert (await boss.post(f"{url}/refund")).status_code == 202
        refunded = await until(boss, url.split("/")[4], "refunded")
        assert refunded["refunded_minor"] == 1500

    run(scenario, settlement="manual")


def test_a_part_is_refused_where_the_acquirer_takes_the_whole(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.vault.settles_part = False
        url = f"/api/v1/payments/{await _paid(world, 'approved')}/settle"
        anna = await world.signed_in("anna")
        refused = await anna.post(url, json={"amount_minor": 1500})
        assert (refused.status_code, refused.json()["code"]) == (422, "whole-amount-only")
        assert (await anna.post(url, json={"amount_minor": 1999})).status_code == 202

    run(scenario, settlement="manual")


def test_settle_and_void_have_limits_but_not_for_what_happens_by_itself(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        payment_id = await _paid(world, "approved")
        anna = await world.signed_in("anna")
        for what in ("settle", "void"):
            refused = await anna.post(f"/api/v1/payments/{payment_id}/{what}")
            assert (refused.status_code, refused.json()["code"]) == (403, "over-limit"), what
        world.clock.advance(hours=2, seconds=1)
        await until(await world.signed_in("anna"), payment_id, "settled")

    limits = {"settle_limits_minor": {"operator": 1998}, "void_limits_minor": {"operator": 0}}
    run(scenario, settlement="delayed", settlement_delay_hours=2, **limits)


def test_a_delayed_settlement_waits_for_its_hour(run: Run) -> None:
    async def delayed(world: PanelWorld) -> None:
        payment_id = await _paid(world, "approved")
        anna = await world.signed_in("anna")
        await asyncio.sleep(1.2)
        assert (await anna.get(f"/api/v1/payments/{payment_id}")).json()["state"] == "approved"
        world.clock.advance(hours=2, seconds=1)
        await until(await world.signed_in("anna"), payment_id, "settled")

    run(delayed, settlement="delayed", settlement_delay_hours=2)


def test_with_manual_settlement_an_approval_can_be_voided(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        payment_id = await _paid(world, "approved")
        anna = await world.signed_in("anna")
        assert (await anna.post(f"/api/v1/payments/{payment_id}/void")).status_code == 202
        await until(anna, payment_id, "voided")
        assert (await anna.post(f"/api/v1/payments/{payment_id}/settle")).status_code == 409

    run(scenario, settlement="manual")


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_the_limit_of_the_role_is_said_before_it_is_met(run: Run, language: str) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR, language=language)
        boss = await world.signed_in("boss")
        _, payment = await card_ready(world, boss, APPROVED)
        await charge(boss, payment["id"], "approved")
        words = languages.translations(language).gettext("Your limit for one payment: %(amount)s")
        url = f"/payments/{payment['id']}"

        def said(kind: str, page: str) -> str:
            """What the button's dialog says of the limit."""
            found = re.search(rf'id="{kind}"[^>]*data-limit="([^"]*)"', page)
            return html.unescape(found[1]) if found else ""

        page = (await boss.get(url)).text
        assert said("settle", page) == words % {"amount": sum_money(50000, "EUR", language)}
        assert 'data-most="1999"' in page and 'id="void"' not in page, "the void is above the limit"
        assert words % {"amount": sum_money(1998, "EUR", language)} in html.unescape(page)
        await boss.post(f"/api/v1{url}/settle")
        await until(boss, payment["id"], "settled")
        await boss.post(f"/api/v1{url}/refund", json={"amount_minor": 300})
        await until(boss, payment["id"], "partly_refunded")
        page = (await boss.get(url)).text
        assert said("refund", page) == words % {"amount": sum_money(1000, "EUR", language)}
        assert 'data-most="700"' in page, "what is left of the limit"
        await boss.post(f"/api/v1{url}/refund", json={"amount_minor": 700})
        await until(boss, payment["id"], "partly_refunded")
        page = (await boss.get(url)).text
        assert 'id="refund"' not in page
        assert words % {"amount": sum_money(1000, "EUR", language)} in html.unescape(page)

    run(
        scenario,
        settlement="manual",
        settle_limits_minor={"supervisor": 50000},
        void_limits_minor={"supervisor": {"EUR": 1998}},
        refund_limits_minor={"supervisor": 1000},
    )
