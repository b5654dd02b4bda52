"""What nobody but people can find out: shown, and closed by a supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
from sqlalchemy import select

from paycall.domain.authorization import OperationOutcome
from paycall.panel.roles import Role
from paycall.store.database import reading
from paycall.store.tables import AUDIT
from tests.fakes.panel_world import APPROVED, NO_ANSWER, PARTIAL, PanelWorld, card_ready, charge, until

Run = Callable[..., None]


async def _charged(world: PanelWorld, number: str, state: str) -> str:
    anna = await world.signed_in("anna")
    _, payment = await card_ready(world, anna, number)
    await charge(anna, payment["id"], state)
    return str(payment["id"])


async def _waits(client: httpx.AsyncClient, path: str, what: str) -> None:
    async with asyncio.timeout(40):
        while (await client.get(path)).json()["needs_review"] != what:
            await asyncio.sleep(0.05)


def test_an_authorization_that_nobody_knows_is_closed_by_a_supervisor(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        payment_id = await _charged(world, NO_ANSWER, "unknown")
        anna, boss = await world.signed_in("anna"), await world.signed_in("boss")
        path = f"/api/v1/payments/{payment_id}"
        approved = {"verdict": "approved", "acquirer_reference": "charge-17"}
        early = await boss.post(f"{path}/review", json=approved)
        assert (early.status_code, early.json()["code"]) == (409, "wrong-state")
        world.vault.needs_review = True
        await _waits(anna, path, "authorization")
        page = await anna.get(f"/payments/{payment_id}", headers={"accept": "text/html"})
        assert "A supervisor can close it here." in page.text
        assert (await anna.post(f"{path}/review", json=approved)).status_code == 403
        page = await boss.get(f"/payments/{payment_id}", headers={"accept": "text/html"})
        assert f'action="{path}/review"' in page.text
        assert (await boss.post(f"{path}/review", json={"verdict": "approved"})).status_code == 422
        assert (await boss.post(f"{path}/review", json={"verdict": "done"})).status_code == 422
        number = {"verdict": "approved", "acquirer_reference": "4242424242424242"}
        assert (await boss.post(f"{path}/review", json=number)).status_code == 422
        answer = await boss.post(f"{path}/review", json=approved)
        assert answer.status_code == 202, answer.text
        assert answer.json()["needs_review"] is None
        assert world.vault.closed == [(answer.json()["attempts"][0]["id"], "approved", "charge-17")]
        assert (await until(boss, payment_id, "settled"))["attempts"][0]["error"] is None
        with reading(world.database) as session:
            told = session.scalars(select(AUDIT.table.c.action)).all()
        assert {"payment-needs_review", "payment-closed_by_hand"} <= set(told)

    run(scenario)


def test_a_settlement_that_nobody_can_find_out_is_closed_by_a_supervisor(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        world.vault.operation_outcome = OperationOutcome.PENDING
        world.vault.needs_review = True
        payment_id = await _charged(world, APPROVED, "settling")
        boss, path = await world.signed_in("boss"), f"/api/v1/payments/{payment_id}"
        await _waits(boss, path, "settle")
        wrong = await boss.post(f"{path}/review", json={"verdict": "approved", "acquirer_reference": "x"})
        assert wrong.status_code == 422
        answer = await boss.post(f"{path}/review", json={"verdict": "done"})
        assert answer.status_code == 202, answer.text
        assert (answer.json()["state"], answer.json()["needs_review"]) == ("settled", None)
        assert answer.json()["operations"][0]["error"] is None

    run(scenario)


def test_a_part_that_is_never_given_back_is_closed_by_a_supervisor(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        payment_id = await _charged(world, PARTIAL, "declined")
        anna, boss = await world.signed_in("anna"), await world.signed_in("boss")
        path = f"/api/v1/payments/{payment_id}"
        payment = (await anna.get(path)).json()
        assert payment["attempts"][0]["reversal_due"] and payment["needs_review"] is None
        assert "other_card" in [step["step"] for step in payment["next_steps"]], "the call goes on meanwhile"
        world.vault.needs_review = True
        world.clock.advance(seconds=10)
        await _waits(boss, path, "reversal")
        page = await boss.get(f"/payments/{payment_id}", headers={"accept": "text/html"})
        assert '<option value="reversed">' in page.text and '<option value="approved">' not in page.text
        for verdict in ("approved", "done"):
            wrong = await boss.post(
                f"{path}/review", json={"verdict": verdict, "acquirer_reference": "charge-17"}
            )
            assert wrong.status_code == 422, verdict
        answer = await boss.post(f"{path}/review", json={"verdict": "reversed"})
        assert answer.status_code == 202, answer.text
        closed = answer.json()
        assert (closed["state"], closed["needs_review"]) == ("declined", None)
        assert not closed["attempts"][0]["reversal_due"] and closed["attempts"][0]["error"] is None
        assert world.vault.closed == [(closed["attempts"][0]["id"], "reversed", None)]

    run(scenario)
