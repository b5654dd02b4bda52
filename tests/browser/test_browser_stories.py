"""The operator's day in a browser, on the real stack: calls by SIP and RTP, keys, the acquirer's simulator.

One stack for all stories, which build on each other: the first call is taken from the screen pop to the refund,
the next ones meet a duplicate, a silent acquirer and a cut wire, then four operators in four languages take a
scripted call at the same time. A supervisor watches, and is without connection for half a minute.
"""

from __future__ import annotations

import csv
import io
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from paycall.panel.languages import LANGUAGES, money
from tests.browser.wire import Wire
from tests.phones.desk import Desk, desk
from tests.phones.scripted import Phones, phones
from tests.phones.site import until

STATE = "#payment[data-state={}]"
GOOD, WRONG_CODE, SLOW = "4242424242424242", "4000000000000127", "4000000000000259"
VIEWPORT = {"width": 1366, "height": 768}
SETTINGS = """
[panel.refund_limits_minor]
supervisor = 1000
[vault]
acquirer_timeout_s = 1.5
"""
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


@pytest.fixture(scope="module")
def site(chromium: Browser) -> Iterator[Site]:
    """A stack with two phones; Olga is who the calls come to."""
    with desk(cells=3, extra=SETTINGS) as seat, phones(seat.stack) as both:
        made = Site(seat, both, chromium)
        made.add("olga", "operator", agent_uri=f"sip:operator@127.0.0.1:{seat.stack.agent_port}")
        made.add("sven", "supervisor")
        yield made
        for context in made.contexts:
            context.close()
        assert made.complaints == []


def _start(page: Page, amount: str, reference: str = "") -> None:
    page.wait_for_selector("#start-payment")
    page.keyboard.press("F2")
    page.wait_for_selector("#payment-dialog[open]")
    page.keyboard.type(amount)
    if reference:
        page.fill("#payment-dialog [name=reference]", reference)
    page.keyboard.press("Enter")
    page.wait_for_selector(STATE.format("capturing"))
    expect(page.locator(".line.is-masked")).to_be_visible()


def _key_card(site: Site, page: Page, number: str, expiry: str = "1230", code: str = "123") -> None:
    """All three fields, each when it is asked for."""
    _key(site, page, "payment-card-number", f"{number}#")
    _key(site, page, "expiration-date", expiry)
    _key(site, page, "security-code", code)
    page.wait_for_selector("#charge")


def _key(site: Site, page: Page, name: str, digits: str) -> None:
    """Key a field that is asked for; once more if a busy machine has torn a tone, as a caller would be asked to."""
    for _ in range(3):
        page.wait_for_selector(f"#field-{name}.collecting")
        site.key(digits)
        page.wait_for_selector(f"#field-{name}.stored, #field-{name} .field-error")
        if page.locator(f"#field-{name}.stored").count():
            return


def _dots(page: Page, count: int) -> None:
    expect(page.locator("#field-payment-card-number field-dots i.on")).to_have_count(count)


def test_from_the_screen_pop_to_the_refund_while_a_supervisor_is_away(site: Site) -> None:
    page = site.page("olga")
    with Wire(site.desk.stack.panel_port) as wire:
        there, away = site.page("sven"), site.page("sven", wire.url)
        wire.cut()
        cut_at = time.monotonic()
        away.wait_for_selector("#stale:not([hidden])")
        _first_call(site, page, there)
        time.sleep(max(0.0, cut_at + 30 - time.monotonic()))
        expect(away.locator("#connection")).to_have_attribute("data-state", "stale")
        wire.mend()
        expect(away.locator("#connection")).to_have_attribute("data-state", "live", timeout=15_000)
        # The true state, and every event once, in order, as one who was there all the time was told them.
        away.click(".call-item")
        expect(away.locator(STATE.format("settled"))).to_be_visible()
        expect(away.locator(".code")).to_have_text(there.locator(".code").inner_text())
        until(lambda: away.evaluate("told") == there.evaluate("told"), 5, "same events")
        told = away.evaluate("told")
        assert len(told) > 60 and len(set(told)) == len(told)
    _refund(there)


