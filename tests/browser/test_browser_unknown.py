"""What an operator sees and can do while nobody knows what became of a charge; and the limit before it is met.

On the real stack: the acquirer's simulator is stopped, and goes on later.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.seats import VIEWPORT, Seat, Site, charge, come_in, key_card, start
from tests.browser.stage import GOOD, STATE, say, say_many, shown_money
from tests.phones.site import until

LIMIT = "Your limit for one payment: %(amount)s"
# The page looks again every five seconds; here every second, and counts how often.
_HURRY = """
const every = window.setInterval;
window.looked = 0;
window.setInterval = (look, ms) =>
  ms === 5000 ? every(() => { window.looked += 1; look(); }, 1000) : every(look, ms);
"""


def _assert_sound(page: Page) -> None:
    """Nothing that a screen reader, an eye or a small screen stumbles over."""
    found = Axe().run(page).response["violations"]
    assert found == [], [(one["id"], [node["html"][:90] for node in one["nodes"]]) for one in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@contextmanager
def _silent_acquirer(site: Site) -> Iterator[None]:
    """For less than six of the vault's rounds: then it takes back what it asked for (``acquirer_timeout_s``)."""
    acquirer = site.desk.process("sandbox")
    acquirer.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        acquirer.send_signal(signal.SIGCONT)


def test_ask_now_stop_waiting_be_warned_and_keep_what_comes_late_by_keyboard_alone(
    site: Site, seats: list[Seat]
) -> None:
    boss = site.board("supervisor", "en").context.new_page()
    boss.add_init_script(_HURRY)
    come_in(seats)
    start(seats)
    key_card(seats, GOOD)
    with _silent_acquirer(site):
        charge(seats, "unknown")
        late = [seat.payment_id() for seat in seats]
        _open_question(boss, f"{site.desk.stack.panel_url}/payments/{late[0]}")
        _asked_now(seats)
        _set_aside(seats)
        _is_swept(boss)
        _warned_of(seats)
        # Two take the other payment after all, and think better of it; two wait.
        for seat in seats[:2]:
            seat.page.locator("#payment-dialog [name=amount]").press("Enter")
            seat.page.click("#unknown-dialog[open] [value=yes]")
            seat.shows("capturing")
            expect(seat.page.locator("#payment-dialog")).to_be_hidden()
            seat.page.keyboard.press("F4")
            seat.page.click("#cancel-dialog[open] [value=yes]")
            seat.shows("cancelled")
        for seat in seats[2:]:
            seat.page.keyboard.press("Escape")
    # It is not closed here: of a page that just loads itself again Chromium may never say that it is closed.
    for payment_id in late:
        until(lambda payment_id=payment_id: _is_known(site, payment_id), what="late approval")
    for seat, payment_id in zip(seats, late, strict=True):
        _kept(seat, payment_id)


def _is_known(site: Site, payment_id: str) -> bool:
    """Ask again, as often as one may: the vault's own next question can be a minute away."""
    state = site.desk.get(f"/payments/{payment_id}")["state"]
    assert state in ("unknown", "approved"), "after six rounds it is taken back"
    if state == "approved":
        return True
    site.desk.http.post(f"/payments/{payment_id}/enquire")
    time.sleep(0.5)
    return False


def _open_question(boss: Page, url: str) -> None:
    """A page that looks again does not sweep a question away, and looks again when it is answered."""
    boss.goto(url)
    boss.click("#set-aside")
    boss.wait_for_selector("#set-aside-dialog[open]")
    until(lambda: boss.evaluate("looked") >= 2, what="second look")
    assert boss.locator("#set-aside-dialog[open]").count() == 1
    with boss.expect_navigation():
        boss.keyboard.press("Escape")


def _is_swept(boss: Page) -> None:
    """What the operator did is there by itself."""
    expect(boss.locator(".result h2")).to_have_text(
        say("en", "Set aside: the answer is still being looked for")
    )


