"""The operator's day in a browser, on the real stack: calls by SIP and RTP, keys, the acquirer's simulator.

Which test tells which story of the panel. S: the whole stack with scripted calls, four operators side by side, one in
each language. P: the real panel alone with a small cell and vault, for what would take minutes to wait for.

===========================================================  ==========================================  ====
the call in front: number, name, past, what is remembered    stories: from_the_screen_pop                S
one key starts; no amount, a card number in words            steps: what_is_no_amount                    S
a second call, another's call, the caller's language         payment: a_second_call                      S
dots, brand, last four, what is wrong, seconds, minutes      stories: from_the_screen_pop                S
what else can be wrong with a field (no key in time: P)      payment: a_second_call, no_key_in_time      S, P
a field again, one dropped, all; the line opened, masked     steps: fields_are_taken_again               S
approved; the code again; another card                       stories: from_the_screen_pop                S
declined: expiry, number, other card, the bank, stop         steps: after_a_decline                      S
unknown, live; asked now, set aside, warned of, kept late    stories: an_acquirer; unknown               S
same card and amount; a kept card charged and forgotten      payment: a_second_call; steps: a_kept_card  S
settle, void, refund: amounts, second word, roles, limits    money                                       S
history: search, filter, time line, CSV; sums and charts     stories: from_the_screen_pop; money         S
a supervisor watches; an auditor has no buttons              stories: from_the_screen_pop; payment       S
the connection is lost, for half a minute or in a charge     stories: from_the_screen_pop, a_wire        S
the panel restarts; the session ends elsewhere               payment: the_panel_restarts                 S
recording paused; ``*9`` and a link code; a test call        calls                                       S
a call dialled, paid in, handed on in the PBX; busy          phone                                       S
people: invitation, password, roles, lock                    people                                      S
passkey, one-time codes, lock-out, idle, OpenID Connect      sign_in; oidc with a foreign provider       S
``/embed`` in a CRM's frame; API keys, webhooks              people                                      S
every page: axe-core, 1366x768, 400 px, attacks              pages, attacks                              S
===========================================================  ==========================================  ====
"""

from __future__ import annotations

import csv
import io
import re
import signal
import time
from collections.abc import Sequence

from playwright.sync_api import Locator, Page, expect

from paycall.panel.languages import LANGUAGES
from tests.browser.seats import (
    CODE,
    EXPIRY,
    NUMBER,
    Seat,
    Site,
    charge,
    come_in,
    key,
    key_card,
    start,
    wait_until,
)
from tests.browser.stage import (
    GOOD,
    SLOW,
    STATE,
    WRONG_CODE,
    plain,
    say,
    say_decline,
    say_many,
    shown_money,
)
from tests.browser.wire import Wire
from tests.phones.site import until

AWAY_S = 30.0
STALE = (
    "The panel cannot be reached. What you see may be old; the call and the masked line go on. "
    "Do not ask the caller for the card aloud."
)
DESCRIPTION = "Paket M"
# How many digits short the card number is that is keyed first: each language's plural forms are met.
SHORT = {"en": 1, "ru": 2, "uk": 4, "hu": 1}


def _dots(page: Page, count: int) -> None:
    expect(page.locator(f"{NUMBER} field-dots i.on")).to_have_count(count)


def test_from_the_screen_pop_to_the_history_while_a_supervisor_is_away(site: Site, seats: list[Seat]) -> None:
    bosses = {language: site.board("supervisor", language) for language in LANGUAGES}
    there = bosses["en"]
    with Wire(site.desk.stack.panel_port) as wire:
        away = site.beside(there, wire.url)
        there.reload()  # both are told everything from here on
        away.reload()
        for page in (there, away):
            page.wait_for_selector("#connection[data-state=live]")
        wire.cut()
        cut_at = time.monotonic()
        away.wait_for_selector("#stale:not([hidden])")
        _calls_come(seats)
        _numbers_are_short(seats, bosses)
        _fields_are_taken(seats)
        _declined_twice_then_another_card(seats)
        wait_until(cut_at + AWAY_S)
        expect(away.locator("#connection")).to_have_attribute("data-state", "stale")
        wire.mend()
        expect(away.locator("#connection")).to_have_attribute("data-state", "live")
        # The true state, and every event once, in order, as one who was there all the time was told them.
        away.click(f'[data-call="{seats[0].call_id()}"]')
        expect(away.locator(STATE.format("settled"))).to_be_visible()
        expect(away.locator(".code")).to_have_text(there.locator(".code").inner_text())
        until(lambda: away.evaluate("told") == there.evaluate("told"), what="same events")
        told = away.evaluate("told")
        assert len(told) > 240 and len(set(told)) == len(told)
        away.close()
    for seat in seats:
        _refund(seat, bosses[seat.language])
    _caller_comes_back(seats)
    for seat in seats:
        _history(seat, bosses[seat.language])


