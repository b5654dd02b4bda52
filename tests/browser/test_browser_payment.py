"""What is in the way of a payment: a second call, wrong keys, a redraw under one's hands, a panel that restarts.

On the real stack at four seats side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Locator, Page, expect

from paycall.domain.fields import Field
from paycall.media.prompts import Language, PromptLibrary
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
    sign_in,
    start,
)
from tests.browser.stage import GOOD, STATE, say, say_many
from tests.phones.site import until
from tests.phones.sounds import share_found

MASTERCARD = "5555555555554444"  # the site takes none
# The caller's language is hardly ever the operator's.
OTHER: dict[str, Language] = {"en": "hu", "ru": "en", "uk": "ru", "hu": "uk"}
FIRST_CALL, SECOND_CALL = "Kiss Éva", "Nagy Áron"


def test_a_second_call_waits_behind_a_payment_and_nothing_is_lost_when_it_comes_to_the_front(
    site: Site, seats: list[Seat]
) -> None:
    auditors = {language: site.board("auditor", language) for language in LANGUAGES}
    come_in(seats)
    first_calls = [seat.call_id() for seat in seats]
    start(seats, _choose_language)
    _seconds_call(seats)
    for seat in seats:
        seat.page.wait_for_selector(f"{NUMBER}.collecting")
        _is_asked_in(seat, OTHER[seat.language])
    _wrong_keys_in_words(seats)
    _auditors_watch(seats, auditors)
    charge(seats, "settled")
    _first_call_ends_under_the_dialog(seats, first_calls)
    _a_click_that_a_redraw_comes_into(seats)
    _the_same_card_again(seats)


def _choose_language(seat: Seat, dialog: Locator) -> None:
    dialog.locator("[name=caller_language]").select_option(OTHER[seat.language])


def _is_asked_in(seat: Seat, language: Language) -> None:
    """The caller hears the sentence in this language."""
    assert seat.caller is not None
    sentence = PromptLibrary(None).sound(language, Field.CARD_NUMBER)[:16_000]
    until(lambda: share_found(seat.caller.heard(), sentence) > 0.5, what=f"sentence in {language}")  # type: ignore[union-attr]


def _seconds_call(seats: Sequence[Seat]) -> None:
    """Each operator's second caller is on the list, no other operator's, and not in front of the payment."""
    for seat in seats:
        first, seat.number = (seat.number, seat.caller), seat.number.replace("+3630", "+3670")
        seat.dials()
        seat.number, seat.caller = first
    for seat in seats:
        expect(seat.page.locator(".call-item.connected")).to_have_count(2)
    for seat in seats:
        expect(seat.page.locator(".call-item")).to_have_count(2)
        expect(seat.page.locator("h1.caller")).to_have_text(seat.number)


def _wrong_keys_in_words(seats: Sequence[Seat]) -> None:
    left = "%(num)s try left.", "%(num)s tries left."
    for seat in seats:
        seat.key(f"{MASTERCARD}#")
    for seat in seats:
        no_such = say(seat.language, "This kind of card is not accepted. Ask for another card.")
        words = f"{no_such} {say_many(seat.language, *left, 2)}"
        expect(seat.page.locator(f"{NUMBER} .field-error")).to_have_text(words)
    key(seats, NUMBER, f"{GOOD}#")
    for seat in seats:
        seat.page.wait_for_selector(f"{EXPIRY}.collecting")
        seat.key("0120")
    for seat in seats:
        over = say(seat.language, "The date is not right or is over. Ask for month and year, four digits.")
        words = f"{over} {say_many(seat.language, *left, 2)}"
        expect(seat.page.locator(f"{EXPIRY} .field-error")).to_have_text(words)
    key(seats, EXPIRY, "1230")
    for seat in seats:
        seat.page.wait_for_selector(f"{CODE}.collecting")
        seat.key("1")


def _auditors_watch(seats: Sequence[Seat], auditors: dict[str, Page]) -> None:
    """An auditor sees every call, live, and has nothing to press."""
    for seat in seats:
        auditor = auditors[seat.language]
        expect(auditor.locator(".call-item")).to_have_count(2 * len(seats))
        auditor.click(f'[data-call="{seat.call_id()}"]')
        auditor.wait_for_selector(STATE.format("capturing"))
        expect(auditor.locator(".field.stored")).to_have_count(2)
        expect(auditor.locator(f"{CODE} field-dots i.on")).to_have_count(1)
        assert auditor.locator("#board button, #link-code").count() == 0
    _no_dot_is_taken_away(auditors[seats[0].language], seats[0], seats[1])
    for seat in seats:
        seat.key("3" if seat in seats[:2] else "23")


def _no_dot_is_taken_away(auditor: Page, seat: Seat, other: Seat) -> None:
    """Keys of this call and of another one, between the moment a part is rendered and the one it is put in place."""
    with _redrawn_under_a_press(auditor.locator(f'[data-call="{seat.call_id()}"]'), seat, FIRST_CALL):
        for each in (seat, other):
            each.key("2")
            expect(each.page.locator(f"{CODE} field-dots i.on")).to_have_count(2)
        auditor.mouse.move(1, 1)  # it was no click after all
    expect(auditor.locator("h1.caller")).to_have_text(FIRST_CALL)
    expect(auditor.locator(f"{CODE} field-dots i.on")).to_have_count(2)


def _first_call_ends_under_the_dialog(seats: Sequence[Seat], first_calls: Sequence[str]) -> None:
    """Who was about to take another payment of that caller's is not left with a dialog for a call that is over."""
    for seat in seats:
        seat.page.keyboard.press("F2")
        expect(seat.page.locator("#payment-dialog")).to_be_visible()
    for call_id in first_calls:
        seats[0].site.desk.post(f"/calls/{call_id}/hang-up")
    for seat in seats:
        seat.number = seat.number.replace("+3630", "+3670")
        expect(seat.page.locator("#front-call.connected h1.caller")).to_have_text(seat.number)
        expect(seat.page.locator(".call-item")).to_have_count(1)
        expect(seat.page.locator("#payment-dialog")).to_be_hidden()
    # Closing order: the last callers who dialled are those that are left.
    callers = seats[0].site.callers[-len(seats) :]
    for seat, caller in zip(seats, callers, strict=True):
        seat.caller = caller


