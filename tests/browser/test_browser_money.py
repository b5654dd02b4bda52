"""Settle, void and refund on the real stack, by role and within limits; the acquirer's ledger is the judge.

An operator takes and a supervisor gives back, both in each of the four languages, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from gateway_adapters.sandbox.ledger import Authorization, Ledger
from paycall.panel.languages import sum_money
from tests.browser.seats import NUMBER, Seat, Site, charge, come_in, four_seats, key_card, open_site, start
from tests.browser.stage import GOOD, STATE, plain, say, shown_money

SETTINGS = """
settlement = "manual"
[panel.settle_limits_minor]
operator = { EUR = 3000 }
[panel.void_limits_minor]
operator = 3000
[panel.refund_limits_minor]
supervisor = 1500
"""
TOO_MUCH = "This is more money than your role may move. Ask somebody who may."
LIMIT = "Your limit for one payment: %(amount)s"


@pytest.fixture(scope="module")
def hand(chromium: Browser) -> Iterator[Site]:
    """A site that settles by hand, and waits for a field's first key as long as an operator would."""
    with open_site(chromium, SETTINGS, first_key_s=10) as running:
        yield running


@pytest.fixture
def seats(hand: Site) -> Iterator[list[Seat]]:
    """Four operators at it."""
    with four_seats(hand) as four:
        yield four


def _booked(seat: Seat) -> Authorization:
    """The acquirer's own record of the one authorization of this amount."""
    [path] = (seat.site.desk.stack.var / "sandbox").glob("*.sqlite3")
    ledger = Ledger(path)
    try:
        [found] = [row for row in ledger.authorizations() if row.amount_minor == seat.amount_minor]
    finally:
        ledger.close()
    return found


def _approved(seats: list[Seat], least_minor: int) -> None:
    """Every operator has a payment approved, of another amount each."""
    for seat in seats:
        seat.amount_minor += least_minor
    come_in(seats)
    start(seats)
    key_card(seats, GOOD)
    charge(seats, "approved")


def _boss(seat: Seat) -> Page:
    """The supervisor, with the seat's call in front."""
    page = seat.site.board("supervisor", seat.language)
    page.click(f'[data-call="{seat.call_id()}"]')
    return page


def _enter(page: Page, kind: str, amount: str) -> None:
    page.fill(f"#{kind}-dialog [name=amount]", amount)
    page.press(f"#{kind}-dialog [name=amount]", "Enter")


def _refused(page: Page, kind: str, text: str) -> None:
    expect(page.locator(f"#{kind}-dialog [data-error]")).to_have_text(text)
    expect(page.locator(f"#{kind}-dialog button[data-close]")).to_be_enabled()


def test_a_part_is_settled_within_the_roles_limit_and_refunded_within_the_others(seats: list[Seat]) -> None:
    _approved(seats, 50_00)
    for seat in seats:
        page, too_much = seat.page, say(seat.language, TOO_MUCH)
        # The dialog comes with the most that the role may; more is refused, and so is what is no amount.
        page.keyboard.press("F2")
        expect(page.locator("#settle-dialog h2")).to_have_text(say(seat.language, "Settle"))
        expect(page.locator("#settle-dialog [name=amount]")).to_have_value("30.00")
        limit = say(seat.language, LIMIT, amount=shown_money(30_00, seat.language))
        expect(page.locator("#settle-dialog [data-limit]")).to_have_text(limit)
        _enter(page, "settle", seat.typed(30_01))
        _refused(page, "settle", too_much)
        _enter(page, "settle", "20,505")
        _refused(page, "settle", say(seat.language, "This is not an amount in this currency."))
        assert _booked(seat).settled_minor == 0
        _enter(page, "settle", seat.typed(20_50))
    for seat in seats:
        seat.shows("settled")
        taken = shown_money(20_50, seat.language)
        words = say(seat.language, "%(taken)s of %(amount)s taken", taken=taken, amount=seat.amount)
        expect(seat.page.locator(".result h2")).to_have_text(words)
        expect(seat.page.locator(".say")).to_contain_text(taken)
        assert seat.page.locator("#refund").count() == 0, "an operator does not refund"
        row = _booked(seat)
        assert (row.state, row.settled_minor, row.refunded_minor) == ("approved", 20_50, 0)
    for seat in seats:
        # The supervisor gives back in parts: what was taken, not what was approved; the limit is of the payment.
        boss, too_much = _boss(seat), say(seat.language, TOO_MUCH)
        boss.click("#refund")
        expect(boss.locator("#refund-dialog [name=amount]")).to_have_value("15.00")
        _enter(boss, "refund", seat.typed(15_01))
        _refused(boss, "refund", too_much)
        _enter(boss, "refund", "10")
        boss.wait_for_selector(STATE.format("partly_refunded"))
        expect(boss.locator(".result .who")).to_contain_text(shown_money(10_00, seat.language))
        boss.click("#refund")
        expect(boss.locator("#refund-dialog [name=amount]")).to_have_value("5.00")
        _enter(boss, "refund", seat.typed(5_01))
        _refused(boss, "refund", too_much)
        _enter(boss, "refund", "5")
        refunded = say(seat.language, "refunded %(amount)s", amount=shown_money(15_00, seat.language))
        expect(boss.locator(".result .who")).to_contain_text(refunded)
        row = _booked(seat)
        assert (row.settled_minor, row.refunded_minor) == (20_50, 15_00)


