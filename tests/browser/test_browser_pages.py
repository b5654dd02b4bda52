"""Every page: without accessibility violations, without scrolling where none is due, and usable at 400 px.

At the whole stack, for administrators who have a call each, one in each language; two of them like it dark. What
others have typed or dialled is markup, everywhere: it is shown to them, and never run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.seats import (
    CODE,
    EXPIRY,
    NUMBER,
    VIEWPORT,
    Seat,
    Site,
    charge,
    come_in,
    four_seats,
    key,
    key_card,
    start,
)
from tests.browser.stage import GOOD, POOR, say
from tests.phones.lines import Caller

PAGES = (
    "", "history", "history?kind=calls", "reports", "people", "programs", "account", "audit", "docs", "embed",
)  # fmt: skip
DARK = ("ru", "hu")
NARROW = {"width": 400, "height": 768}
NASTY = "\"'><img src=x onerror=document.title='pwned'><script>document.title='pwned'</script>{{7*7}}"
# What SIP lets a caller's number be (RFC 3261, 25.1) that a page could take for an attribute or, unescaped, for more.
NASTY_NUMBER = "'/onfocus='document.title=1'/%3Cimg/src=x%3E"
_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
    "preload": False,  # only a film that begins by itself would need it
}
# What is there again and again tells axe nothing new and costs it seconds: on the page of the API one route of each
# method stands for all, in a table the first rows do.
_LEAVE_SOME = """() => {
  const seen = new Set();
  for (const part of document.querySelectorAll(".endpoint")) {
    const method = part.querySelector(".method").textContent;
    if (seen.has(method)) part.remove();
    seen.add(method);
  }
  for (const row of document.querySelectorAll("tbody tr:nth-child(n + 13)")) row.remove();
}"""


def _violations(page: Page, within: str = "html") -> list[str]:
    page.evaluate(_LEAVE_SOME)
    if not page.evaluate("'axe' in window"):  # half a megabyte: handed over once for each page
        page.evaluate(f"() => {{ {Axe().axe_script} }}")
    run = "([within, rules]) => axe.run(within, rules).then(results => results.violations)"
    found = page.evaluate(run, [within, _RULES])
    return [f"{item['id']}: {node['html'][:120]}" for item in found for node in item["nodes"]]


def _overflow(page: Page) -> tuple[int, int]:
    """By how many pixels the page is wider and higher than its window."""
    wide, high = page.evaluate(
        "() => { const page = document.documentElement;"
        " return [page.scrollWidth - innerWidth, page.scrollHeight - innerHeight]; }"
    )
    return max(0, wide), max(0, high)


def _is_fit(seat: Seat, what: str, *, whole: bool = False) -> None:
    """Nothing wider than a narrow window, and no violation; ``whole``: nothing to be scrolled in a usual window."""
    case = f"{what}, {seat.language}"
    if whole:
        assert _overflow(seat.page) == (0, 0), case
    seat.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert _overflow(seat.page)[0] == 0, case
    seat.page.set_viewport_size(VIEWPORT)  # type: ignore[arg-type]
    assert _violations(seat.page) == [], case


@pytest.fixture
def bosses(site: Site) -> Iterator[list[Seat]]:
    """Four administrators who take calls."""
    with four_seats(site, lambda site: site.seats("administrator")) as four:
        for seat in four:
            seat.page.emulate_media(color_scheme="dark" if seat.language in DARK else "light")
        yield four
        for seat in four:
            seat.page.emulate_media(color_scheme="null")


def _says_how_it_is_connected(seat: Seat) -> None:
    """In words that a narrow window has room for, whatever they are."""
    seat.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    for state in ("connecting", "stale", "live"):
        seat.page.locator("#connection").evaluate("(line, state) => { line.dataset.state = state; }", state)
        assert _overflow(seat.page)[0] == 0, f"{state}, {seat.language}"
    seat.page.set_viewport_size(VIEWPORT)  # type: ignore[arg-type]


def test_a_call_is_fit_to_be_looked_at_from_its_first_second_to_the_next_call(bosses: list[Seat]) -> None:
    for seat in bosses:
        _says_how_it_is_connected(seat)
    come_in(bosses)
    start(bosses)
    for seat in bosses:
        seat.key("40000")
        expect(seat.page.locator(f"{NUMBER} field-dots i.on")).to_have_count(5)
        _is_fit(seat, "capturing", whole=True)
        seat.key(f"{POOR[5:]}#")
    for seat in bosses:
        seat.page.wait_for_selector(f"{NUMBER}.stored")
    key(bosses, EXPIRY, "1230")
    key(bosses, CODE, "123")
    for seat in bosses:
        seat.page.wait_for_selector("#charge")
        _is_fit(seat, "ready", whole=True)
    charge(bosses, "declined")
    for seat in bosses:
        _is_fit(seat, "declined", whole=True)
        seat.page.click("#step-other_card")
    key_card(bosses, GOOD)
    charge(bosses, "settled")
    for seat in bosses:
        _is_fit(seat, "settled", whole=True)
        for dialog in ("settle-dialog", "refund-dialog", "void-dialog"):
            seat.page.evaluate("id => document.getElementById(id).showModal()", dialog)
            assert _violations(seat.page, f"#{dialog}") == [], dialog
            seat.page.keyboard.press("Escape")
    bosses[0].site.hang_up()
    come_in(bosses)
    for seat in bosses:
        expect(seat.page.locator(".past li")).to_have_count(1)
        seat.page.click("#start-payment")
        _is_fit(seat, "the next call", whole=True)
        seat.page.keyboard.press("Escape")


@pytest.fixture
def typed(bosses: list[Seat]) -> Iterator[tuple[str, ...]]:
    """Calls and payments of callers, and programs and people, whose every free text is markup; the further pages."""
    desk = bosses[0].site.desk
    come_in(bosses)
    for seat in bosses:
        seat.page.click("#edit-customer")
        seat.page.fill("#customer-dialog [name=name]", NASTY[:100])
        seat.page.fill("#customer-dialog [name=note]", NASTY)
        seat.page.press("#customer-dialog [name=name]", "Enter")
        expect(seat.page.locator("h1.caller")).to_have_text(NASTY[:100])
    start(bosses, _describe)
    first, payment_id = bosses[0], bosses[0].payment_id()
    nasty = Caller(NASTY_NUMBER, desk.stack.sip_uris[0].partition("@")[2], first.name)
    first.site.callers.append(nasty)
    expect(first.page.locator(".call-item", has_text=NASTY_NUMBER)).to_be_visible()
    mallory = f"mallory-{first.number[1:]}"
    desk.post("/operators", 201, name=mallory, display_name=NASTY[:100], agent_uri="sip:'\"&#x27;@x")
    scopes = ["calls:read", "payments:read"]
    keys = [desk.post("/api-keys", 201, name=NASTY[:100], scopes=scopes)["api_key"]["id"] for _ in range(2)]
    desk.http.delete(f"/api-keys/{keys[0]}")
    hook = {"url": "http://127.0.0.1:9/'\"%3Cimg/onerror=1%3E", "events": ["payment.*"]}
    webhook = f"/webhook-subscriptions/{desk.post('/webhook-subscriptions', 201, **hook)['webhook']['id']}"
    desk.post(f"{webhook}/test")
    assert desk.http.post(f"{webhook}/secret", json={}).status_code == 200
    yield f"payments/{payment_id}", f"programs/webhooks/{webhook.rpartition('/')[2]}"
    desk.http.delete(webhook)
    desk.http.delete(f"/api-keys/{keys[1]}")


def _describe(_: Seat, dialog: Locator) -> None:
    dialog.locator("[name=reference]").fill(NASTY[:64])
    dialog.locator("[name=description]").fill(NASTY[:100])


def _nothing_ran(page: Page, what: str) -> None:
    assert page.title() not in ("pwned", "1"), what
    assert page.locator("img, main script, [onfocus], [onerror]").count() == 0, what


def test_every_page_is_fit_to_be_looked_at_and_runs_nothing_that_others_typed(
    bosses: list[Seat], typed: tuple[str, ...]
) -> None:
    for seat in bosses:
        url = seat.site.desk.stack.panel_url
        for path in (*PAGES, *typed):
            seat.page.goto(f"{url}/{path}")
            _nothing_ran(seat.page, path)
            _is_fit(seat, path)
        for path in (f"history?q={NASTY}", f"sign-in?next={NASTY}"):
            seat.page.goto(f"{url}/{path}")
            _nothing_ran(seat.page, path)
        seat.page.goto(url)
        expect(seat.page.locator("h1.caller")).to_have_text(
            NASTY[:100]
        )  # not the newer call: a payment is open
        seat.page.click("#edit-customer")
        expect(seat.page.locator("#customer-dialog [name=note]")).to_have_value(NASTY)
        seat.page.keyboard.press("Escape")


def test_what_is_seen_before_the_sign_in_is_fit_to_be_looked_at(visitors: list[Seat]) -> None:
    for seat in visitors:
        seat.page.emulate_media(color_scheme="dark" if seat.language in DARK else "light")
        invitation = seat.site.invite(seat.name, seat.language)
        seat.page.goto(invitation)
        _is_fit(seat, "invitation", whole=True)
        seat.page.goto(f"{invitation}-no-more")
        over = say(seat.language, "This invitation is no longer good. Ask an administrator for a new one.")
        expect(seat.page.locator(".notice.bad")).to_have_text(over)
        _is_fit(seat, "an error", whole=True)
        seat.page.goto(f"{seat.site.desk.stack.panel_url}/sign-in")
        _is_fit(seat, "sign-in", whole=True)
        seat.page.fill("[name=name]", "nobody")
        seat.page.fill("[name=password]", "wrong")
        seat.page.click("button.primary")
        expect(seat.page.locator(".notice[role=alert]")).to_be_visible()
        _is_fit(seat, "a wrong password", whole=True)