def _a_click_that_a_redraw_comes_into(seats: Sequence[Seat]) -> None:
    """The mouse goes down on a button, the parts come anew, the mouse goes up: that was a click."""
    for seat in seats:
        with _redrawn_under_a_press(seat.page.locator("#start-payment"), seat, SECOND_CALL):
            pass
        expect(seat.page.locator("#payment-dialog")).to_be_visible()
        expect(seat.page.locator("h1.caller")).to_have_text(SECOND_CALL)  # not longer than the press
        seat.page.keyboard.press("Escape")


@contextmanager
def _redrawn_under_a_press(place: Locator, seat: Seat, name: str) -> Iterator[None]:
    """The mouse is down on a place of the board while the panel renders that the seat's caller has this name."""
    page, box = place.page, place.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    with page.expect_response("**/fragments/board*") as redrawn:
        answer = seat.site.desk.http.put(f"/calls/{seat.call_id()}/customer", json={"name": name, "note": ""})
        assert answer.is_success
    redrawn.value.finished()
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    yield
    page.mouse.up()


def _the_same_card_again(seats: Sequence[Seat]) -> None:
    """A card that was charged this amount a moment ago is charged only on a second word."""
    start(seats)
    key_card(seats, GOOD)
    for seat in seats:
        seat.page.wait_for_selector("#charge")
        seat.page.keyboard.press("F2")
        dialog = seat.page.locator("#duplicate-dialog[open]")
        expect(dialog.locator("h2")).to_have_text(say(seat.language, "Charge once more?"))
        seat.page.keyboard.press("Enter")  # back
        seat.shows("ready")
        assert seat.payment()["attempts"] == []
        seat.page.keyboard.press("F2")
        dialog.locator("[value=yes]").click()
    for seat in seats:
        seat.shows("settled")
        assert [attempt["state"] for attempt in seat.payment()["attempts"]] == ["approved"]


def test_the_panel_restarts_under_a_capture_and_who_was_locked_meanwhile_is_led_out(
    site: Site, seats: list[Seat]
) -> None:
    auditors = {language: site.board("auditor", language) for language in LANGUAGES}
    come_in(seats)
    start(seats)
    key(seats, NUMBER, f"{GOOD}#")
    for seat in seats:
        seat.page.wait_for_selector(f"{EXPIRY}.collecting")
        site.change(f"auditor-{seat.language}", locked=True)
    site.desk.kill(site.desk.process("panel"))
    for seat in seats:
        seat.key("12")  # the panel is away; the line is masked and the cell takes it
        seat.page.wait_for_selector("#stale:not([hidden])")
    site.desk.reconnect()
    for seat in seats:
        seat.page.wait_for_selector("#connection[data-state=live]")
        expect(seat.page.locator("#stale")).to_be_hidden()
        expect(seat.page.locator(f"{NUMBER}.stored field-dots")).to_have_attribute("aria-label", "•••• 4242")
        expect(seat.page.locator(".line.is-masked")).to_be_visible()
        expect(seat.page.locator(f"{EXPIRY}.collecting field-dots i.on")).to_have_count(2)
        seat.key("30")
    key(seats, CODE, "123")
    charge(seats, "settled")
    for seat in seats:
        assert [attempt["state"] for attempt in seat.payment()["attempts"]] == ["approved"]
        auditor = auditors[seat.language]
        # Who was already being led out when the panel was killed has the browser's own page now, which asks again by
        # itself where somebody looks at it, but not here.
        if auditor.url.startswith("chrome-error:"):
            auditor.reload()
        auditor.wait_for_url("**/sign-in**")
        expect(auditor.locator("button.primary")).to_have_text(say(seat.language, "Sign in"))
        site.change(f"auditor-{seat.language}", locked=False)
        sign_in(auditor, f"auditor-{seat.language}")
