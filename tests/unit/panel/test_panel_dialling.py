"""Calls that an operator dials from the panel, and calls and captures that are refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from paycall.control import messages as m
from paycall.domain.call import EndReason
from paycall.domain.errors import NoTrunkError, NumberNotAllowedError, StateError
from paycall.panel.services import test_calls
from tests.fakes.panel_world import PanelWorld, new_payment, until

Run = Callable[..., None]
SEQUENCE = "invalid-card-number-security-code-capture-sequence"


async def phone(world: PanelWorld) -> httpx.AsyncClient:
    world.add("ben", agent_uri="ben@pbx.example")
    return await world.signed_in("ben")


def test_an_operator_dials_a_customer(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        ben, anna = await phone(world), await world.signed_in("anna")
        answer = await ben.post("/api/v1/calls", json={"to": " +36 (1) 234-5678 "})
        assert answer.status_code == 202
        call = answer.json()
        assert world.cell.dialled == [("sip:ben@pbx.example", "+3612345678")]
        assert (call["direction"], call["caller"], call["state"]) == ("outbound", "+3612345678", "ringing")
        assert (await anna.get(f"/api/v1/calls/{call['id']}")).status_code == 404  # it is ben's
        await world.cell.answer(call["id"])
        payment = await new_payment(ben, call["id"])
        await world.cell.key(call["id"], "4111111111111111", "1230", "123")
        await until(ben, payment["id"], "ready")
        await world.cell.end(call["id"], EndReason.CALLER_HUNG_UP)

    run(scenario)


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (NoTrunkError(), 409, "no-trunk"),
        (NumberNotAllowedError(), 422, "number-not-allowed"),
        (StateError("every line is busy"), 409, "wrong-state"),
    ],
    ids=["no-trunk", "not-allowed", "busy"],
)
def test_a_call_that_no_cell_dials_has_never_been(
    run: Run, refusal: Exception, status: int, code: str
) -> None:
    async def scenario(world: PanelWorld) -> None:
        ben = await phone(world)
        world.cell.refuse = refusal
        answer = await ben.post("/api/v1/calls", json={"to": "+3612345678"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await ben.get("/api/v1/calls?state=all")).json()["calls"] == []

    run(scenario)


@pytest.mark.parametrize(
    "to", ["", "12", "sip:boss@example.org", "+36 1 234 5678 9012 3456", "1; DROP", "４５６７８"]
)
def test_what_is_no_number_is_not_dialled(run: Run, to: str) -> None:
    async def scenario(world: PanelWorld) -> None:
        answer = await (await phone(world)).post("/api/v1/calls", json={"to": to})
        assert (answer.status_code, world.cell.dialled) == (422, [])

    run(scenario)


def test_a_card_number_typed_as_a_number_is_not_dialled(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        answer = await (await phone(world)).post("/api/v1/calls", json={"to": "3782 822463 10005"})
        assert (answer.status_code, answer.json()["code"]) == (422, "card-number-in-text")

    run(scenario)


def test_who_has_no_phone_cannot_dial_and_nobody_dials_without_end(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna, ben = await world.signed_in("anna"), await phone(world)
        refused = await anna.post("/api/v1/calls", json={"to": "+3612345678"})
        assert (refused.status_code, refused.json()["code"]) == (409, "no-phone")
        answers = [await ben.post("/api/v1/calls", json={"to": "+3612345678"}) for _ in range(7)]
        assert [each.status_code for each in answers] == [202] * 6 + [429]

    run(scenario)


def test_a_security_code_without_its_number_is_refused_by_name(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        for fields in (["security-code"], ["expiration-date", "security-code"]):
            answer = await anna.post(
                f"/api/v1/calls/{call_id}/payments",
                json={"amount_minor": 100, "currency": "EUR", "fields": fields},
                headers={"idempotency-key": "".join(fields)},
            )
            assert (answer.status_code, answer.json()["code"]) == (422, SEQUENCE)
        payment = await new_payment(anna, call_id, fields=["expiration-date"])
        await world.cell.key(call_id, "1230")
        answer = await anna.post(
            f"/api/v1/payments/{payment['id']}/capture", json={"fields": ["security-code"]}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, SEQUENCE)
        # one after the other, in the right order, all is well
        for field, value in (("payment-card-number", "4111111111111111"), ("security-code", "123")):
            answer = await anna.post(f"/api/v1/payments/{payment['id']}/capture", json={"fields": [field]})
            assert answer.status_code == 202
            await world.cell.key(call_id, value)
        await until(anna, payment["id"], "ready")

    run(scenario)


def test_a_test_call_that_never_arrives_is_over_after_a_while(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        first = (await anna.post("/api/v1/test-calls")).json()["test_call_id"]
        while not world.test_calls.stopped:
            await asyncio.sleep(0.01)
        assert world.test_calls.stopped == [first]
        monkeypatch.setattr(test_calls, "ARRIVES_WITHIN_S", 2.0)  # on a busy machine it arrives in time, too
        second = (await anna.post("/api/v1/test-calls")).json()["test_call_id"]
        assert (await anna.post("/api/v1/test-calls")).status_code == 409
        call_id = await world.cell.call_in(test_call_id=second)
        await asyncio.sleep(2.2)
        assert world.test_calls.stopped == [first]  # one that has arrived goes on
        assert (await anna.get(f"/api/v1/calls/{call_id}")).json()["state"] == "connected"

    monkeypatch.setattr(test_calls, "ARRIVES_WITHIN_S", 0.05)
    run(scenario)


def test_an_outbound_call_gets_no_route(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        ben = await phone(world)
        call = (await ben.post("/api/v1/calls", json={"to": "+3612345678"})).json()
        await world.cell.say(m.CallConnected(call_id=call["id"], agent_uri="sip:ben@pbx.example"))
        assert call["id"] not in world.cell.routes

    run(scenario)
