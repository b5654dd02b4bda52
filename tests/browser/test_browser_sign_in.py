"""Signing in in a browser: a passkey by Chromium's own virtual authenticator, one-time codes, the lock-out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from paycall.panel.roles import Role
from tests.browser.conftest import Desk
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import PASSWORD


@pytest.fixture
def page(server: PanelServer, chromium: Browser) -> Iterator[Page]:
    """A page with an authenticator built in. Browsers know passkeys for names only, so the panel has one."""
    server.world.add("anna", Role.OPERATOR, display_name="Anna")
    context = chromium.new_context(base_url=f"http://localhost:{server.port}")
    page = context.new_page()
    page.context.new_cdp_session(page).send("WebAuthn.enable")
    yield page
    context.close()


def _authenticator(page: Page, *, verified: bool = True) -> None:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": verified,
                "automaticPresenceSimulation": True,
            }
        },
    )


def _sign_in(page: Page, name: str = "anna", password: str = PASSWORD, code: str = "") -> None:
    page.goto("/sign-in")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.fill("[name=code]", code)
    page.press("[name=password]", "Enter")


def _prove(page: Page, password: str = PASSWORD) -> None:
    """Say once more who one is."""
    page.fill("#proof-dialog [name=password]", password)
    page.press("#proof-dialog [name=password]", "Enter")


def test_a_passkey_is_set_up_signs_in_and_is_removed(page: Page) -> None:
    _authenticator(page)
    _sign_in(page)
    page.goto("/account")
    page.fill("[data-passkey] [name=name]", "Laptop")
    page.click("#add-passkey")
    _prove(page, "not-the-password-1")
    expect(page.locator("[data-passkey] [data-error]")).to_be_visible()
    page.click("#add-passkey")
    _prove(page)
    expect(page.locator(".passkey b")).to_have_text("Laptop")
    page.context.clear_cookies()
    page.goto("/history")
    assert "/sign-in?next=/history" in page.url
    page.click("#passkey-sign-in")
    page.wait_for_url("**/history")
    expect(page.locator(".menu summary")).to_have_text("Anna")
    page.goto("/account")
    expect(page.locator(".passkey .hint")).to_contain_text("last used")
    page.click(".passkey button")
    page.click("[data-passkey-proof]")
    expect(page.locator(".passkey")).to_have_count(0)
    page.context.clear_cookies()
    page.goto("/sign-in")
    page.click("#passkey-sign-in")
    expect(page.locator("[data-passkey] [data-error]")).to_contain_text("name or the password")


def test_one_time_codes_from_the_qr_code_on(page: Page) -> None:
    _sign_in(page)
    page.goto("/account")
    expect(page.locator(".qr-frame svg")).to_be_visible()
    page.click("details summary >> nth=1")
    secret = page.locator("details .secret").inner_text()
    page.fill("form:has(.qr-frame) [name=code]", pyotp.TOTP(secret).now())
    page.click("form:has(.qr-frame) .primary")
    _prove(page)
    expect(page.locator(".notice.good")).to_be_visible()
    page.context.clear_cookies()
    _sign_in(page)
    expect(page.locator(".notice[role=alert]")).to_contain_text("one-time code")


def test_ten_wrong_passwords_lock_and_the_page_says_so(page: Page) -> None:
    for _ in range(10):
        _sign_in(page, password="wrong")
        expect(page.locator(".notice[role=alert]")).to_contain_text("wrong")
    _sign_in(page)
    expect(page.locator(".notice[role=alert]")).to_contain_text("Wait half an hour")


def test_an_administrator_makes_a_key_and_a_webhook_that_are_shown_once(desk: Desk) -> None:
    page = desk.sign_in()
    page.goto(f"{desk.server.url}/programs")
    page.click("[data-opens=key-dialog]")
    page.fill("#key-dialog [name=name]", "shop")
    page.check("#key-dialog [value='payments:write']")
    page.click("#key-dialog .primary")
    expect(page.locator("[data-show=key]")).to_have_text(re.compile(r"^paycall_[\w-]{43}$"))
    key = page.locator("[data-show=key]").inner_text()
    page.click("#new-key-dialog .primary")
    expect(page.locator("tbody tr")).to_contain_text("shop")
    assert key not in page.content()
    page.click("[data-opens=webhook-dialog]")
    page.fill("#webhook-dialog [name=url]", "https://10.0.0.8/hook")
    page.click("#webhook-dialog .primary")
    expect(page.locator("#webhook-dialog [data-error]")).to_contain_text("https://")
    page.fill("#webhook-dialog [name=url]", "http://127.0.0.1:9/hook")
    page.click("#webhook-dialog .primary")
    expect(page.locator("[data-show=secret]")).to_contain_text("whsec_")
    page.click("#new-webhook-dialog .primary")
    page.click("text=Send a test")
    expect(page.locator("article tbody tr")).to_contain_text("webhook.test")
    page.click("text=Revoke")
    page.click("#revoke-dialog [value=yes]")
    expect(page.locator("tbody .tag.bad")).to_have_text("Revoked")
