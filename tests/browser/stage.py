"""What the stories share: the whole stack with its phones, people who look at it, and what they do with a payment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect

from paycall.panel.languages import translations
from tests.phones.desk import Desk
from tests.phones.scripted import Phones

STATE = "#payment[data-state={}]"
GOOD, WRONG_CODE, SLOW = "4242424242424242", "4000000000000127", "4000000000000259"
VIEWPORT = {"width": 1366, "height": 768}
PASSWORD = "a-good-long-password-1"
# Every event that the page was told, by its id: what is missing or doubled shows here.
_LISTEN = """
window.told = [];
window.EventSource = class extends EventSource {
  addEventListener(name, heard) {
    super.addEventListener(name, (event) => {
      if (event.lastEventId && !["reset", "heartbeat"].includes(name)) window.told.push(event.lastEventId);
      heard(event);
    });
  }
};
"""


@dataclass
class Site:
    """The stack, its phones, and who looks at it through which wire."""

    desk: Desk
    phones: Phones
    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def speak(self, name: str, language: str) -> None:
        """The person's own language from now on."""
        with httpx.Client(base_url=f"{self.desk.stack.panel_url}/api/v1") as own:
            assert own.post("/session", json={"name": name, "password": PASSWORD}).status_code == 200
            assert own.patch("/account", json={"language": language}).status_code == 204

    def add(self, name: str, role: str, language: str = "en", agent_uri: str = "") -> None:
        """An account, through its invitation."""
        account = {"name": name, "role": role, "language": language, "agent_uri": agent_uri}
        link = self.desk.post("/operators", 201, **account)["invitation"]
        assert httpx.post(link, data={"password": PASSWORD}).status_code == 303

    def page(self, name: str, url: str = "", **options: Any) -> Page:
        """Somebody signed in, on the board, with a browser profile of the own."""
        context = self.browser.new_context(**{"viewport": VIEWPORT, **options})
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.add_init_script(_LISTEN)
        page.goto(url or self.desk.stack.panel_url)
        page.fill("[name=name]", name)
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_selector("#connection[data-state=live]")
        return page

    def call(self) -> None:
        """The caller calls in, and is connected."""
        self.phones.call(self.desk.stack.sip_uris[0])

    def key(self, digits: str) -> None:
        """The caller keys. RFC 4733 events: a busy machine tears tones, and what is heard is not these stories'."""
        self.phones.key(digits, "rfc4733")

    def payment(self, page: Page) -> dict[str, Any]:
        """What the API says of the payment on the page."""
        payment_id = page.locator("#payment").get_attribute("data-payment")
        return self.desk.get(f"/payments/{payment_id}")


def start(page: Page, amount: str, reference: str = "") -> None:
    """Start a payment by keyboard alone; the line is masked."""
    page.wait_for_selector("#start-payment")
    page.keyboard.press("F2")
    page.wait_for_selector("#payment-dialog[open]")
    page.keyboard.type(amount)
    if reference:
        page.fill("#payment-dialog [name=reference]", reference)
    page.keyboard.press("Enter")
    page.wait_for_selector(STATE.format("capturing"))
    expect(page.locator(".line.is-masked")).to_be_visible()
    page.wait_for_selector(".field.collecting")  # a key that comes earlier is nobody's


def key_card(site: Site, page: Page, number: str, expiry: str = "1230", code: str = "123") -> None:
    """All three fields, each when it is asked for."""
    key(site, page, "payment-card-number", f"{number}#")
    key(site, page, "expiration-date", expiry)
    key(site, page, "security-code", code)
    page.wait_for_selector("#charge")


def key(site: Site, page: Page, name: str, digits: str) -> None:
    """Key a field that is asked for; once more if a busy machine has torn a tone, as a caller would be asked to."""
    for _ in range(3):
        page.wait_for_selector(f"#field-{name}.collecting")
        site.key(digits)
        page.wait_for_selector(f"#field-{name}.stored, #field-{name} .field-error")
        if page.locator(f"#field-{name}.stored").count():
            return


def say(language: str, text: str) -> str:
    """The text as the catalogue has it; a test that asks for one that is not there would pass on English."""
    found = translations(language).gettext(text)
    assert language == "en" or found != text, f"{language}: not in the catalogue: {text}"
    return found