def _calls_come(seats: Sequence[Seat]) -> None:
    for seat in seats:
        expect(seat.page.locator(".nobody h1")).to_have_text(say(seat.language, "Ready for the next call"))
    come_in(seats)
    for seat in seats:
        expect(seat.page.locator("h1.caller")).to_have_text(seat.number)
        expect(seat.page.locator("#edit-customer")).to_have_text(
            say(seat.language, "Who is this? Write a name down")
        )
        seat.page.click("#edit-customer")
        seat.page.fill("#customer-dialog [name=name]", f"Kovács Béla {seat.language}")
        seat.page.fill("#customer-dialog [name=note]", "VIP")
        seat.page.press("#customer-dialog [name=name]", "Enter")
        expect(seat.page.locator("h1.caller")).to_have_text(f"Kovács Béla {seat.language}")
        expect(seat.page.locator(".customer-note")).to_have_text("VIP")
    start(seats, _describe)


def _describe(_: Seat, dialog: Locator) -> None:
    dialog.locator("[name=description]").fill(DESCRIPTION)


def _numbers_are_short(seats: Sequence[Seat], bosses: dict[str, Page]) -> None:
    for seat in seats:
        seat.key("42")
    for seat in seats:
        _dots(seat.page, 2)
        seat.key("4242")
    for seat in seats:
        boss = bosses[seat.language]
        _dots(seat.page, 6)
        expect(seat.page.locator(f"{NUMBER} .card-brand")).to_have_text("Visa")
        expect(seat.page.locator(f"{NUMBER} .countdown.keys")).to_have_text(re.compile(r"^\d?:?\d+"))
        # The supervisor sees the same, live, and has no digit either.
        expect(boss.locator(".call-item")).to_have_count(len(seats))
        item = boss.locator(f'[data-call="{seat.call_id()}"]')
        expect(item.locator(".call-who")).to_have_text(f"Kovács Béla {seat.language}")
        expect(item.locator(".call-operator")).to_have_text(seat.name)
        expect(item.locator(".tag.masked")).to_have_text(say(seat.language, "Masked"))
        item.click()
        _dots(boss, 6)
        seat.key(f"{GOOD[6 : 16 - SHORT[seat.language]]}#")
    for seat in seats:
        text = "The number is %(num)s {} short. Ask the caller to key it again."
        short = say_many(seat.language, text.format("digit"), text.format("digits"), SHORT[seat.language])
        left = say_many(seat.language, "%(num)s try left.", "%(num)s tries left.", 2)
        expect(seat.page.locator(f"{NUMBER} .field-error")).to_have_text(f"{short} {left}")


def _fields_are_taken(seats: Sequence[Seat]) -> None:
    key_card(seats, WRONG_CODE)
    for seat in seats:
        dots = seat.page.locator(f"{NUMBER} field-dots")
        expect(dots).to_have_attribute("aria-label", "•••• 0127")
        expect(seat.page.locator(f"{CODE} .countdown")).to_have_text(re.compile(r"^4:[0-5]\d$"))
        seat.page.click("#again-expiration-date")
    key(seats, EXPIRY, "0131")
    for seat in seats:
        expect(seat.page.locator(f"{EXPIRY} .shown")).to_have_text("01/31")
        expect(seat.page.locator("#charge")).to_contain_text(
            say(seat.language, "Charge %(amount)s", amount=seat.amount)
        )


