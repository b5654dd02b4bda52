"""What the operator sees of a card that its network lets nobody try again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from paycall.domain.authorization import CardRetry
from tests.fakes.panel_world import DECLINED, WRONG_CODE, PanelWorld, card_ready, charge, new_payment, until

Run = Callable[..., None]


def test_the_operator_is_told_before_the_attempt_and_with_a_decline(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        world.vault.retry = CardRetry(allowed=True, left=1)
        call_id = await world.cell.call_in()
        payment_id = (await new_payment(client, call_id))["id"]
        await world.cell.key(call_id, DECLINED, "1230", "123")
        payment = await until(client, payment_id, "ready")
        assert payment["retry"] == {"allowed": True, "left": 1, "again_at": None}
        board = f"/fragments/board?call={call_id}"
        assert "allows no further attempt" not in (await client.get(board)).text
        world.vault.retry = CardRetry(allowed=False, left=0)
        payment = await charge(client, payment_id, "declined")
        assert payment["retry"] == {"allowed": False, "left": 0, "again_at": None}
        assert "allows no further attempt" in (await client.get(board)).text

    run(scenario)


def test_the_charge_button_waits_until_the_network_allows_it(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        at = world.clock.now() + timedelta(hours=1)
        world.vault.retry = CardRetry(allowed=False, left=0, again_at=at.isoformat())
        call_id = await world.cell.call_in()
        payment_id = (await new_payment(client, call_id))["id"]
        await world.cell.key(call_id, WRONG_CODE, "1230", "123")
        payment = await until(client, payment_id, "ready")
        assert "authorize" not in payment["actions"]
        board = f"/fragments/board?call={call_id}"
        text = (await client.get(board)).text
        button = text[text.index('id="charge"') :].partition(">")[0]
        assert "disabled" in button and "may be tried again on" in text
        world.clock.advance(minutes=4)
        await client.get("/api/v1/session")
        world.vault.retry = CardRetry(allowed=True, left=2)
        await client.post(f"/api/v1/payments/{payment_id}/capture", json={"fields": ["security-code"]})
        await world.cell.key(call_id, "123")
        payment = await until(client, payment_id, "ready")
        assert "2 more tries" in (await client.get(board)).text
        payment = await charge(client, payment_id, "declined")
        assert "key_code_again" in [step["step"] for step in payment["next_steps"]]

    run(scenario)


def test_after_a_decline_only_another_card_is_offered_when_this_one_is_used_up(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        world.vault.retry = CardRetry(allowed=True, left=1)
        _, payment = await card_ready(world, client, WRONG_CODE)
        payment_id = payment["id"]
        world.vault.retry = CardRetry(allowed=False, left=0)
        await client.post(f"/api/v1/payments/{payment_id}/authorize")
        steps = [step["step"] for step in (await until(client, payment_id, "declined"))["next_steps"]]
        assert "key_code_again" not in steps and "other_card" in steps

    run(scenario)
