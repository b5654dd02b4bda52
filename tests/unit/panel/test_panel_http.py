"""What every answer carries and what is refused: headers, cross-site requests, errors that repeat nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.fakes.panel_world import APPROVED, PASSWORD, PanelWorld, new_payment

Run = Callable[..., None]


def test_the_policy_allows_nothing_inline_and_no_frame(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        for path in ("/sign-in", "/health", "/static/panel.css", "/nowhere"):
            headers = (await world.client().get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
        assert (await world.client().get("/sign-in")).headers["cache-control"] == "no-store"

    run(scenario)


def test_another_sites_page_cannot_do_anything(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
        ):
            answer = await anna.post("/api/v1/test-calls", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
        for headers in ({"sec-fetch-site": "same-origin"}, {"origin": "http://panel.test"}):
            answer = await anna.post("/sign-in", headers=headers, data={"name": "x"})
            assert "cross-site" not in answer.text

    run(scenario)


def test_an_error_never_repeats_what_was_sent(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        call_id = await world.cell.call_in()
        url = f"/api/v1/calls/{call_id}/payments"
        for sent in (
            {"amount_minor": APPROVED, "currency": "EUR"},
            {"amount_minor": 5, "currency": APPROVED},
            {"amount_minor": 5, "currency": "EUR", APPROVED: "x"},
            {"amount_minor": 5, "currency": "EUR", "fields": [APPROVED]},
            {"amount_minor": 10**12, "currency": "EUR"},
            {"amount_minor": 5, "currency": "ZZZ"},
        ):
            answer = await anna.post(url, json=sent, headers={"idempotency-key": "k"})
            assert answer.status_code == 422, sent
            assert answer.headers["content-type"] == "application/problem+json"
            assert APPROVED not in answer.text
        broken = await anna.post(
            url, content=b'{"amount_minor": 4242424242424242', headers={"content-type": "application/json"}
        )
        assert broken.status_code == 422 and APPROVED not in broken.text
        unknown = await anna.get(f"/api/v1/payments/{APPROVED}")
        assert unknown.status_code == 422 and APPROVED not in unknown.text
        large = await anna.post(url, content=b"x" * 70_000)
        assert (large.status_code, large.json()["code"]) == (413, "too-large")

    run(scenario)


def test_free_text_is_shown_and_not_executed(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        anna = await world.signed_in("anna")
        nasty = "'\"><img src=x onerror=alert(1)>{{7*7}}"
        call_id = await world.cell.call_in(caller=nasty)
        await new_payment(anna, call_id, reference=nasty, description=nasty)
        await world.cell.end(call_id)
        await world.cell.call_in(caller=nasty)
        for path in ("/", f"/?call={call_id}", f"/fragments/board?call={call_id}", "/history"):
            text = (await anna.get(path, headers={"accept": "text/html"})).text
            assert "<img src=x" not in text
            assert "49" not in text.partition("onerror")[2][:60]

    run(scenario)


def test_pages_of_errors_are_pages(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        answer = await client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        assert answer.status_code == 303
        assert (await client.get("/", headers={"accept": "text/html"})).status_code == 200
        missing = await client.get("/nowhere")
        assert missing.status_code == 404 and missing.json()["code"] == "not-found"

    run(scenario)


def test_the_description_of_the_api_needs_nothing_from_outside(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        document = (await client.get("/openapi.json")).json()
        assert "/api/v1/calls/{call_id}/payments" in document["paths"]
        page = (await client.get("/docs")).text
        assert "/api/v1/events" in page
        assert "INV-2041" in page, "examples"
        charge = document["paths"]["/api/v1/payments/{payment_id}/authorize"]["post"]
        assert (
            charge["security"] == [{"session": []}, {"key": []}] and "payments:write" in charge["description"]
        )
        people = document["paths"]["/api/v1/operators"]["get"]
        assert people["security"] == [{"session": []}] and "people only" in people["description"]
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)

    run(scenario)


def test_only_the_named_sites_may_frame_and_only_the_embedded_page(run: Run) -> None:
    async def scenario(world: PanelWorld) -> None:
        client = world.client()
        answer = await client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
        assert "SameSite=none" in answer.headers["set-cookie"] and "Secure" in answer.headers["set-cookie"]
        cookie = answer.headers["set-cookie"].partition(";")[0]
        page = await client.get("/embed", headers={"cookie": cookie})
        assert page.status_code == 200 and 'class="nav"' not in page.text
        assert "frame-ancestors https://crm.example" in page.headers["content-security-policy"]
        assert "x-frame-options" not in page.headers
        board = await client.get("/", headers={"cookie": cookie})
        assert "frame-ancestors 'none'" in board.headers["content-security-policy"]

    run(scenario, frame_ancestors=("https://crm.example",))