def _declined_twice_then_another_card(seats: Sequence[Seat]) -> None:
    charge(seats, "declined")
    for seat in seats:
        _is_declined(seat, "N7")
        seat.page.click("#step-key_code_again")
    for seat in seats:
        expect(seat.page.locator(f"{NUMBER}.stored")).to_be_visible()
    key(seats, CODE, "321")
    charge(seats, "declined")
    for seat in seats:
        seat.page.click("#step-other_card")
        seat.page.wait_for_selector(f"{NUMBER}.collecting")
        _dots(seat.page, 0)
    key_card(seats, GOOD)
    charge(seats, "settled")
    for seat in seats:
        result = seat.page.locator(".result")
        approved = say(seat.language, "%(amount)s approved", amount=seat.amount)
        expect(result.locator("h2")).to_have_text(approved)
        thanks = say(
            seat.language, "“Thank you, the payment of %(amount)s went through.”", amount=seat.amount
        )
        expect(seat.page.locator(".say")).to_contain_text(thanks)
        expect(seat.page.locator(".code")).to_have_text(re.compile(r"^\w{6}$"))
        expect(seat.page.locator(".line.is-open")).to_be_visible()
        states = [attempt["state"] for attempt in seat.payment()["attempts"]]
        assert states == ["declined", "declined", "approved"]
        assert seat.page.locator("#refund").count() == 0, "an operator does not refund"
        assert GOOD not in seat.page.content()


def _is_declined(seat: Seat, code: str) -> None:
    """Why, by whom, and what to say, in the operator's language."""
    text = say_decline(seat.language, code)
    expect(seat.page.locator(".result h2")).to_have_text(text.happened)
    expect(seat.page.locator(".say")).to_contain_text(text.say)
    expect(seat.page.locator(".result .who")).to_contain_text(say(seat.language, "code %(code)s", code=code))


def _refund(seat: Seat, boss: Page) -> None:
    """By the role that may, within its limit."""
    boss.wait_for_selector(STATE.format("settled"))
    assert GOOD not in boss.content()
    boss.click("#refund")
    expect(boss.locator("#refund-dialog [name=amount]")).to_have_value("10.00")
    boss.fill("#refund-dialog [name=amount]", seat.typed(10_01))
    boss.click("#refund-dialog .danger-solid")
    expect(boss.locator("#refund-dialog [data-error]")).to_have_text(
        say(seat.language, "This is more money than your role may move. Ask somebody who may.")
    )
    boss.fill("#refund-dialog [name=amount]", seat.typed(4_99))
    boss.click("#refund-dialog .danger-solid")
    boss.wait_for_selector(STATE.format("partly_refunded"))
    refunded = say(seat.language, "refunded %(amount)s", amount=shown_money(4_99, seat.language))
    expect(boss.locator(".result .who")).to_contain_text(refunded)


def _caller_comes_back(seats: Sequence[Seat]) -> None:
    """Who called before has a name, a past, and what was paid for is remembered."""
    for seat in seats:
        seat.page.click("#hang-up")
        seat.page.click("#hang-up-dialog [value=yes]")
        expect(seat.page.locator(".line.is-ended")).to_be_visible()
    for seat in seats:
        seat.dials()
    for seat in seats:
        expect(seat.page.locator("#front-call.connected h1.caller")).to_have_text(
            f"Kovács Béla {seat.language}"
        )
        past = seat.page.locator(".past li")
        expect(past).to_have_count(1)
        expect(past.locator(".past-amount")).to_have_text(seat.amount)
        expect(past).to_contain_text(say(seat.language, "Partly refunded"))
        expect(past).to_contain_text("Visa ··4242")
        seat.page.keyboard.press("F2")
        dialog = seat.page.locator("#payment-dialog[open]")
        expect(dialog.locator("[name=reference]")).to_have_value(seat.reference)
        expect(dialog.locator("[name=description]")).to_have_value(DESCRIPTION)
        expect(dialog.locator("[name=currency]")).to_have_value("EUR")
        seat.page.keyboard.press("Escape")


