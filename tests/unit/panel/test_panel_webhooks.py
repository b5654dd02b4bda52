"""An acquirer's webhook at the panel: it goes to the vault as it came, without a session, not without limit."""

from __future__ import annotations

from collections.abc import Callable

from paycall.domain.authorization import OperationOutcome
from paycall.panel.rate_limit import RateLimit
from paycall.panel.roles import Role
from tests.fakes.panel_world import APPROVED, PanelWorld, card_ready, charge, until

Run = Callable[..., None]
URL = "/api/v1/webhooks/adyen"


def test_the_vault_gets_what_came_but_no_cookie(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        body = b'{"spaces" :  "as they came", "\xff"'
        answer = await client.post(URL, content=body, headers={"Stripe-Signature": "t=1,v1=a"})
        assert (answer.status_code, answer.text) == (200, "[accepted]")
        ((headers, passed),) = world.vault.webhooks
        assert passed == body
        assert headers["stripe-signature"] == "t=1,v1=a"
        assert not {"cookie", "host", "content-length"} & set(headers)

    run(scenario)


def test_an_address_that_sends_too_much_waits(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.app.state.webhook_limit = RateLimit(burst=3, per_second=0.001)
        client = world.client()
        answers = [await client.post(URL, content=b"{}") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["code"] == "too-many-requests"
        assert (await client.get("/health")).status_code == 200

    run(scenario)


def test_the_limit_is_each_addresss_own_and_flows_out() -> None:
    limit = RateLimit(burst=2, per_second=1)
    assert [limit.allows("a", 10.0) for _ in range(3)] == [True, True, False]
    assert limit.allows("b", 10.0)
    assert [limit.allows("a", 11.0), limit.allows("a", 11.0)] == [True, False]


def test_what_the_vault_cannot_take_now_is_to_be_delivered_again(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.vault.down = True
        answer = await world.client().post(URL, content=b"{}")
        assert (answer.status_code, answer.json()["code"]) == (503, "vault-unavailable")
        world.vault.down = False
        assert (await world.client().post("/api/v1/webhooks/nobody", content=b"{}")).status_code == 404
        assert (await world.client().post("/api/v1/webhooks/NOT..A%20NAME", content=b"{}")).status_code == 422

    run(scenario)


def test_a_settlement_that_the_acquirer_takes_back_is_shown_as_failed(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        _, payment = await card_ready(world, client, APPROVED)
        payment_id = payment["id"]
        await charge(client, payment_id, "settled")
        (settle,) = world.vault.operations
        world.vault.operation_outcome = OperationOutcome.FAILED
        world.vault.failed_by_webhook = [settle]
        assert (await world.client().post(URL, content=b"{}")).status_code == 200
        payment = await until(client, payment_id, "settle_failed")
        assert {"settle", "void"} <= set(payment["actions"])
        again = await world.client().post(URL, content=b"{}")
        assert again.status_code == 200, "the acquirer may deliver it twice"
        world.vault.down = True
        assert (await world.client().post(URL, content=b"{}")).status_code == 503

    run(scenario)


def test_a_refund_that_comes_back_can_be_given_again(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        _, payment = await card_ready(world, client, APPROVED)
        payment_id = payment["id"]
        await charge(client, payment_id, "settled")
        world.add("sofia", Role.SUPERVISOR)
        boss = await world.signed_in("sofia")
        await boss.post(f"/api/v1/payments/{payment_id}/refund", json={"amount_minor": 1000})
        payment = await until(boss, payment_id, "partly_refunded")
        assert payment["refunded_minor"] == 1000
        world.vault.failed_by_webhook = [list(world.vault.operations)[-1]]
        world.vault.operation_outcome = OperationOutcome.FAILED
        await world.client().post(URL, content=b"{}")
        payment = await until(boss, payment_id, "refund_failed")
        assert payment["refunded_minor"] == 0
        assert "refund" in payment["actions"]

    run(scenario)
