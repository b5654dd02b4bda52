"""A payment from the first key to the last cent, over the public API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import select

from paycall.domain.authorization import Outcome, Search
from paycall.domain.errors import LinkError
from paycall.domain.fields import Field
from paycall.store.database import reading
from paycall.store.tables import AUDIT
from tests.fakes.panel_world import (
    APPROVED,
    DECLINED,
    NO_ANSWER,
    WRONG_CODE,
    PanelWorld,
    card_ready,
    charge,
    new_payment,
    until,
)

Run = Callable[..., None]


def test_decline_then_other_card_then_approved_and_settled(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id, reference="A-17")
        assert payment["state"] == "capturing"
        assert world.cell.calls[call_id].masked
        await world.cell.key(call_id, DECLINED, "1230", "123")
        ready = await until(anna, payment["id"], "ready")
        assert ready["card"] == {"brand": "visa", "last4": "0002", "expiry": "12/30"}
        assert 295 < ready["security_code_seconds_left"] <= 300
        assert ready["actions"] == ["capture", "authorize", "cancel"]

        declined = await charge(anna, payment["id"], "declined")
        decline = declined["attempts"][0]["decline"]
        assert decline["reason"] == "generic_decline" and decline["declined_by"] == "issuer"
        assert decline["happened"] and decline["say"]
        assert world.cell.calls[call_id].masked, "a decline must not unmask"

        other = next(step for step in declined["next_steps"] if step["step"] == "other_card")
        answer = await anna.post(
            f"/api/v1/payments/{payment['id']}/capture", json={"fields": other["fields"]}
        )
        assert answer.status_code == 202
        await world.cell.key(call_id, APPROVED, "1230", "123")
        await until(anna, payment["id"], "ready")
        paid = await charge(anna, payment["id"], "settled")
        assert [attempt["state"] for attempt in paid["attempts"]] == ["declined", "approved"]
        assert paid["attempts"][1]["authorization_code"] == "A1B2C3"
        assert not world.cell.calls[call_id].masked, "the final result ends the capture"
        assert list(world.vault.operations.values()) == [("settle", 1999)]

    run(scenario)


def test_after_a_wrong_code_only_the_code_is_asked_for(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await card_ready(world, anna, WRONG_CODE, "999")
        declined = await charge(anna, payment["id"], "declined")
        assert declined["next_steps"][0] == {"step": "key_code_again", "fields": ["security-code"]}
        taken = await anna.post(
            f"/api/v1/payments/{payment['id']}/capture", json={"fields": ["security-code"]}
        )
        assert taken.json()["collecting"] == "security-code"
        await world.cell.key(call_id, "123")
        await until(anna, payment["id"], "ready")

    run(scenario)


def test_a_new_number_after_a_decline_asks_for_the_code_too(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await card_ready(world, anna, DECLINED)
        await anna.post(f"/api/v1/payments/{payment['id']}/capture", json={"fields": ["payment-card-number"]})
        await world.cell.key(call_id, APPROVED, "123")
        ready = await until(anna, payment["id"], "ready")
        assert ready["card"]["expiry"] == "12/30"

    run(scenario)


def test_the_code_expires_and_only_it_is_keyed_again(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id, payment = await card_ready(world, anna, APPROVED)
        await asyncio.sleep(0.1)
        world.clock.advance(minutes=5, seconds=1)
        waiting = await until(anna, payment["id"], "capturing")
        assert waiting["missing"] == ["security-code"]
        assert waiting["card"]["last4"] == "4242"
        await anna.post(f"/api/v1/payments/{payment['id']}/capture", json={"fields": ["security-code"]})
        await world.cell.key(call_id, "123")
        await until(anna, payment["id"], "ready")

    run(scenario)


def test_the_same_key_makes_one_payment(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        first = await new_payment(anna, call_id, key="once")
        second = await new_payment(anna, call_id, key="once")
        assert first["id"] == second["id"]
        url, body = f"/api/v1/calls/{call_id}/payments", {"amount_minor": 5, "currency": "EUR"}
        other = await anna.post(url, json=body, headers={"idempotency-key": "once"})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
        without = await anna.post(url, json=body)
        assert (without.status_code, without.json()["code"]) == (400, "idempotency-key-required")

    run(scenario)


def test_a_capture_that_cannot_start_leaves_no_payment_open(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        world.cell.refuse = LinkError()
        url, body = f"/api/v1/calls/{call_id}/payments", {"amount_minor": 5, "currency": "EUR"}
        failed = await anna.post(url, json=body, headers={"idempotency-key": "k"})
        assert failed.status_code == 503
        world.cell.refuse = None
        assert (await new_payment(anna, call_id, key="k"))["state"] == "capturing"
        states = [p["state"] for p in (await anna.get("/api/v1/payments")).json()["payments"]]
        assert sorted(states) == ["cancelled", "capturing"]

    run(scenario)


def test_no_answer_is_unknown_until_the_acquirer_says(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await card_ready(world, anna, NO_ANSWER)
        unknown = await charge(anna, payment["id"], "unknown")
        assert unknown["actions"] == ["enquire", "set-aside"]
        assert (await anna.post(f"/api/v1/payments/{payment['id']}/authorize")).status_code == 409
        world.vault.resolve(unknown["attempts"][0]["id"], Outcome.REVERSED)
        reversed_ = await until(anna, payment["id"], "reversed")
        assert "capture" in reversed_["actions"]

    run(scenario)


def test_what_is_done_about_an_unknown_outcome_is_told_live(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        world.vault.search = Search(rounds=1, asks_again=True, reversing=False, next_in_s=8.0)
        call_id, payment = await card_ready(world, anna, NO_ANSWER)
        await charge(anna, payment["id"], "unknown")
        url = f"/api/v1/payments/{payment['id']}"

        async def told(rounds: int) -> dict[str, Any]:
            while True:
                search = (await anna.get(url)).json()["search"]
                if search is not None and search["rounds"] == rounds:
                    return dict(search)
                await asyncio.sleep(0.05)

        async def shown() -> str:
            return (await anna.get(f"/fragments/board?call={call_id}")).text

        assert 6 < (await told(1))["next_in_s"] <= 8
        page = await shown()
        assert "the same charge is asked for again" in page and "Tried 1 time so far." in page
        before = world.app.state.context.stream.last_id
        world.vault.search = Search(rounds=6, asks_again=False, reversing=True, next_in_s=16.0)
        assert (await told(6))["reversing"]
        page = await shown()
        assert "The charge is being reversed." in page and "Tried 6 times so far." in page
        while world.app.state.context.stream.last_id == before:  # the screens are told of it
            await asyncio.sleep(0.02)
        world.vault.needs_review = True
        while "A supervisor has to look it up" not in await shown():
            await asyncio.sleep(0.05)
        await world.cell.end(call_id)
        page = await shown()
        assert "please stay a moment" not in page and "The caller has hung up" in page
        world.vault.resolve((await anna.get(url)).json()["attempts"][0]["id"], Outcome.REVERSED)
        assert (await until(anna, payment["id"], "reversed"))["search"] is None

    run(scenario)


def test_an_unknown_attempt_that_was_never_sent_leaves_the_card_ready(run: Run) -> None:
    """The panel lost sight of it while the vault was sending; then the acquirer could not be reached."""

    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await card_ready(world, anna, NO_ANSWER)
        await charge(anna, payment["id"], "unknown")
        world.vault.attempts.clear()
        ready = await until(anna, payment["id"], "ready")
        assert ready["attempts"][0]["state"] == "not_sent"
        assert "authorize" in ready["actions"]

    run(scenario)


def test_the_panel_restarts_in_the_middle_of_an_authorization(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await card_ready(world, anna, APPROVED)
        world.vault.gate = asyncio.Event()
        await anna.post(f"/api/v1/payments/{payment['id']}/authorize")
        await asyncio.sleep(0.05)
        await world.restart()
        await world.cell.hello()
        world.vault.gate.set()
        back = world.client()
        back.cookies = anna.cookies
        paid = await until(back, payment["id"], "settled")
        assert len(paid["attempts"]) == 1
        assert len(world.vault.authorizations) == 1, "never a second authorization"

    run(scenario)


def test_an_attempt_that_never_reached_the_vault_may_be_repeated(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await card_ready(world, anna, APPROVED)
        world.vault.down = True
        await charge(anna, payment["id"], "authorizing")
        world.vault.down = False
        again = await until(anna, payment["id"], "ready")
        assert again["attempts"][0]["error"] == "not-sent"
        await charge(anna, payment["id"], "settled")

    run(scenario)


def test_a_lost_answer_is_asked_for_and_not_sent_again(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, payment = await card_ready(world, anna, APPROVED)
        world.vault.lose_answers = True
        await charge(anna, payment["id"], "settled")
        assert len(world.vault.authorizations) == 1

    run(scenario)


def test_the_panel_restarts_in_the_middle_of_a_capture(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id)
        await world.cell.key(call_id, APPROVED)
        await world.stop()
        world.cell.handler = None  # what the cell says now reaches nobody
        await world.cell.press(call_id, 2)
        world.app = world._make()
        await world.start()
        await world.cell.hello()
        back = world.client()
        back.cookies = anna.cookies
        shown = (await back.get(f"/api/v1/payments/{payment['id']}")).json()
        fields = {field["field"]: field for field in shown["fields"]}
        assert shown["capture_open"] and shown["masked"]
        assert fields["payment-card-number"]["state"] == "stored"
        assert fields["expiration-date"]["digits"] == 2
        await world.cell.key(call_id, "1230", "123")
        await until(back, payment["id"], "ready")

    run(scenario)


def test_a_late_approval_is_for_the_operator_to_keep(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        kept, dropped = [await _charged_and_hung_up(world, anna, caller) for caller in ("+361", "+362")]
        assert await until(anna, kept, "approved")
        assert (await anna.post(f"/api/v1/payments/{kept}/settle")).status_code == 202
        await until(anna, kept, "settled")
        await until(anna, dropped, "approved")
        world.clock.advance(minutes=10, seconds=1)
        await until(anna, dropped, "voided")

    run(scenario)


async def _charged_and_hung_up(world: PanelWorld, client: httpx.AsyncClient, caller: str) -> str:
    call_id = await world.cell.call_in(caller=caller)
    payment = await new_payment(client, call_id, amount_minor=len(caller) + int(caller[-1]))
    await world.cell.key(call_id, APPROVED, "1230", "123")
    await until(client, payment["id"], "ready")
    world.vault.gate = asyncio.Event()
    await client.post(f"/api/v1/payments/{payment['id']}/authorize")
    await world.cell.end(call_id)
    world.vault.gate.set()
    return str(payment["id"])


def test_the_same_card_and_amount_again_asks_first(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        for turn in range(2):
            _, payment = await card_ready(world, anna, APPROVED)
            await asyncio.sleep(0.1)
            answer = await anna.post(f"/api/v1/payments/{payment['id']}/authorize")
            if turn == 1:
                assert (answer.status_code, answer.json()["code"]) == (409, "possible-duplicate")
                await anna.post(
                    f"/api/v1/payments/{payment['id']}/authorize", json={"confirm_duplicate": True}
                )
            await until(anna, payment["id"], "settled")

    run(scenario)


def test_a_card_whose_summary_is_late_is_not_charged_twice_without_a_warning(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        _, first = await card_ready(world, anna, APPROVED)
        await charge(anna, first["id"], "settled")
        world.vault.summaries_down = True
        call_id = await world.cell.call_in()
        other = (await new_payment(anna, call_id))["id"]
        await world.cell.key(call_id, DECLINED, "1230", "123")
        await until(anna, other, "ready")
        url = f"/api/v1/payments/{other}"
        assert (await anna.post(f"{url}/authorize")).status_code == 503, "nobody knows what card it is"
        world.vault.summaries_down = False
        await charge(anna, other, "declined")
        assert (await anna.get(url)).json()["card"]["last4"] == "0002"
        world.vault.summaries_down = True
        await anna.post(f"{url}/capture", json={"fields": ["payment-card-number"]})
        await world.cell.key(call_id, APPROVED, "123")
        await until(anna, other, "ready")
        world.vault.summaries_down = False
        answer = await anna.post(f"{url}/authorize")
        assert (answer.status_code, answer.json()["code"]) == (409, "possible-duplicate")

    run(scenario)


def test_cancel_and_hang_up_forget_the_card(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id)
        await world.cell.key(call_id, APPROVED)
        assert (await anna.post(f"/api/v1/payments/{payment['id']}/cancel")).json()["state"] == "cancelled"
        while world.cell.calls[call_id].masked:
            await asyncio.sleep(0.02)
        second = await new_payment(anna, call_id)
        assert (await anna.post(f"/api/v1/calls/{call_id}/hang-up")).status_code == 202
        await until(anna, second["id"], "cancelled")
        while world.vault.dropped != [payment["id"], second["id"]]:
            await asyncio.sleep(0.02)

    run(scenario)


def test_the_operator_ends_the_capture_without_cancelling(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id)
        await world.cell.key(call_id, APPROVED)
        assert (await anna.delete(f"/api/v1/payments/{payment['id']}/capture")).status_code == 202
        assert not world.cell.calls[call_id].masked
        answer = await anna.post(
            f"/api/v1/payments/{payment['id']}/capture", json={"fields": ["expiration-date", "security-code"]}
        )
        assert answer.json()["collecting"] == "expiration-date"
        assert world.cell.calls[call_id].masked

    run(scenario)


def test_a_test_call_is_routed_to_its_scripted_phone_and_told_what_to_key(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        test_call_id = (await anna.post("/api/v1/test-calls")).json()["test_call_id"]
        call_id = await world.cell.call_in(test_call_id=test_call_id)
        while call_id not in world.cell.routes:
            await asyncio.sleep(0.02)
        assert world.cell.routes[call_id] == "sip:scripted@127.0.0.1:5999"
        call = (await anna.get(f"/api/v1/calls/{call_id}")).json()
        assert call["test"] and call["operator"] == "anna"
        await new_payment(anna, call_id)
        assert world.test_calls.asked_for == [
            (test_call_id, (Field.CARD_NUMBER, Field.EXPIRY, Field.SECURITY_CODE))
        ]
        await world.cell.end(call_id)
        while not world.test_calls.stopped:
            await asyncio.sleep(0.02)
        assert world.test_calls.stopped == [test_call_id]

    run(scenario)


def test_the_caller_is_told_in_the_language_that_the_payment_was_given(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id, caller_language="uk")

        def language() -> str:
            capture = world.cell.calls[call_id].capture
            assert capture is not None
            return capture.rules.language

        assert language() == "uk"
        await world.cell.end_capture(call_id, payment["id"])  # the operator unmasked, and starts again later
        await anna.post(f"/api/v1/payments/{payment['id']}/capture", json={"fields": ["payment-card-number"]})
        assert language() == "uk"
        refused = await anna.post(
            f"/api/v1/calls/{call_id}/payments",
            json={"amount_minor": 100, "currency": "EUR", "caller_language": "xx"},
            headers={"Idempotency-Key": "another-one"},
        )
        assert refused.status_code == 422

    run(scenario)


def test_a_recording_is_paused_by_whoever_has_the_call_and_that_is_audited(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        refused = await anna.post(f"/api/v1/calls/{call_id}/recording", json={"paused": True})
        assert refused.status_code == 409, "it is not recorded"
        await world.cell.record(call_id, "on")
        for paused in (True, False):
            answer = await anna.post(f"/api/v1/calls/{call_id}/recording", json={"paused": paused})
            assert answer.status_code == 202
            call = (await anna.get(f"/api/v1/calls/{call_id}")).json()
            assert call["recording"] == world.cell.calls[call_id].recording == ("paused" if paused else "on")
        await world.cell.record(call_id, "failed")
        page = (await anna.get(f"/fragments/board?call={call_id}")).text
        assert "Not recorded any more" in page and "The recording has stopped" in page
        assert "pause-recording" not in page
        with reading(world.database) as session:
            rows = session.execute(select(AUDIT.table.c.action, AUDIT.table.c.subject)).all()
        told = [row.action for row in rows if row.subject == call_id]
        assert told == ["recording-paused", "recording-resumed", "recording-failed"]

    run(scenario)


def test_a_field_that_the_caller_cannot_key_is_done_without(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        names = ["payment-card-number", "expiration-date", "security-code", "postal-code"]
        payment = await new_payment(anna, call_id, fields=names)
        url = f"/api/v1/payments/{payment['id']}"
        assert [field["may_drop"] for field in payment["fields"]] == [False, False, True, True]
        for never in names[:2]:
            assert (await anna.delete(f"{url}/fields/{never}")).status_code == 409
        later = await anna.delete(f"{url}/fields/postal-code")
        assert later.status_code == 202 and later.json()["collecting"] == "payment-card-number"
        await world.cell.key(call_id, APPROVED, "1230")
        asked = (await anna.get(url)).json()
        assert asked["collecting"] == "security-code"
        assert 'data-key="F6"' in (await anna.get(f"/fragments/board?call={call_id}")).text
        assert (await anna.delete(f"{url}/fields/security-code")).status_code == 202
        ready = await until(anna, payment["id"], "ready")
        assert ready["card"]["last4"] == "4242" and world.cell.calls[call_id].masked
        await charge(anna, payment["id"], "settled")
        assert (await anna.delete(f"{url}/fields/security-code")).status_code == 409
        story = (await anna.get(f"/payments/{payment['id']}")).text
        assert story.count("The operator does without a field") == 2

    run(scenario)


def test_a_field_is_done_without_when_the_line_was_opened_meanwhile(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        payment = await new_payment(anna, call_id)
        await world.cell.key(call_id, APPROVED, "1230")
        await anna.delete(f"/api/v1/payments/{payment['id']}/capture")
        await anna.delete(f"/api/v1/payments/{payment['id']}/fields/security-code")
        await until(anna, payment["id"], "ready")

    run(scenario)