def _first_call(site: Site, page: Page, supervisor: Page) -> None:
    expect(page.locator(".nobody")).to_be_visible()
    site.call()
    expect(page.locator("#front-call.connected")).to_be_visible()
    caller = site.desk.call()["caller"]
    expect(page.locator("h1.caller")).to_have_text(caller)
    page.click("#edit-customer")
    page.fill("#customer-dialog [name=name]", "Kovács Béla")
    page.press("#customer-dialog [name=name]", "Enter")
    expect(page.locator("h1.caller")).to_have_text("Kovács Béla")
    _start(page, "19.99", "INV-7001")
    site.key("42")
    _dots(page, 2)
    site.key("4242")
    _dots(page, 6)
    expect(page.locator("#field-payment-card-number .card-brand")).to_have_text("Visa")
    # The supervisor sees the same, live, and has no digit either.
    expect(supervisor.locator(".call-item .tag.masked")).to_be_visible()
    supervisor.click(".call-item")
    expect(supervisor.locator("#field-payment-card-number field-dots i.on")).to_have_count(6)
    site.key("424242424#")
    expect(page.locator("#field-payment-card-number .field-error")).to_contain_text("1 digit short")
    page.wait_for_selector("#field-payment-card-number.collecting")
    _key_card(site, page, WRONG_CODE)
    expect(page.locator("#field-payment-card-number field-dots")).to_have_attribute("aria-label", "•••• 0127")
    expect(page.locator("#field-security-code .countdown")).to_have_text(re.compile(r"^4:[0-5]\d$"))
    page.click("#again-expiration-date")
    _key(site, page, "expiration-date", "0131")
    expect(page.locator("#field-expiration-date .shown")).to_have_text("01/31")
    page.wait_for_selector("#charge")
    page.keyboard.press("F2")
    # Declined: who, why, what to say; the same card with the code only.
    page.wait_for_selector(STATE.format("declined"))
    expect(page.locator(".result .who")).to_contain_text("N7")
    expect(page.locator(".say")).to_be_visible()
    page.click("#step-key_code_again")
    expect(page.locator("#field-payment-card-number.stored")).to_be_visible()
    _key(site, page, "security-code", "321")
    page.wait_for_selector("#charge")
    page.keyboard.press("F2")
    page.wait_for_selector(STATE.format("declined"))
    page.click("#step-other_card")
    _dots(page, 0)
    _key_card(site, page, GOOD)
    page.keyboard.press("F2")
    page.wait_for_selector(STATE.format("settled"))
    expect(page.locator(".say")).to_contain_text("€19.99")
    expect(page.locator(".line.is-open")).to_be_visible()
    payment = site.payment(page)
    assert [attempt["state"] for attempt in payment["attempts"]] == ["declined", "declined", "approved"]
    assert page.locator("#refund").count() == 0, "an operator does not refund"
    assert GOOD not in page.content() and GOOD not in supervisor.content()


def _refund(page: Page) -> None:
    """By the role that may, within its limit."""
    page.click("#refund")
    expect(page.locator("#refund-dialog [name=amount]")).to_have_value("19.99")
    page.click("#refund-dialog .danger-solid")
    expect(page.locator("#refund-dialog [data-error]")).to_contain_text("role does not allow")
    page.fill("#refund-dialog [name=amount]", "4.99")
    page.click("#refund-dialog .danger-solid")
    page.wait_for_selector(STATE.format("partly_refunded"))
    expect(page.locator(".result")).to_contain_text("€4.99")


def test_the_same_card_and_amount_again_is_asked_about(site: Site) -> None:
    page = site.page("olga")
    _start(page, "19.99")
    _key_card(site, page, GOOD)
    before = site.payment(page)["attempts"]
    page.keyboard.press("F2")
    page.wait_for_selector("#duplicate-dialog[open]")
    page.click("#duplicate-dialog [value=no]")
    expect(page.locator(STATE.format("ready"))).to_be_visible()
    assert site.payment(page)["attempts"] == before == []
    page.keyboard.press("F4")
    page.click("#cancel-dialog [value=yes]")
    page.wait_for_selector(STATE.format("cancelled"))
    expect(page.locator(".line.is-open")).to_be_visible()


def test_an_acquirer_that_does_not_answer_is_seen_as_that_until_it_does(site: Site) -> None:
    page = site.page("olga")
    _start(page, "20.00")
    _key_card(site, page, GOOD)
    acquirer = site.desk.process("sandbox")
    acquirer.send_signal(signal.SIGSTOP)
    try:
        page.keyboard.press("F2")
        page.wait_for_selector(STATE.format("authorizing"))
        page.wait_for_selector(STATE.format("unknown"))
        expect(page.locator(".result")).to_contain_text("Do not charge the card again")
        assert page.locator("#payment button").count() == 0
    finally:
        acquirer.send_signal(signal.SIGCONT)
    page.wait_for_selector(STATE.format("settled"), timeout=20_000)
    assert [attempt["state"] for attempt in site.payment(page)["attempts"]] == ["approved"]


