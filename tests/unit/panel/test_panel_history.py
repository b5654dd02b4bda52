"""Looking back: search, story, export, sums, and who called."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from paycall.panel.roles import Role
from tests.fakes.panel_world import APPROVED, DECLINED, PanelWorld, charge, new_payment, until

Run = Callable[..., None]


async def _three(world: PanelWorld) -> list[str]:
    anna = await world.signed_in("anna")
    made = []
    for number, caller, reference in (
        (APPROVED, "+3611", "INV-1"),
        (DECLINED, "+3822", '=cmd|"x"'),
        (APPROVED, "+3633", "50%_off"),
    ):
        call_id = await world.cell.call_in(caller=caller)
        payment = await new_payment(anna, call_id, reference=reference, amount_minor=1000 + len(made))
        await world.cell.key(call_id, number, "1230", "123")
        await until(anna, payment["id"], "ready")
        await charge(anna, payment["id"], "settled", "declined")
        await world.cell.end(call_id)
        made.append(payment["id"])
    return made


def test_search_finds_by_what_people_remember(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        made = await _three(world)
        anna = await world.signed_in("anna")
        call_id = (await anna.get(f"/api/v1/payments/{made[1]}")).json()["call_id"]
        await anna.put(f"/api/v1/calls/{call_id}/customer", json={"name": "Kovács Béla"})
        for query, expected in (
            ("q=kovács", {1}),
            ("q=anna", {0, 1, 2}),
            ("q=inv-1", {0}),
            ("q=3822", {1}),
            ("q=4242", {0, 2}),
            ("q=A1B2C3", {0, 2}),
            ("q=%25", {2}),
            ("state=declined", {1}),
            ("first=2020-01-01&last=2020-01-02", set()),
            ("q=nothing", set()),
            ("first=nonsense", {0, 1, 2}),
        ):
            text = (await anna.get(f"/history?{query}")).text
            assert {i for i, name in enumerate(made) if f"/payments/{name}" in text} == expected, query
        assert "+3822" in (await anna.get("/history?kind=calls&q=3822")).text

    run(scenario)


def test_the_story_tells_everything_in_order(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        made = await _three(world)
        anna = await world.signed_in("anna")
        text = (await anna.get(f"/payments/{made[1]}")).text.partition("What happened")[2]
        places = [
            text.index(part) for part in ("Payment started", "A field is complete", "The bank is asked")
        ]
        assert places == sorted(places) and "The bank declined" in text

    run(scenario)


def test_the_export_is_a_table_and_no_cell_is_a_formula(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        await _three(world)
        world.add("boss", Role.SUPERVISOR)
        boss = await world.signed_in("boss")
        answer = await boss.get("/history/payments.csv?q=38")
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert [row["decline_reason"] for row in rows] == ["generic_decline"]
        assert (
            rows[0]["amount"] == "10.01"
            and rows[0]["reference"] == '\'=cmd|"x"'
            and rows[0]["caller"] == "'+3822"
        )
        anna = await world.signed_in("anna")
        assert (await anna.get("/history/payments.csv")).status_code == 403

    run(scenario)


def test_the_sums_of_the_day(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        await _three(world)
        world.add("boss", Role.SUPERVISOR)
        boss = await world.signed_in("boss")
        text = (await boss.get("/reports")).text
        assert "€20.02" in text and "taken in 2 payments" in text
        assert "The bank declined and gave no reason." in text
        assert "€20.02" not in (await boss.get("/reports?first=2020-01-01&last=2020-01-01")).text

    run(scenario)


def test_no_card_number_is_taken_where_things_are_written_down(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.ADMINISTRATOR)
        boss = await world.signed_in("boss")
        call_id = await world.cell.call_in()
        payment = {"amount_minor": 1999, "currency": "EUR"}
        card = "4242 4242 4242 4242 12/26"
        for path, body, key in (
            (f"calls/{call_id}/payments", payment, "key-4242424242424242"),
            (f"calls/{call_id}/payments", payment | {"reference": card}, "key"),
            (f"calls/{call_id}/payments", payment | {"description": f"Order 12 {card}"}, "key"),
            ("operators", {"name": "4242424242424242"}, ""),
            ("api-keys", {"name": card, "scopes": ["calls:read"]}, ""),
            (
                "webhook-subscriptions",
                {"url": "https://a.example/4242424242424242", "events": ["call.*"]},
                "",
            ),
        ):
            answer = await boss.post(f"/api/v1/{path}", json=body, headers={"idempotency-key": key})
            assert (answer.status_code, answer.json()["code"]) == (422, "card-number-in-text"), path
        long = await boss.post(
            f"/api/v1/calls/{call_id}/payments",
            json=payment | {"reference": "x" * 65},  # the vault would refuse it when the card is keyed
            headers={"idempotency-key": "key"},
        )
        assert long.status_code == 422

    run(scenario)


def test_a_callers_name_is_remembered_and_holds_no_card_number(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        first = await world.cell.call_in(caller="+3699")
        url = f"/api/v1/calls/{first}/customer"
        assert (
            await anna.put(url, json={"name": "Nagy Béla", "note": "prefers mornings"})
        ).status_code == 200
        await world.cell.end(first)
        second = await world.cell.call_in(caller="+3699")
        assert (await anna.get(f"/api/v1/calls/{second}")).json()["customer_name"] == "Nagy Béla"
        for spelling in (APPROVED, "4242 4242 4242 4242", "card 4242-4242-4242-4242 thanks"):
            for body in ({"name": spelling}, {"name": "x", "note": spelling}):
                answer = await anna.put(url, json=body)
                assert (answer.status_code, answer.json()["code"]) == (422, "card-number-in-text")
                assert "4242" not in answer.text

    run(scenario)


def test_the_ends_of_the_calendar_are_days_as_others(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        boss = await world.signed_in("boss")
        for first, last in (
            ("0001-01-01", "0001-01-01"),
            ("9999-12-31", "9999-12-31"),
            ("0001-01-01", "9999-12-31"),
        ):
            query = f"first={first}&last={last}"
            for path in ("/api/v1/reports", "/reports", "/history", "/history/payments.csv"):
                assert (await boss.get(f"{path}?{query}")).status_code == 200, (path, query)

    run(scenario)


def test_a_formula_in_a_reference_stays_text_wherever_a_spreadsheet_would_cut(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        world.add("boss", Role.SUPERVISOR)
        boss = await world.signed_in("boss")
        for number, text in enumerate(("=1+1", "x;=1+1", "x; \u00a0@SUM(A1)", "\uff1d1+1", "a-b; c")):
            call_id = await world.cell.call_in()
            await new_payment(boss, call_id, key=f"k{number}", reference=text)
        table = (await boss.get("/history/payments.csv")).text
        found = [row["reference"] for row in csv.DictReader(io.StringIO(table.lstrip("\ufeff")))]
        assert found == ["a-b; c", "'\uff1d1+1", "x; \u00a0'@SUM(A1)", "x;'=1+1", "'=1+1"]

    run(scenario)


def test_a_card_number_is_not_searched_for(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        answer = await anna.get(f"/history?q={APPROVED}", headers={"accept": "text/html"})
        assert answer.status_code == 422
        assert APPROVED not in answer.text

    run(scenario)
