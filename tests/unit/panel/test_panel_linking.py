"""Who has a call: link codes, trusted names, transfers; and what happens to the payment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import select

from paycall.control import messages as m
from paycall.domain.ids import new_id
from paycall.panel.roles import Role
from paycall.store.database import reading
from paycall.store.tables import AUDIT
from tests.fakes.panel_world import PanelWorld, new_payment

Run = Callable[..., None]
QUEUE = "sip:queue@pbx.example"


def audited(world: PanelWorld, action: str) -> list[tuple[str | None, str]]:
    with reading(world.database) as session:
        table = AUDIT.table
        rows = session.execute(select(table).where(table.c.action == action).order_by(table.c.seq))
        return [(row.actor, row.result) for row in rows]


def test_a_link_code_joins_call_and_operator_once(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna, ben_id = await world.signed_in("anna"), world.add("ben")
        ben = await world.signed_in("ben")
        call_id = await world.cell.call_in(agent_uri=QUEUE)
        answer = await ben.post("/api/v1/link-codes")
        assert answer.status_code == 201
        assert answer.json()["seconds"] == 60
        [(link_id, code)] = world.cell.link_codes.items()
        assert answer.json()["code"] == code and len(code) == 4 and code.isdecimal()
        await world.cell.say(m.LinkCodeKeyed(call_id=call_id, link_id=link_id))
        assert (await ben.get(f"/api/v1/calls/{call_id}")).json()["operator_id"] == ben_id
        assert (await anna.get(f"/api/v1/calls/{call_id}")).status_code == 404  # it was free before
        other = await world.cell.call_in(agent_uri=QUEUE)
        await world.cell.say(m.LinkCodeKeyed(call_id=other, link_id=link_id))
        assert (await anna.get(f"/api/v1/calls/{other}")).json()["operator_id"] is None
        assert audited(world, "link-code-issued") == [(ben_id, "done")]
        assert audited(world, "call-linked") == [(ben_id, "linked"), ("nobody", "unknown-code")]

    run(scenario)


def test_a_code_is_good_for_a_minute_and_the_newest_only(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in(agent_uri=QUEUE)
        await anna.post("/api/v1/link-codes")
        [first] = world.cell.link_codes
        await anna.post("/api/v1/link-codes")
        [second] = world.cell.link_codes  # the cells were told to forget the first
        await world.cell.say(m.LinkCodeKeyed(call_id=call_id, link_id=first))
        world.clock.advance(seconds=61)
        await world.cell.say(m.LinkCodeKeyed(call_id=call_id, link_id=second))
        assert (await anna.get(f"/api/v1/calls/{call_id}")).json()["operator_id"] is None

    run(scenario)


def test_guesses_are_limited_for_each_call(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in(agent_uri=QUEUE)
        await anna.post("/api/v1/link-codes")
        [link_id] = world.cell.link_codes
        for _ in range(3):
            await world.cell.say(m.LinkCodeKeyed(call_id=call_id))
        await world.cell.say(m.LinkCodeKeyed(call_id=call_id, link_id=link_id))  # a lucky fourth
        assert (await anna.get(f"/api/v1/calls/{call_id}")).json()["operator_id"] is None
        assert [result for _, result in audited(world, "call-linked")] == [
            *["unknown-code"] * 3, "rate-limited",
        ]  # fmt: skip

    run(scenario)


def test_guesses_are_limited_for_the_site_and_asking_for_each_operator(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.clock.stop()
        anna = await world.signed_in("anna")
        for _ in range(30):
            await world.cell.say(m.LinkCodeKeyed(call_id=new_id("call")))
        call_id = await world.cell.call_in(agent_uri=QUEUE)
        answers = [await anna.post("/api/v1/link-codes") for _ in range(11)]
        assert [each.status_code for each in answers] == [201] * 10 + [429]
        assert answers[-1].json()["code"] == "too-many-requests"
        [link_id] = world.cell.link_codes
        await world.cell.say(m.LinkCodeKeyed(call_id=call_id, link_id=link_id))
        assert audited(world, "call-linked")[-1] == (audited(world, "link-code-issued")[0][0], "rate-limited")
        assert (await anna.get(f"/api/v1/calls/{call_id}")).json()["operator_id"] is None

    run(scenario)


def test_a_cell_that_comes_back_learns_the_codes(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        code = (await anna.post("/api/v1/link-codes")).json()["code"]
        world.cell.link_codes.clear()
        await world.cell.hello()
        while not world.cell.link_codes:
            await asyncio.sleep(0.01)
        assert list(world.cell.link_codes.values()) == [code]

    run(scenario)


def test_an_auditor_gets_no_link_code(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("audrey", Role.AUDITOR)
        audrey = await world.signed_in("audrey")
        assert (await audrey.post("/api/v1/link-codes")).status_code == 403

    run(scenario)


def test_a_trusted_header_names_account_or_extension(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        ben_id = world.add("ben")
        cleo_id = world.add("cleo", agent_uri="sip:207@pbx.example")
        world.add("dora", agent_uri="sip:300@pbx.example")
        world.add("emil", agent_uri="sip:300@other.example")
        supervisor = world.add("susan", Role.SUPERVISOR)
        susan = await world.signed_in("susan")
        assert supervisor
        for name, owner in (("Ben", ben_id), ("207", cleo_id), ("300", None), ("nobody", None)):
            call_id = await world.cell.call_in(agent_uri=QUEUE)
            await world.cell.say(m.OperatorNamed(call_id=call_id, operator=name))
            assert (await susan.get(f"/api/v1/calls/{call_id}")).json()["operator_id"] == owner, name

    run(scenario)


def test_a_transfer_takes_call_and_payment_to_the_new_operator(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna, ben_id = (
            await world.signed_in("anna"),
            world.add("ben", agent_uri="sip:ben@pbx.example;user=phone"),
        )
        ben = await world.signed_in("ben")
        call_id = await world.cell.call_in(agent_uri=QUEUE)
        payment = await new_payment(anna, call_id)
        await world.cell.say(m.CallTransferred(call_id=call_id, agent_uri="sip:BEN@pbx.example"))
        call = (await ben.get(f"/api/v1/calls/{call_id}")).json()
        assert (call["operator_id"], call["agent_uri"]) == (ben_id, "sip:BEN@pbx.example")
        assert (await ben.get(f"/api/v1/payments/{payment['id']}")).json()["operator_id"] == ben_id
        assert (await anna.get(f"/api/v1/payments/{payment['id']}")).status_code == 404
        # what the caller keys is shown to whom it belongs now
        await world.cell.press(call_id, 3)
        fields = (await ben.get(f"/api/v1/payments/{payment['id']}")).json()["fields"]
        assert fields[0]["digits"] == 3
        # to a phone of nobody's: it stays with whoever has it
        await world.cell.say(m.CallTransferred(call_id=call_id, agent_uri="sip:desk9@pbx.example"))
        assert (await ben.get(f"/api/v1/calls/{call_id}")).json()["operator_id"] == ben_id

    run(scenario)
