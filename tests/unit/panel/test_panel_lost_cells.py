"""A cell whose link breaks: it may be gone with its node, or only out of reach while people talk on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.fakes.panel_world import PanelWorld, new_payment, until

Run = Callable[..., None]
_ROUND_S = 1.5  # the panel looks once a second, by the real clock


async def state_of(client: Any, call_id: str) -> str:
    return str((await client.get(f"/api/v1/calls/{call_id}")).json()["state"])


def test_calls_of_a_cell_that_stays_away_are_lost_and_found_when_it_was_only_out_of_reach(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment_id = (await new_payment(client, call_id))["id"]
        world.cell.away = True
        await asyncio.sleep(_ROUND_S)
        world.clock.advance(seconds=20)
        await asyncio.sleep(_ROUND_S)
        assert await state_of(client, call_id) == "connected", "it may only be dialling again"
        world.clock.advance(seconds=10)
        payment = await until(client, payment_id, "cancelled")
        assert payment["state"] == "cancelled"
        call = (await client.get(f"/api/v1/calls/{call_id}")).json()
        assert (call["state"], call["end_reason"]) == ("ended", "cell-lost")
        world.cell.away = False
        await world.cell.hello()
        call = (await client.get(f"/api/v1/calls/{call_id}")).json()
        assert (call["state"], call["end_reason"]) == ("connected", None)
        assert (await new_payment(client, call_id))["state"] in ("created", "capturing")

    run(scenario)


def test_a_link_that_is_back_in_time_costs_nothing(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        for _ in range(2):
            world.cell.away = True
            await asyncio.sleep(_ROUND_S)
            world.clock.advance(seconds=20)
            world.cell.away = False
            await asyncio.sleep(_ROUND_S)
        assert await state_of(client, call_id) == "connected"

    run(scenario)


def test_calls_of_cells_that_died_with_the_panel_end(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id)
        world.cell.away = True
        await world.restart()  # and no cell says hello any more
        back = world.client()
        back.cookies = anna.cookies
        for _ in range(
            40
        ):  # the minute is counted from the panel's start, whenever a busy machine comes to it
            world.clock.advance(seconds=61)
            await asyncio.sleep(0.1)
            if (await back.get(f"/api/v1/payments/{payment['id']}")).json()["state"] == "cancelled":
                break
        assert (await back.get(f"/api/v1/calls/{call_id}")).json()["end_reason"] == "cell-lost"

    run(scenario)
