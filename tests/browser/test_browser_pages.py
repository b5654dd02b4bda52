"""Every page: without accessibility violations, without scrolling where none is due, and usable at 400 px."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from paycall.panel.roles import Role
from tests.browser.conftest import Desk
from tests.fakes.panel_world import APPROVED, DECLINED, new_payment, until

PAGES = (
    "/", "/history", "/history?kind=calls", "/reports", "/people", "/programs", "/account", "/audit", "/docs",
)  # fmt: skip
_TAGS = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
}


def _violations(page: Page) -> list[str]:
    found = Axe().run(page, options=_TAGS).response["violations"]
    return [f"{item['id']}: {node['html'][:120]}" for item in found for node in item["nodes"]]


async def _payment(desk: Desk, name: str, number: str, caller: str) -> tuple[str, str]:
    client = await desk.world.signed_in(name)
    call_id = await desk.world.cell.call_in(caller=caller)
    await desk.world.cell.record(call_id, "on")
    payment = await new_payment(client, call_id, reference="INV-1")
    await desk.world.cell.key(call_id, number, "1230", "123")
    await until(client, payment["id"], "ready")
    return call_id, str(payment["id"])


async def _programs(desk: Desk) -> str:
    """A key, a revoked one, and a webhook that failed, to be looked at; the page of its deliveries."""
    client = await desk.world.signed_in("anna")
    for name in ("shop", "former"):
        made = await client.post(
            "/api/v1/api-keys", json={"name": name, "scopes": ["calls:read", "payments:read"]}
        )
    await client.delete(f"/api/v1/api-keys/{made.json()['api_key']['id']}")
    hook = {"url": "http://127.0.0.1:9/hook", "events": ["payment.*"]}
    webhook = (await client.post("/api/v1/webhook-subscriptions", json=hook)).json()["webhook"]
    await client.post(f"/api/v1/webhook-subscriptions/{webhook['id']}/test")
    await client.post(f"/api/v1/webhook-subscriptions/{webhook['id']}/secret", json={})
    return f"/programs/webhooks/{webhook['id']}"


async def _charge(desk: Desk, name: str, payment_id: str) -> None:
    client = await desk.world.signed_in(name)
    await client.post(f"/api/v1/payments/{payment_id}/authorize")
    await until(client, payment_id, "declined", "settled")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_an_accessibility_violation(desk: Desk, scheme: str) -> None:
    page = desk.sign_in(color_scheme=scheme)
    call_id, payment_id = desk.server.do(_payment(desk, "anna", DECLINED, "+361"))
    page.wait_for_selector("#charge")
    assert _violations(page) == [], "ready"
    desk.server.do(_charge(desk, "anna", payment_id))
    page.wait_for_selector("#payment[data-state=declined]")
    assert _violations(page) == [], "declined"
    page.click("#step-other_card")
    page.wait_for_selector("#payment[data-state=capturing]")
    desk.server.do(desk.world.cell.press(call_id, 5, "visa"))
    assert _violations(page) == [], "capturing"
    desk.server.do(desk.world.cell.end(call_id))
    _, paid = desk.server.do(_payment(desk, "anna", APPROVED, "+361"))
    desk.server.do(_charge(desk, "anna", paid))
    page.wait_for_selector("#payment[data-state=settled]")
    assert _violations(page) == [], "settled"
    page.click("#start-payment")
    assert _violations(page) == [], "dialog"
    for dialog in ("settle-dialog", "refund-dialog", "void-dialog"):
        page.keyboard.press("Escape")
        page.evaluate(f"document.getElementById('{dialog}').showModal()")
        assert _violations(page) == [], dialog
    deliveries = desk.server.do(_programs(desk))
    for path in (*PAGES[1:], f"/payments/{paid}", "/embed", deliveries):
        page.goto(desk.server.url + path)
        assert _violations(page) == [], path


def test_the_sign_in_page_has_no_accessibility_violation(desk: Desk) -> None:
    page = desk.page()
    page.goto(f"{desk.server.url}/sign-in")
    assert _violations(page) == []
    page.fill("[name=name]", "nobody")
    page.fill("[name=password]", "wrong")
    page.click("button.primary")
    expect(page.locator(".notice[role=alert]")).to_be_visible()
    assert _violations(page) == []


@pytest.mark.parametrize("language", ["en", "ru", "uk", "hu"])
def test_a_call_needs_no_scrolling_at_1366_by_768(desk: Desk, language: str) -> None:
    page = desk.sign_in(language=language)
    call_id, payment_id = desk.server.do(_payment(desk, "anna", DECLINED, "+361"))
    page.wait_for_selector("#charge")
    assert _overflow(page) == (0, 0)
    desk.server.do(_charge(desk, "anna", payment_id))
    page.wait_for_selector("#payment[data-state=declined]")
    assert _overflow(page) == (0, 0)
    assert call_id


@pytest.mark.parametrize("language", ["en", "ru", "uk", "hu"])
def test_nothing_is_wider_than_a_narrow_window(desk: Desk, language: str) -> None:
    page = desk.sign_in(language=language, viewport={"width": 400, "height": 800})
    _, payment_id = desk.server.do(_payment(desk, "anna", DECLINED, "+361"))
    page.wait_for_selector("#charge")
    assert _overflow(page)[0] == 0
    desk.server.do(_charge(desk, "anna", payment_id))
    page.wait_for_selector("#payment[data-state=declined]")
    assert _overflow(page)[0] == 0
    deliveries = desk.server.do(_programs(desk))
    for path in (*PAGES[1:], f"/payments/{payment_id}", deliveries):
        page.goto(desk.server.url + path)
        assert _overflow(page)[0] == 0, path


def _overflow(page: Page) -> tuple[int, int]:
    """By how many pixels the page is wider and higher than its window."""
    wide, high = page.evaluate(
        "() => { const page = document.documentElement;"
        " return [page.scrollWidth - innerWidth, page.scrollHeight - innerHeight]; }"
    )
    return max(0, wide), max(0, high)


def test_an_invitation_and_a_new_language_and_colours(desk: Desk) -> None:
    page = desk.sign_in()
    page.goto(f"{desk.server.url}/people")
    page.click("[data-opens=add-dialog]")
    page.fill("#add-dialog [name=name]", "oksana")
    page.select_option("#add-dialog [name=language]", "uk")
    page.click("#add-dialog .primary")
    link = page.locator("[data-show=invitation]")
    expect(link).to_contain_text("/invitation/")
    guest = desk.page()
    guest.goto(link.inner_text())
    guest.fill("[name=password]", "a-good-long-password-1")
    guest.click("button.primary")
    expect(guest.locator(".nav [aria-current]")).to_have_text("Дзвінки")
    guest.goto(f"{desk.server.url}/account")
    guest.select_option("[name=theme]", "dark")
    guest.select_option("[name=language]", "hu")
    guest.click("form:has([name=theme]) button")
    expect(guest.locator("h1")).to_have_text("Saját fiók")
    assert guest.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_signing_out_elsewhere_leads_to_the_sign_in_page(desk: Desk) -> None:
    page = desk.sign_in("anna", Role.OPERATOR)
    desk.server.do(_lock(desk, "anna"))
    page.wait_for_url("**/sign-in**", timeout=40_000)


async def _lock(desk: Desk, name: str) -> None:
    desk.world.add("boss", Role.ADMINISTRATOR)
    boss = await desk.world.signed_in("boss")
    people = (await boss.get("/api/v1/operators")).json()["operators"]
    anna = next(person["id"] for person in people if person["name"] == name)
    assert (await boss.patch(f"/api/v1/operators/{anna}", json={"locked": True})).status_code == 200
    stream = desk.server.world.app.state.context.stream
    for queue in tuple(stream._followers):
        stream._cut(queue)