def _history(seat: Seat, boss: Page) -> None:
    """Found by its reference, told on a time line, exported; and counted in the day's sums."""
    boss.goto(f"{seat.site.desk.stack.panel_url}/history")
    boss.fill("[name=q]", seat.reference)
    boss.press("[name=q]", "Enter")
    expect(boss.locator("tbody tr")).to_have_count(1)
    expect(boss.locator("tbody .state")).to_have_text(say(seat.language, "Partly refunded"))
    with boss.expect_download() as download:
        boss.click("a[download]")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    found = [(row["reference"], row["last4"], row["refunded"]) for row in rows]
    assert found == [(seat.reference, "4242", "4.99")]
    boss.click("tbody a")
    story = plain(boss.locator(".story").inner_text())
    words = ("Payment started", "The bank declined", "The bank approved", "Settled", "Partly refunded")
    places = [story.index(say(seat.language, text)) for text in words]
    assert places == sorted(places)
    assert story.count(say_decline(seat.language, "N7").happened) == 2
    history = f"{seat.site.desk.stack.panel_url}/history?q={seat.reference}"
    boss.goto(f"{history}&state=cancelled")
    expect(boss.locator(".empty")).to_have_text(say(seat.language, "Nothing was found."))
    boss.goto(f"{seat.site.desk.stack.panel_url}/history?kind=calls&q={seat.number[1:]}")
    expect(boss.locator("tbody tr")).to_have_count(2)
    _report(seat, boss)


def _report(seat: Seat, boss: Page) -> None:
    """The day's sums and charts are those of the payments that there are, whoever took them."""
    payments = seat.site.desk.get("/payments?limit=500")["payments"]
    boss.goto(f"{seat.site.desk.stack.panel_url}/reports")
    expect(boss.locator(".figure b").first).to_have_text(str(len(payments)))
    for state in {payment["state"] for payment in payments}:
        count = sum(payment["state"] == state for payment in payments)
        line = boss.locator(f"section:has(#outcomes) li:has(.bar.{state})")
        expect(line).to_contain_text(re.compile(rf"{count}\s*$"))
    declined = [a["decline"]["reason"] for p in payments for a in p["attempts"] if a["decline"]]
    expect(boss.locator("section:has(#reasons) li")).to_have_count(len(set(declined)))
    wrong_code = boss.locator("section:has(#reasons) li", has_text=say_decline(seat.language, "N7").happened)
    expect(wrong_code.locator(".bar-count")).to_have_text(str(declined.count("wrong_cvc")))


def test_an_acquirer_that_does_not_answer_is_seen_as_that_until_it_does(
    site: Site, seats: list[Seat]
) -> None:
    come_in(seats)
    start(seats)
    key_card(seats, GOOD)
    acquirer = site.desk.process("sandbox")
    acquirer.send_signal(signal.SIGSTOP)
    try:
        charge(seats, "unknown")
        for seat in seats:
            words = say(seat.language, "The acquirer gave no answer")
            expect(seat.page.locator(".result h2")).to_have_text(words)
            stay = "“The bank has not answered yet. You will not be charged twice; please stay a moment.”"
            expect(seat.page.locator(".say")).to_contain_text(say(seat.language, stay))
            # What is being done about it, live.
            tried = say_many(seat.language, "Tried %(num)s time so far.", "Tried %(num)s times so far.", 1)
            expect(seat.page.locator("#search")).to_contain_text(tried)
            buttons = seat.page.locator("#payment .steps button")
            assert {button.get_attribute("id") for button in buttons.all()} <= {
                "enquire",
                "set-aside",
                "open-line",
            }
    finally:
        acquirer.send_signal(signal.SIGCONT)
    for seat in seats:
        seat.shows("settled")
        assert [attempt["state"] for attempt in seat.payment()["attempts"]] == ["approved"]


def test_a_wire_that_breaks_while_charging_leaves_the_money_right(site: Site, seats: list[Seat]) -> None:
    with Wire(site.desk.stack.panel_port) as wire:
        for seat in seats:
            seat.page = site.beside(seat.page, wire.url)
        come_in(seats)
        start(seats)
        key_card(seats, SLOW)
        for seat in seats:
            seat.page.wait_for_selector("#charge")
        wire.deafen()
        for seat in seats:
            seat.page.click("#charge")  # it arrives; the answer never does
        for seat in seats:
            site.desk.payment(seat.payment_id(), lambda payment: bool(payment["attempts"]))
        wire.cut()
        for seat in seats:
            expect(seat.page.locator("#connection .when-stale")).to_have_text(
                say(seat.language, "Not up to date – reconnecting…")
            )
            expect(seat.page.locator("#stale")).to_have_text(say(seat.language, STALE))
            expect(seat.page.locator("body")).to_have_class(re.compile("is-stale"))
            site.desk.payment(seat.payment_id(), "settled")
        wire.mend()
        for seat in seats:
            seat.shows("settled")
            expect(seat.page.locator("#stale")).not_to_be_visible()
            assert len(seat.payment()["attempts"]) == 1
            seat.page.close()
