"""Signing in and staying signed in, in every language: passkeys by Chromium's own virtual authenticator, one-time
codes, the lock-out, an identity provider, and a session that ends when nobody is there but not under a payment.

The panel is the real one; cells and the vault, which these stories hardly touch, are small. Everybody has an account
of the own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from paycall.panel.languages import LANGUAGES
from paycall.panel.roles import Role
from paycall.settings import OidcSettings, PanelSettings
from tests.browser.stage import STATE, say
from tests.fakes.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import PASSWORD, PanelWorld

_COUNT = itertools.count()
IDLE_MINUTES = 16


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """Where somebody is signed in already."""
    with OidcProvider() as running:
        yield running


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, provider: OidcProvider) -> Iterator[PanelServer]:
    """One panel for all of them."""
    folder = tmp_path_factory.mktemp("sign-in")
    secret = folder / "oidc-secret"
    secret.write_text(CLIENT_SECRET)
    oidc = OidcSettings(issuer=provider.issuer, client_id=CLIENT_ID, client_secret_file=secret, label="Shop")
    with PanelServer(folder, PanelSettings(oidc=oidc)) as running:
        yield running


@pytest.fixture(params=list(LANGUAGES))
def language(request: pytest.FixtureRequest) -> str:
    """What the person reads, and the browser asks for."""
    return str(request.param)


@pytest.fixture
def name(panel: PanelServer, language: str) -> str:
    """An operator with an account and a phone of the own."""
    name = f"anna-{language}-{next(_COUNT)}"
    panel.world.add(
        name, Role.OPERATOR, display_name="Anna", language=language, agent_uri=f"sip:{name}@pbx.example"
    )
    return name


@pytest.fixture
def page(panel: PanelServer, chromium: Browser, language: str) -> Iterator[Page]:
    """A page with an authenticator built in. Browsers know passkeys for names only, so the panel has one."""
    context = chromium.new_context(base_url=f"http://localhost:{panel.port}", locale=language)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield page
    context.close()


def _sign_in(page: Page, name: str, password: str = PASSWORD, code: str = "") -> None:
    page.goto("/sign-in")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.fill("[name=code]", code)
    page.press("[name=password]", "Enter")


def _prove(page: Page, password: str = PASSWORD) -> None:
    """Say once more who one is."""
    page.fill("#proof-dialog [name=password]", password)
    page.press("#proof-dialog [name=password]", "Enter")


def test_a_passkey_is_set_up_signs_in_and_is_removed(page: Page, name: str, language: str) -> None:
    _sign_in(page, name)
    page.goto("/account")
    expect(page.locator("#passkeys-title")).to_have_text(say(language, "Passkeys"))
    page.fill("[data-passkey] [name=name]", "Laptop")
    page.click("#add-passkey")
    expect(page.locator("#proof-dialog h2")).to_have_text(say(language, "Is it you?"))
    _prove(page, "not-the-password-1")
    wrong = say(language, "That was not right. Try again.")
    expect(page.locator("[data-passkey] [data-error]")).to_have_text(wrong)
    page.click("#add-passkey")
    _prove(page)
    expect(page.locator(".passkey b")).to_have_text("Laptop")
    expect(page.locator(".passkey .hint")).to_have_text(say(language, "never used"))
    page.context.clear_cookies()
    page.goto("/history")
    assert "/sign-in?next=/history" in page.url
    expect(page.locator("#passkey-sign-in")).to_have_text(say(language, "Sign in with a passkey"))
    page.click("#passkey-sign-in")
    page.wait_for_url("**/history")
    expect(page.locator(".menu summary")).to_have_text("Anna")
    page.goto("/account")
    expect(page.locator(".passkey .hint")).to_contain_text(say(language, "last used %(time)s", time=""))
    page.click(".passkey button")
    page.click("[data-passkey-proof]")
    expect(page.locator(".passkey")).to_have_count(0)
    page.context.clear_cookies()
    page.goto("/sign-in")
    page.click("#passkey-sign-in")
    gone = say(language, "The name or the password is wrong.")
    expect(page.locator("[data-passkey] [data-error]")).to_have_text(gone)


def test_one_time_codes_from_the_qr_code_on(page: Page, panel: PanelServer, name: str, language: str) -> None:
    _sign_in(page, name)
    page.goto("/account")
    expect(page.locator(".qr-frame svg")).to_be_visible()
    page.click("details:has(.secret) summary")
    codes = pyotp.TOTP(page.locator("details .secret").inner_text())
    page.fill("form:has(.qr-frame) [name=code]", "000000")
    page.click("form:has(.qr-frame) .primary")
    _prove(page)
    wrong = "This code does not fit. Check the clock of the phone and take the next code."
    expect(page.locator("form:has(.qr-frame) [data-error]")).to_have_text(say(language, wrong))
    page.fill("form:has(.qr-frame) [name=code]", codes.at(panel.world.clock.now()))
    page.click("form:has(.qr-frame) .primary")
    _prove(page)
    set_up = say(language, "One-time codes are set up: you need your phone to sign in.")
    expect(page.locator(".notice.good")).to_have_text(set_up)
    page.context.clear_cookies()
    _sign_in(page, name)
    asked = say(language, "Enter the one-time code from your phone too.")
    expect(page.locator(".notice[role=alert]")).to_have_text(asked)
    panel.world.clock.advance(seconds=30)  # a code is good once
    _sign_in(page, name, code=codes.at(panel.world.clock.now()))
    page.wait_for_selector("#connection[data-state=live]")


def test_ten_wrong_passwords_lock_and_the_page_says_so(
    page: Page, panel: PanelServer, name: str, language: str
) -> None:
    for _ in range(9):
        httpx.post(f"{panel.url}/sign-in", data={"name": name, "password": "wrong"})
    _sign_in(page, name, password="wrong")
    wrong = say(language, "The name or the password is wrong.")
    expect(page.locator(".notice[role=alert]")).to_have_text(wrong)
    _sign_in(page, name)
    locked = say(language, "This account is locked. Wait half an hour, or ask an administrator.")
    expect(page.locator(".notice[role=alert]")).to_have_text(locked)


def test_who_is_known_to_the_provider_comes_in(
    page: Page, provider: OidcProvider, name: str, language: str
) -> None:
    provider.claims = {"sub": name, "preferred_username": name}
    page.goto("/sign-in")
    expect(page.locator("#oidc-sign-in")).to_have_text(say(language, "Sign in with %(name)s", name="Shop"))
    page.click("#oidc-sign-in")
    page.wait_for_selector("#connection[data-state=live]")
    expect(page.locator(".nobody h1")).to_have_text(say(language, "Ready for the next call"))
    page.context.clear_cookies()
    provider.claims = {"sub": f"not-{name}", "preferred_username": f"not-{name}"}
    page.goto("/sign-in")
    page.click("#oidc-sign-in")
    nobody = say(language, "There is no account for you here. Ask an administrator.")
    expect(page.locator(".notice[role=alert]")).to_have_text(nobody)


def test_who_has_left_is_signed_out_but_not_in_the_middle_of_a_payment(
    page: Page, panel: PanelServer, name: str, language: str
) -> None:
    world: PanelWorld = panel.world
    _sign_in(page, name)
    call_id = panel.do(world.cell.call_in(caller="+361", agent_uri=f"sip:{name}@pbx.example"))
    page.wait_for_selector("#start-payment")
    page.keyboard.press("F2")
    page.fill("#payment-dialog[open] [name=amount]", "19")
    page.keyboard.press("Enter")
    page.wait_for_selector(STATE.format("capturing"))
    world.clock.advance(minutes=IDLE_MINUTES)
    page.reload()
    expect(page.locator(STATE.format("capturing"))).to_be_visible()
    page.keyboard.press("F4")
    page.click("#cancel-dialog [value=yes]")
    page.wait_for_selector(STATE.format("cancelled"))
    panel.do(world.cell.end(call_id))
    page.wait_for_selector(".line.is-ended")
    world.clock.advance(minutes=IDLE_MINUTES)
    page.reload()
    page.wait_for_url("**/sign-in?next=/*")
    expect(page.locator("h1")).to_have_text(say(language, "Sign in to %(site)s", site="paycall"))
