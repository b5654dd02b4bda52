"""What the operator sees of a card that its network lets nobody try again."""

from __future__ import annotations

from collections.abc import Callable

from paycall.domain.authorization import CardRetry
from tests.fakes.panel_world import DECLINED, PanelWorld, new_payment, until

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
        await client.post(f"/api/v1/payments/{payment_id}/authorize")
        payment = await until(client, payment_id, "declined")
        assert payment["retry"] == {"allowed": False, "left": 0, "again_at": None}
        assert "allows no further attempt" in (await client.get(board)).text

    run(scenario)
