"""The operator's day in a browser, on the real stack: calls by SIP and RTP, keys, the acquirer's simulator.

One stack for all stories, in another language each, which build on each other: the first call is taken from the
screen pop to the refund, the next ones meet a duplicate, a silent acquirer and a cut wire, then four operators in
four languages take a scripted call at the same time. A supervisor watches, and is without connection for half a
minute.
"""

from __future__ import annotations

import csv
import io
import re
import signal
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from paycall.panel.languages import LANGUAGES, money
from tests.browser.stage import GOOD, SLOW, STATE, WRONG_CODE, Site, key, key_card, say, start
from tests.browser.wire import Wire
from tests.phones.desk import desk
from tests.phones.scripted import phones
from tests.phones.site import until

SETTINGS = """
[panel.refund_limits_minor]
supervisor = 1000
[vault]
acquirer_timeout_s = 1.5
"""


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
        until(lambda: away.evaluate("told") == there.evaluate("told"), what="same events")
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
    start(page, "19.99", "INV-7001")
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
    key_card(site, page, WRONG_CODE)
    expect(page.locator("#field-payment-card-number field-dots")).to_have_attribute("aria-label", "•••• 0127")
    expect(page.locator("#field-security-code .countdown")).to_have_text(re.compile(r"^4:[0-5]\d$"))
    page.click("#again-expiration-date")
    key(site, page, "expiration-date", "0131")
    expect(page.locator("#field-expiration-date .shown")).to_have_text("01/31")
    page.wait_for_selector("#charge")
    page.keyboard.press("F2")
    # Declined: who, why, what to say; the same card with the code only.
    page.wait_for_selector(STATE.format("declined"))
    expect(page.locator(".result .who")).to_contain_text("N7")
    expect(page.locator(".say")).to_be_visible()
    page.click("#step-key_code_again")
    expect(page.locator("#field-payment-card-number.stored")).to_be_visible()
    key(site, page, "security-code", "321")
    page.wait_for_selector("#charge")
    page.keyboard.press("F2")
    page.wait_for_selector(STATE.format("declined"))
    page.click("#step-other_card")
    _dots(page, 0)
    key_card(site, page, GOOD)
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
    expect(page.locator("#refund-dialog [data-error]")).to_contain_text("more money than your role may move")
    page.fill("#refund-dialog [name=amount]", "4.99")
    page.click("#refund-dialog .danger-solid")
    page.wait_for_selector(STATE.format("partly_refunded"))
    expect(page.locator(".result")).to_contain_text("€4.99")


def test_the_same_card_and_amount_again_is_asked_about(site: Site) -> None:
    site.speak("olga", "ru")
    page = site.page("olga")
    start(page, "19.99")
    key_card(site, page, GOOD)
    before = site.payment(page)["attempts"]
    page.keyboard.press("F2")
    page.wait_for_selector("#duplicate-dialog[open]")
    expect(page.locator("#duplicate-dialog h2")).to_have_text(say("ru", "Charge once more?"))
    page.click("#duplicate-dialog [value=no]")
    expect(page.locator(STATE.format("ready"))).to_be_visible()
    assert site.payment(page)["attempts"] == before == []
    page.keyboard.press("F4")
    page.click("#cancel-dialog [value=yes]")
    page.wait_for_selector(STATE.format("cancelled"))
    expect(page.locator(".line.is-open")).to_be_visible()


def test_an_acquirer_that_does_not_answer_is_seen_as_that_until_it_does(site: Site) -> None:
    site.speak("olga", "uk")
    page = site.page("olga")
    start(page, "20.00")
    key_card(site, page, GOOD)
    acquirer = site.desk.process("sandbox")
    acquirer.send_signal(signal.SIGSTOP)
    try:
        page.keyboard.press("F2")
        page.wait_for_selector(STATE.format("authorizing"))
        page.wait_for_selector(STATE.format("unknown"))
        expect(page.locator(".result h2")).to_have_text(say("uk", "The acquirer gave no answer"))
        assert page.locator("#payment button").count() == 0
    finally:
        acquirer.send_signal(signal.SIGCONT)
    page.wait_for_selector(STATE.format("settled"), timeout=20_000)
    assert [attempt["state"] for attempt in site.payment(page)["attempts"]] == ["approved"]


def test_a_wire_that_breaks_while_charging_leaves_the_money_right(site: Site) -> None:
    site.speak("olga", "hu")
    with Wire(site.desk.stack.panel_port) as wire:
        page = site.page("olga", wire.url)
        start(page, "21.00", "INV-7021")
        key_card(site, page, SLOW)
        wire.deafen()
        page.click("#charge")  # it arrives; the answer never does
        payment_id = page.locator("#payment").get_attribute("data-payment")
        site.desk.payment(str(payment_id), lambda p: bool(p["attempts"]))
        wire.cut()
        expect(page.locator("#connection .when-stale")).to_have_text(
            say("hu", "Not up to date – reconnecting…")
        )
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


def _call_by_button(page: Page) -> None:
    """A test call; once more where a busy machine's lines or phones were not quick enough, as the page then says."""
    for _ in range(3):
        page.click("#test-call")
        answer = page.locator("#front-call.connected, .test-call [data-error]:not([hidden])")
        answer.first.wait_for(timeout=30_000)
        if page.locator("#front-call.connected").count():
            return


def test_four_operators_in_four_languages_take_a_call_each_at_the_same_time(site: Site) -> None:
    for language in LANGUAGES:
        site.add(f"desk-{language}", "operator", language)
    pages = {language: site.page(f"desk-{language}") for language in LANGUAGES}
    # Each another amount: the scripted callers all have the same cards, and would be asked about as duplicates.
    amounts = {"en": "49.90", "ru": "59,90", "uk": "69,90", "hu": "79,90"}
    for language, page in pages.items():
        _call_by_button(page)
        expect(page.locator("#front-call.connected"), language).to_be_visible()
        start(page, amounts[language], f"INV-{language}")
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
    site.speak("sven", "uk")
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
        story.index(say("uk", words))
        for words in (
            "Payment started",
            "The bank declined",
            "The bank approved",
            "Settled",
            "Partly refunded",
        )
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
