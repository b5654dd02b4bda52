"""An acquirer's webhook at the panel: it goes to the vault as it came, without a session, not without limit."""

from __future__ import annotations

from collections.abc import Callable

from paycall.panel.rate_limit import RateLimit
from tests.fakes.panel_world import PanelWorld

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
