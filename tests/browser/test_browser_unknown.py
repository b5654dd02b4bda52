"""What an operator sees and can do while nobody knows what became of a charge; and the limit before it is met."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from paycall.domain.authorization import Outcome, Search
from paycall.panel.roles import Role
from paycall.settings import PanelSettings
from tests.browser.conftest import Desk
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import NO_ANSWER, card_ready, until

LIMITS = {"settle_limits_minor": {"supervisor": 50000}, "refund_limits_minor": {"supervisor": 1000}}


@pytest.fixture
def at(tmp_path: Path, chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk at a panel whose vault tells of its search."""
    monkeypatch.setattr(
        "paycall.panel.live.ENQUIRY_EVERY_S", 600.0
    )  # not over before a slow machine has looked
    with PanelServer(tmp_path, PanelSettings(**LIMITS)) as server:
        server.world.vault.search = Search(3, False, False, next_in_s=22.0, people_in_s=3400.0)
        desk = Desk(server, chromium)
        yield desk
        desk.close()
        assert desk.complaints == []


def _unknown(desk: Desk) -> tuple[Page, str, str]:
    """Somebody's page with a payment in front that got no answer; the payment and its attempt."""
    page = desk.sign_in(role=Role.SUPERVISOR)

    async def charged() -> tuple[str, str]:
        client = await desk.world.signed_in("anna")
        _, payment = await card_ready(desk.world, client, NO_ANSWER)
        await client.post(f"/api/v1/payments/{payment['id']}/authorize")
        unknown = await until(client, payment["id"], "unknown")
        return str(payment["id"]), str(unknown["attempts"][0]["id"])

    payment_id, attempt_id = desk.server.do(charged())
    page.wait_for_selector("#enquire")
    return page, payment_id, attempt_id


def _assert_sound(page: Page) -> None:
    """Nothing that a screen reader, an eye or a small screen stumbles over."""
    found = Axe().run(page).response["violations"]
    assert found == [], [(one["id"], [node["html"][:90] for node in one["nodes"]]) for one in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_ask_now_stop_waiting_and_be_warned_by_keyboard_alone(at: Desk) -> None:
    page, _, attempt_id = _unknown(at)
    expect(page.locator("#search")).to_contain_text("the acquirer simulator")
    expect(page.locator("#search")).to_contain_text("A supervisor is asked in")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "1366×768 without scrolling"
    _assert_sound(page)
    page.keyboard.press("F2")
    expect(page.locator("#search")).to_contain_text("was asked again and has no answer yet")
    expect(page.locator("#enquire")).to_be_disabled()
    assert at.world.vault.enquiries == [attempt_id] and len(at.world.vault.authorizations) == 1
    page.keyboard.press("F4")
    page.wait_for_selector("#set-aside-dialog[open]")
    _assert_sound(page)
    page.keyboard.press("Tab")  # the focus is on the way back
    page.keyboard.press("Enter")
    expect(page.locator(".line.is-open")).to_be_visible()
    expect(page.locator(".result h2")).to_contain_text("Set aside")
    expect(page.locator("#waiting")).to_have_text("1 payment waits for somebody")
    page.set_viewport_size({"width": 400, "height": 820})
    page.emulate_media(color_scheme="dark")
    _assert_sound(page)

    page.keyboard.press("F2")
    page.keyboard.type("19.99")
    page.keyboard.press("Enter")
    page.wait_for_selector("#unknown-dialog[open]")
    _assert_sound(page)
    page.keyboard.press("Enter")  # back: nothing was started
    expect(page.locator("#payment-dialog")).to_be_visible()
    assert page.locator("#payment").get_attribute("data-state") == "unknown"
    page.locator("#payment-dialog [name=amount]").press("Enter")
    page.wait_for_selector("#unknown-dialog[open]")
    page.click("#unknown-dialog [value=yes]")
    page.wait_for_selector("#payment[data-state=capturing]")
    expect(page.locator("#payment-dialog")).to_be_hidden()


def test_a_late_approval_is_kept_within_the_limit(at: Desk) -> None:
    page, payment_id, attempt_id = _unknown(at)
    page.click("#set-aside")
    page.click("#set-aside-dialog [value=yes]")
    page.wait_for_selector("#start-payment")
    at.world.vault.resolve(attempt_id, Outcome.APPROVED)
    expect(page.locator(".result")).to_contain_text("The answer came after you had stopped waiting")
    expect(page.locator("#start-payment")).to_have_count(0)
    page.keyboard.press("F2")
    expect(page.locator("#settle-dialog [data-limit]")).to_have_text("Your limit for one payment: €500.00")
    page.keyboard.press("Enter")
    page.wait_for_selector("#payment[data-state=settled]")
    page.goto(f"{at.server.url}/payments/{payment_id}")
    page.click("#refund")
    expect(page.locator("#refund-dialog [data-limit]")).to_have_text("Your limit for one payment: €10.00")
    expect(page.locator("#refund-dialog [name=amount]")).to_have_value("10.00")


def test_an_open_question_is_not_swept_away_by_the_page_that_looks_again(at: Desk) -> None:
    page, payment_id, _ = _unknown(at)
    page.clock.install()
    page.goto(f"{at.server.url}/payments/{payment_id}")
    page.click("#set-aside")
    page.wait_for_selector("#set-aside-dialog[open]")
    page.clock.run_for(11_000)  # twice the time after which it looks again
    assert page.locator("#set-aside-dialog[open]").count() == 1
    page.keyboard.press("Escape")
    with page.expect_navigation():
        page.clock.run_for(6_000)
    page.click("#set-aside")
    page.click("#set-aside-dialog [value=yes]")
    page.clock.run_for(1_000)
    expect(page.locator(".result h2")).to_contain_text("Set aside")
