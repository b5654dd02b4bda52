"""Whose a call is and what is done with it, on the real stack at four seats: recording, link codes, test calls."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.seats import Seat, Site, come_in, start
from tests.browser.stage import say, say_decline


def test_a_recording_is_paused_and_goes_on_by_a_key(seats: list[Seat]) -> None:
    come_in(seats)
    for state, words in (("on", "Recording"), ("paused", "Recording paused"), ("on", "Recording")):
        for seat in seats:
            shown = seat.page.locator(f"#recording.{state} .recording-state")
            expect(shown).to_have_text(say(seat.language, words))
            assert seat.site.desk.get(f"/calls/{seat.call_id()}")["recording"] == state
            seat.page.keyboard.press("F3")


def test_a_call_from_a_queue_comes_to_the_screen_whose_code_is_keyed(site: Site, seats: list[Seat]) -> None:
    before = site.phone.calls
    for count, seat in enumerate(seats, before + 1):
        seat.dials(operator="")
        site.phone.answered(count)
    for seat in seats:
        expect(seat.page.locator(".call-item.connected")).to_have_count(len(seats))
        expect(seat.page.locator("#link-code")).to_have_text(say(seat.language, "Show a link code"))
        seat.page.click("#link-code")
        expect(seat.page.locator("#link-code-shown")).to_have_text(re.compile(r"^\d{4}$"))
        expect(seat.page.locator("[data-filled] .countdown")).to_have_text(re.compile(r"^0:[0-5]\d$|^1:00$"))
    for count, seat in enumerate(seats, before + 1):
        code = seat.page.locator("#link-code-shown").inner_text()
        site.phone.key(f"*9{code}", site.phone.answered(count))
    for seat in seats:
        expect(seat.page.locator("h1.caller")).to_have_text(seat.number)
        expect(seat.page.locator("#link-code-shown")).to_be_hidden()
        expect(seat.page.locator(".call-item")).to_have_count(1)


def _call_by_button(page: Page) -> None:
    """A test call; once more where a busy machine's lines or phones were not quick enough, as the page then says."""
    for _ in range(3):
        page.click("#test-call")
        answer = page.locator("#front-call.connected, .test-call [data-error]:not([hidden])")
        answer.first.wait_for(timeout=60_000)
        if page.locator("#front-call.connected").count():
            return


def _card_of(page: Page) -> int:
    """Wait for all fields, and give which card it is; the caller takes the next, good one if all are asked for again.

    This caller's tones are sound: a busy machine tears them. Then a field is not accepted, as the page says.
    """
    for card in (1, 2, 3):
        page.locator("#charge, .field-error").first.wait_for(timeout=90_000)
        if page.locator("#charge").count():
            return card
        page.keyboard.press("F8")
        expect(page.locator(".field-error")).to_have_count(0)
    raise AssertionError("no card was keyed well")


def test_a_scripted_caller_rings_each_of_four_operators(seats: list[Seat]) -> None:
    for seat in seats:
        _call_by_button(seat.page)
        expect(seat.page.locator("#front-call .tag").last).to_have_text(say(seat.language, "Test call"))
        start([seat])
    cards = {}
    for seat in seats:
        cards[seat.language] = _card_of(seat.page)
        seat.page.keyboard.press("F2")
    for seat in seats:
        seat.shows("declined" if cards[seat.language] == 1 else "settled")
        if cards[seat.language] == 1:
            expect(seat.page.locator(".say")).to_contain_text(say_decline(seat.language, "51").say)
        seat.page.click("#hang-up")
        dialog = seat.page.locator("#hang-up-dialog")
        expect(dialog.locator("h2")).to_have_text(say(seat.language, "Hang up?"))
        dialog.locator("[value=yes]").click()
    for seat in seats:
        expect(seat.page.locator(".line.is-ended")).to_be_visible()
        expect(seat.page.locator(".call-sub")).to_contain_text(say(seat.language, "Ended from the panel"))
