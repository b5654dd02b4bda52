"""Settle, void and refund on the real stack, by role and within limits; the acquirer's ledger is the judge."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway_adapters.sandbox.ledger import Authorization, Ledger
from paycall.panel.languages import money
from tests.browser.stage import GOOD, STATE, Site, key_card, say, start
from tests.phones.desk import desk
from tests.phones.scripted import phones

SETTINGS = """
settlement = "manual"
[panel.settle_limits_minor]
operator = { EUR = 3000 }
[panel.void_limits_minor]
operator = 3000
[panel.refund_limits_minor]
supervisor = 1500
"""


@pytest.fixture(scope="module")
def site(chromium: Browser) -> Iterator[Site]:
    """A site that settles by hand: an operator who reads Hungarian, a supervisor who reads Ukrainian."""
    with desk(cells=1, extra=SETTINGS) as seat, phones(seat.stack) as both:
        made = Site(seat, both, chromium)
        made.add("ilona", "operator", "hu", agent_uri=f"sip:operator@127.0.0.1:{seat.stack.agent_port}")
        made.add("oksana", "supervisor", "uk")
        made.call()
        yield made
        for context in made.contexts:
            context.close()
        assert made.complaints == []


def _booked(site: Site, amount_minor: int) -> Authorization:
    """The acquirer's own record of the one authorization of this amount."""
    [path] = (site.desk.stack.var / "sandbox").glob("*.sqlite3")
    ledger = Ledger(path)
    try:
        [found] = [row for row in ledger.authorizations() if row.amount_minor == amount_minor]
    finally:
        ledger.close()
    return found


def _approved(site: Site, page: Page, amount: str) -> None:
    start(page, amount)
    key_card(site, page, GOOD)
    page.keyboard.press("F2")
    page.wait_for_selector(STATE.format("approved"))


def _enter(page: Page, kind: str, amount: str) -> None:
    page.fill(f"#{kind}-dialog [name=amount]", amount)
    page.press(f"#{kind}-dialog [name=amount]", "Enter")


def _refused(page: Page, kind: str, text: str) -> None:
    expect(page.locator(f"#{kind}-dialog [data-error]")).to_have_text(text)
    expect(page.locator(f"#{kind}-dialog button[data-close]")).to_be_enabled()


def _spaces(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def test_a_part_is_settled_within_the_roles_limit_and_refunded_within_the_others(site: Site) -> None:
    page = site.page("ilona")
    _approved(site, page, "50,00")
    # More than the role may, more than there is, then a part; the dialog came with the whole amount.
    page.keyboard.press("F2")
    expect(page.locator("#settle-dialog [name=amount]")).to_have_value("50.00")
    page.keyboard.press("Enter")
    too_much = say("hu", "This is more money than your role may move. Ask somebody who may.")
    _refused(page, "settle", too_much)
    _enter(page, "settle", "20,505")
    _refused(page, "settle", say("hu", "This is not an amount in this currency."))
    assert _booked(site, 5000).settled_minor == 0
    _enter(page, "settle", "20,50")
    page.wait_for_selector(STATE.format("settled"))
    taken, whole = money(2050, "EUR", "hu"), money(5000, "EUR", "hu")
    headline = say("hu", "%(taken)s of %(amount)s taken") % {"taken": taken, "amount": whole}
    expect(page.locator(".result h2")).to_have_text(_spaces(headline))
    expect(page.locator(".say")).to_contain_text(_spaces(taken))
    assert page.locator("#refund").count() == 0, "an operator does not refund"
    row = _booked(site, 5000)
    assert (row.state, row.settled_minor, row.refunded_minor) == ("approved", 2050, 0)
    # The supervisor gives back in parts: what was taken, not what was approved; the limit is of the payment.
    boss = site.page("oksana")
    boss.click(".call-item")
    boss.click("#refund")
    expect(boss.locator("#refund-dialog [name=amount]")).to_have_value("20.50")
    too_much = say("uk", "This is more money than your role may move. Ask somebody who may.")
    _enter(boss, "refund", "15,01")
    _refused(boss, "refund", too_much)
    _enter(boss, "refund", "10")
    boss.wait_for_selector(STATE.format("partly_refunded"))
    expect(boss.locator(".result .who")).to_contain_text(_spaces(money(1000, "EUR", "uk")))
    boss.click("#refund")
    _enter(boss, "refund", "5,01")
    _refused(boss, "refund", too_much)
    _enter(boss, "refund", "5")
    expect(boss.locator(".result .who")).to_contain_text(_spaces(money(1500, "EUR", "uk")))
    row = _booked(site, 5000)
    assert (row.settled_minor, row.refunded_minor) == (2050, 1500)


def test_an_approval_is_voided_after_a_second_word(site: Site) -> None:
    page = site.page("ilona")
    _approved(site, page, "31,00")
    page.click("#void")
    expect(page.locator("#void-dialog [data-amount]")).to_have_text(_spaces(money(3100, "EUR", "hu")))
    page.click("#void-dialog [value=no]")
    assert _booked(site, 3100).state == "approved"
    page.click("#void")
    page.click("#void-dialog [value=yes]")
    error = say("hu", "This is more money than your role may move. Ask somebody who may.")
    expect(page.locator("form:has(#void) [data-error]")).to_have_text(error)
    boss = site.page("oksana")
    boss.click(".call-item")
    boss.click("#void")
    expect(boss.locator("#void-dialog h2")).to_have_text(say("uk", "Void the payment?"))
    boss.click("#void-dialog [value=yes]")
    page.wait_for_selector(STATE.format("voided"))
    row = _booked(site, 3100)
    assert (row.state, row.settled_minor) == ("voided", 0)


def test_the_whole_is_settled_and_the_whole_refunded(site: Site) -> None:
    page = site.page("ilona")
    _approved(site, page, "12,34")
    page.keyboard.press("F2")
    page.wait_for_selector("#settle-dialog[open]")
    page.keyboard.press("Enter")
    page.wait_for_selector(STATE.format("settled"))
    row = _booked(site, 1234)
    assert (row.settled_minor, row.refunded_minor) == (1234, 0)
    boss = site.page("oksana")
    boss.click(".call-item")
    boss.click("#refund")
    boss.press("#refund-dialog [name=amount]", "Enter")
    boss.wait_for_selector(STATE.format("refunded"))
    row = _booked(site, 1234)
    assert (row.settled_minor, row.refunded_minor) == (1234, 1234)
    # All of it on the payment's own page, and in the day's sums: what was taken and not given back.
    boss.goto(f"{site.desk.stack.panel_url}/history")
    expect(boss.locator("tbody tr")).to_have_count(3)
    boss.goto(f"{site.desk.stack.panel_url}/reports")
    figures = [_spaces(text) for text in boss.locator(".figure b").all_inner_texts()]
    assert figures == ["3", _spaces(money(2050 - 1500, "EUR", "uk"))]
    expect(boss.locator(".figure span").last).to_have_text(re.compile(r"\b1\b"))