def test_an_approval_is_voided_after_a_second_word_by_who_may(seats: list[Seat]) -> None:
    _approved(seats, 30_05)
    for seat in seats:
        # Above the operator's limit it is said so, and there is no button.
        hint = seat.page.locator(".over-limit", has_text=say(seat.language, "Void…"))
        expect(hint).to_contain_text(say(seat.language, LIMIT, amount=shown_money(30_00, seat.language)))
        expect(hint).to_contain_text(say(seat.language, "Ask somebody who may move more."))
        assert seat.page.locator("#void").count() == 0
        boss = _boss(seat)
        boss.click("#void")
        expect(boss.locator("#void-dialog h2")).to_have_text(say(seat.language, "Void the payment?"))
        expect(boss.locator("#void-dialog [data-amount]")).to_have_text(seat.amount)
        boss.click("#void-dialog [value=no]")
        assert _booked(seat).state == "approved"
        boss.click("#void")
        boss.click("#void-dialog [value=yes]")
    for seat in seats:
        seat.shows("voided")
        expect(seat.page.locator(".result h2")).to_have_text(say(seat.language, "Voided"))
        row = _booked(seat)
        assert (row.state, row.settled_minor) == ("voided", 0)


def test_the_whole_is_settled_and_the_whole_refunded(seats: list[Seat]) -> None:
    for seat in seats:  # within everybody's limits, and each another amount
        seat.amount_minor = 11_90 + seat.amount_minor // 1_000
    _approved(seats, 0)
    for seat in seats:
        seat.page.keyboard.press("F2")
        seat.page.wait_for_selector("#settle-dialog[open]")
        seat.page.keyboard.press("Enter")
    for seat in seats:
        seat.shows("settled")
        row = _booked(seat)
        assert (row.settled_minor, row.refunded_minor) == (seat.amount_minor, 0)
        boss = _boss(seat)
        boss.click("#refund")
        hint = say(seat.language, "The money goes back to the card that was charged.")
        expect(boss.locator("#refund-dialog [data-hint]")).to_have_text(hint)
        boss.press("#refund-dialog [name=amount]", "Enter")
        boss.wait_for_selector(STATE.format("refunded"))
        row = _booked(seat)
        assert (row.settled_minor, row.refunded_minor) == (seat.amount_minor, seat.amount_minor)
        _in_the_days_sums(seat, boss)


def _in_the_days_sums(seat: Seat, boss: Page) -> None:
    """The day's sums are what was taken and not given back, whoever took it."""
    payments = seat.site.desk.get("/payments?limit=500")["payments"]
    kept = [
        p["amount_minor"] if p["state"] == "approved" else p["settled_minor"] - p["refunded_minor"]
        for p in payments
    ]
    boss.goto(f"{seat.site.desk.stack.panel_url}/reports")
    figures = [plain(text) for text in boss.locator(".figure b").all_inner_texts()]
    assert figures[0] == str(len(payments))
    assert figures[1:] in ([], [plain(sum_money(sum(kept), "EUR", seat.language))])
    assert bool(figures[1:]) == any(kept)


def test_no_key_in_time_is_said_and_the_callers_language_is_not_asked_for_where_it_is_the_sites(
    seats: list[Seat],
) -> None:
    come_in(seats)
    start(seats, _is_not_asked_for_a_language)
    for seat in seats:
        late = say(seat.language, "No key came in time. Ask the caller to start this field again.")
        expect(seat.page.locator(f"{NUMBER} .field-error")).to_contain_text(late)
    key_card(seats, GOOD)  # the field goes on by itself
    charge(seats, "approved")


def _is_not_asked_for_a_language(_: Seat, dialog: Locator) -> None:
    expect(dialog.locator("[name=amount]")).to_have_count(1)
    expect(dialog.locator("[name=caller_language]")).to_have_count(0)