def test_a_wire_that_breaks_while_charging_leaves_the_money_right(site: Site) -> None:
    with Wire(site.desk.stack.panel_port) as wire:
        page = site.page("olga", wire.url)
        _start(page, "21.00", "INV-7021")
        _key_card(site, page, SLOW)
        wire.deafen()
        page.click("#charge")  # it arrives; the answer never does
        payment_id = page.locator("#payment").get_attribute("data-payment")
        site.desk.payment(str(payment_id), lambda p: bool(p["attempts"]))
        wire.cut()
        expect(page.locator("#stale")).to_be_visible()
        expect(page.locator("body")).to_have_class(re.compile("is-stale"))
        site.desk.payment(str(payment_id), "settled")
        wire.mend()
        page.wait_for_selector(STATE.format("settled"), timeout=15_000)
        expect(page.locator("#stale")).not_to_be_visible()
        assert len(site.payment(page)["attempts"]) == 1
        page.click("#hang-up")
        page.click("#hang-up-dialog [value=yes]")
        expect(page.locator(".line.is-ended")).to_be_visible()


def test_four_operators_in_four_languages_take_a_call_each_at_the_same_time(site: Site) -> None:
    for language in LANGUAGES:
        site.add(f"desk-{language}", "operator", language)
    pages = {language: site.page(f"desk-{language}") for language in LANGUAGES}
    # Each another amount: the scripted callers all have the same cards, and would be asked about as duplicates.
    amounts = {"en": "49.90", "ru": "59,90", "uk": "69,90", "hu": "79,90"}
    for language, page in pages.items():
        page.click("#test-call")
        expect(page.locator("#front-call.connected"), language).to_be_visible(timeout=30_000)
        expect(page.locator(".test-call [data-error]")).to_be_hidden()
        _start(page, amounts[language], f"INV-{language}")
    for page in pages.values():
        page.wait_for_selector(STATE.format("ready"), timeout=60_000)
        page.keyboard.press("F2")
    advice = {}
    for language, page in pages.items():
        page.wait_for_selector(STATE.format("declined"), timeout=20_000)
        advice[language] = page.locator(".say").inner_text()
        page.click("#step-other_card")
    assert len(set(advice.values())) == len(LANGUAGES)
    for page in pages.values():
        page.wait_for_selector(STATE.format("ready"), timeout=60_000)
        page.keyboard.press("F2")
    for language, page in pages.items():
        page.wait_for_selector(STATE.format("settled"), timeout=20_000)
        shown = money(int(re.sub(r"\D", "", amounts[language])), "EUR", language)
        expect(page.locator("p.amount")).to_have_text(shown.replace("\u00a0", " "))
        expect(page.locator(".line.is-open")).to_be_visible()
        page.click("#hang-up")
        page.click("#hang-up-dialog [value=yes]")
        expect(page.locator(".line.is-ended")).to_be_visible()


def test_the_history_finds_exports_and_tells_the_story(site: Site) -> None:
    page = site.page("sven")
    page.goto(f"{site.desk.stack.panel_url}/history")
    everything = page.locator("tbody tr").count()
    page.fill("[name=q]", "INV-7001")
    page.press("[name=q]", "Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_download() as download:
        page.click("a[download]")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [(row["reference"], row["last4"], row["refunded"]) for row in rows] == [
        ("INV-7001", "4242", "4.99")
    ]
    page.click("tbody a")
    story = page.locator(".story").inner_text()
    places = [
        story.index(words)
        for words in ("Payment started", "bank declined", "bank approved", "Settled", "Partly")
    ]
    assert places == sorted(places)
    page.goto(f"{site.desk.stack.panel_url}/history?state=cancelled")
    expect(page.locator("tbody tr")).to_have_count(1)
    # The scripted callers all call from one number, whose name was written down: the first call and the four.
    page.goto(f"{site.desk.stack.panel_url}/history?kind=calls&q=Kovács")
    expect(page.locator("tbody tr")).to_have_count(1 + len(LANGUAGES))
    page.goto(f"{site.desk.stack.panel_url}/reports")
    expect(page.locator(".figure b").first).to_have_text(str(everything))
    expect(page.locator("section:has(#reasons) li")).to_have_count(2)