def _asked_now(seats: Sequence[Seat]) -> None:
    for seat in seats:
        search = seat.page.locator("#search")
        expect(search).to_contain_text(say(seat.language, "the acquirer simulator"))
        expect(search).to_contain_text(say(seat.language, "A supervisor is asked in"))
        height = "document.documentElement.scrollHeight <= innerHeight"
        assert seat.page.evaluate(height), "1366×768 without scrolling"
    _assert_sound(seats[0].page)
    for seat in seats:
        seat.page.wait_for_selector("#enquire:enabled")
        seat.page.keyboard.press("F2")
        words = (
            "The acquirer is being asked at this moment.",
            "The acquirer was asked again and has no answer yet.",
        )
        asked = re.compile("|".join(re.escape(say(seat.language, text)) for text in words))
        expect(seat.page.locator(".steps:has(#enquire:disabled)")).to_be_visible()
        expect(seat.page.locator("#search")).to_contain_text(asked)
    for seat in seats:
        assert len(seat.payment()["attempts"]) == 1


def _set_aside(seats: Sequence[Seat]) -> None:
    for seat in seats:
        seat.page.keyboard.press("F4")
        seat.page.wait_for_selector("#set-aside-dialog[open]")
        if seat is seats[1]:
            _assert_sound(seat.page)
        seat.page.keyboard.press("Tab")  # the focus is on the way back
        seat.page.keyboard.press("Enter")
    for seat in seats:
        expect(seat.page.locator(".line.is-open")).to_be_visible()
        words = say(seat.language, "Set aside: the answer is still being looked for")
        expect(seat.page.locator(".result h2")).to_have_text(words)
        waits = "%(num)s payment waits for somebody", "%(num)s payments wait for somebody"
        expect(seat.page.locator("#waiting")).to_have_text(say_many(seat.language, *waits, 1))
        seat.page.set_viewport_size({"width": 400, "height": 820})
        assert seat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if seat is seats[2]:
            seat.page.emulate_media(color_scheme="dark")
            _assert_sound(seat.page)
            seat.page.emulate_media(color_scheme="null")
        seat.page.set_viewport_size(VIEWPORT)  # type: ignore[arg-type]


def _warned_of(seats: Sequence[Seat]) -> None:
    """The same amount of the same caller's once more: asked about before anything begins."""
    for seat in seats:
        seat.page.keyboard.press("F2")
        seat.page.wait_for_selector("#payment-dialog[open]")
        seat.page.keyboard.type(seat.typed(seat.amount_minor))
        seat.page.keyboard.press("Enter")
        seat.page.wait_for_selector("#unknown-dialog[open]")
        if seat is seats[3]:
            _assert_sound(seat.page)
        seat.page.keyboard.press("Enter")  # back: nothing was started
        expect(seat.page.locator("#unknown-dialog")).to_be_hidden()
        expect(seat.page.locator("#payment-dialog")).to_be_visible()
        assert seat.page.locator("#payment").get_attribute("data-state") == "unknown"


def _kept(seat: Seat, payment_id: str) -> None:
    """A late approval is kept within the limit, and can be given back within the other one."""
    page, url = seat.page, f"{seat.site.desk.stack.panel_url}/payments/{payment_id}"
    if seat.payment_id() != payment_id:
        page.goto(url)
    came = "The answer came after you had stopped waiting. Keep the payment, or it is voided by itself in"
    expect(page.locator(".result")).to_contain_text(say(seat.language, came))
    expect(page.locator("#start-payment")).to_have_count(0)
    page.keyboard.press("F2")
    limit = say(seat.language, LIMIT, amount=shown_money(5000_00, seat.language))
    expect(page.locator("#settle-dialog [data-limit]")).to_have_text(limit)
    page.keyboard.press("Enter")
    page.wait_for_selector(STATE.format("settled"))
    assert [attempt["state"] for attempt in seat.site.desk.get(f"/payments/{payment_id}")["attempts"]] == [
        "approved"
    ]
    boss = seat.site.board("supervisor", seat.language)
    boss.goto(url)
    boss.click("#refund")
    limit = say(seat.language, LIMIT, amount=shown_money(10_00, seat.language))
    expect(boss.locator("#refund-dialog [data-limit]")).to_have_text(limit)
    expect(boss.locator("#refund-dialog [name=amount]")).to_have_value("10.00")
