"""The whole stack, and four operators side by side at it: one in each language, each with a caller of the own.

A story is told once, for all four: each step is done at every seat before the next one. So a test takes hardly longer
than it would in one language. Every test has calls, callers, amounts and references of its own, and leaves no call.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from paycall.demo.stack import HOST
from paycall.domain.fields import Field
from paycall.panel.languages import LANGUAGES
from tests.browser.stage import STATE, shown_money
from tests.phones.desk import Desk, desk
from tests.phones.lines import Caller, OperatorsPhone
from tests.phones.site import until

VIEWPORT = {"width": 1366, "height": 768}
# Every frame of an animation is drawn by the processor here, on every page that is open.
STILL = {"viewport": VIEWPORT, "reduced_motion": "reduce"}
PASSWORD = "a-good-long-password-1"
NUMBER, EXPIRY, CODE = (
    f"#field-{name.value}" for name in (Field.CARD_NUMBER, Field.EXPIRY, Field.SECURITY_CODE)
)
_OURS = re.compile(r"http://(127[.0-9]+|localhost)[:/]|data:|about:|blob:")
# Callers of a test have all the time that a busy machine needs.
_PATIENCE_S = 120
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
class Seat:
    """An operator who reads a language, the own page, and who is on the phone."""

    site: Site
    language: str
    name: str
    page: Page
    number: str = ""
    caller: Caller | None = None
    amount_minor: int = 0
    reference: str = ""

    @property
    def amount(self) -> str:
        """The payment's amount as the language writes it, with plain spaces."""
        return shown_money(self.amount_minor, self.language)

    def typed(self, amount_minor: int) -> str:
        """An amount as somebody types it who reads this language."""
        return f"{amount_minor // 100}{'.' if self.language == 'en' else ','}{amount_minor % 100:02d}"

    def dials(self, operator: str | None = None) -> None:
        """The caller dials; the telephone system gives the call to this seat's operator, or to who is named."""
        target = self.site.desk.stack.sip_uris[list(LANGUAGES).index(self.language)].partition("@")[2]
        self.caller = Caller(self.number, target, self.name if operator is None else operator)
        self.site.callers.append(self.caller)

    def key(self, digits: str) -> None:
        """The caller begins to key."""
        assert self.caller is not None
        self.caller.key(digits)

    def call_id(self) -> str:
        """The call in front."""
        return str(self.page.locator("#front-call").get_attribute("data-front"))

    def payment_id(self) -> str:
        """The payment in front."""
        return str(self.page.locator("#payment").get_attribute("data-payment"))

    def payment(self) -> dict[str, Any]:
        """What the API says of the payment in front."""
        return self.site.desk.get(f"/payments/{self.payment_id()}")

    def shows(self, state: str, timeout_s: float = 40) -> None:
        """Wait until the payment is shown in this state."""
        self.page.wait_for_selector(STATE.format(state), timeout=timeout_s * 1000)


@dataclass
class Site:
    """The stack, who looks at it, and who calls."""

    desk: Desk
    phone: OperatorsPhone
    browser: Browser
    callers: list[Caller] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _pages: dict[str, Page] = field(default_factory=dict)
    _visitors: list[Page] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def board(self, role: str, language: str) -> Page:
        """The board of the person with this role and language, as one sees it who has just come."""
        name = f"{role}-{language}"
        if name not in self._pages:
            self._pages[name] = self.visitor(language)
            self._visitors.remove(self._pages[name])
            self.join(self._pages[name], name, language, role)
        page = self._pages[name]
        page.goto(self.desk.stack.panel_url)
        page.wait_for_selector("#connection[data-state=live]")
        return page

    def beside(self, page: Page, url: str) -> Page:
        """Another page of the same browser and person, which reaches the panel at this address."""
        other = page.context.new_page()
        other.goto(url)
        other.wait_for_selector("#connection[data-state=live]")
        return other

    def visitor(self, language: str) -> Page:
        """A page of a new browser, nobody signed in, that asks for this language; it is closed after the test."""
        context = self.browser.new_context(**STILL, locale=language)  # type: ignore[arg-type]
        context.add_init_script(_LISTEN)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("console", self._check_message)
        context.on("request", self._check_address)
        page = context.new_page()
        self._visitors.append(page)
        return page

    def invite(self, name: str, language: str, role: str = "operator") -> str:
        """An account; gives the link of its invitation."""
        return str(self.desk.post("/operators", 201, name=name, role=role, language=language)["invitation"])

    def join(self, page: Page, name: str, language: str, role: str = "operator", host: str = HOST) -> None:
        """Somebody new accepts the invitation, and is on the board, which the browser calls by this host."""
        page.goto(self.invite(name, language, role).replace(HOST, host))
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_selector("#connection[data-state=live]")

    def change(self, name: str, **what: object) -> None:
        """An administrator changes somebody's account."""
        found = [one["id"] for one in self.desk.get("/operators")["operators"] if one["name"] == name]
        assert self.desk.http.patch(f"/operators/{found[0]}", json=what).status_code == 200

    def _check_message(self, message: ConsoleMessage) -> None:
        if "Content Security" in message.text:
            self.complaints.append(message.text)

    def _check_address(self, request: Request) -> None:
        if not _OURS.match(request.url):
            self.complaints.append(f"asked an outside address: {request.url}")

    def seats(self, role: str = "operator") -> list[Seat]:
        """Somebody in each language, nobody on the phone yet; numbers, amounts and references are new."""
        return [self._seat(name, self.board(role, name), f"{role}-{name}") for name in LANGUAGES]

    def visitors(self) -> list[Seat]:
        """The same for people without an account, in browsers of their own."""
        names = {language: f"visitor-{language}-{next(self._count)}" for language in LANGUAGES}
        return [self._seat(language, self.visitor(language), name) for language, name in names.items()]

    def _seat(self, language: str, page: Page, name: str) -> Seat:
        count = next(self._count)
        seat = Seat(self, language, name, page)
        seat.number = f"+3630{1_000_000 + count}"
        # The simulator's card decides, not the amount: no code ends like this.
        seat.amount_minor = 1_990 + 1_000 * count
        seat.reference = f"INV-{7_000 + count}"
        return seat

    def hang_up(self) -> None:
        """No call is left."""
        for call in self.desk.get("/calls")["calls"]:
            self.desk.http.post(f"/calls/{call['id']}/hang-up")
        until(lambda: not self.desk.get("/calls")["calls"], what="end of all calls")
        for caller in self.callers:
            caller.close()
        self.callers.clear()

    def see_out(self) -> None:
        """No visitor is left, and no page that would draw what happens in the next test."""
        for page in self._visitors:
            page.context.close()
        self._visitors.clear()
        for board in self._pages.values():
            for page in board.context.pages:
                page.goto("about:blank")

    def close(self) -> None:
        """Everybody goes home."""
        for page in self._pages.values():
            page.context.close()


@contextmanager
def open_site(browser: Browser, settings: str = "", first_key_s: int = _PATIENCE_S) -> Iterator[Site]:
    """A stack with these settings (first those of the panel) that believes its telephone system whose a call is."""
    patience = f"\nfirst_key_s = {first_key_s}\nbetween_keys_s = {_PATIENCE_S}\n"
    media = 'operator_header_from = ["caller"]'
    with desk(cells=len(LANGUAGES), extra=patience + settings, media=media) as seat:
        phone = OperatorsPhone(seat.stack.agent_port)
        site = Site(seat, phone, browser)
        try:
            yield site
        finally:
            site.close()
            phone.close()


@contextmanager
def four_seats(site: Site, make: Callable[[Site], list[Seat]] = Site.seats) -> Iterator[list[Seat]]:
    """The four seats for one test; a script's error, a refused asset or an outside address fails it."""
    try:
        yield make(site)
    finally:
        site.see_out()
        site.hang_up()
        complaints, site.complaints[:] = list(site.complaints), []
    assert complaints == []


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill in the page of the sign-in, and come to the board."""
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_selector("#connection[data-state=live]")


def come_in(seats: Sequence[Seat]) -> None:
    """Every caller dials, and is in front of the operator, connected."""
    for seat in seats:
        seat.dials()
    for seat in seats:
        expect(seat.page.locator("#front-call.connected")).to_contain_text(seat.number)


def start(seats: Sequence[Seat], fill: Callable[[Seat, Locator], None] | None = None) -> None:
    """Every operator starts a payment by keyboard alone; the line is masked and the first field asked for."""
    for seat in seats:
        seat.page.wait_for_selector("#start-payment")
        seat.page.keyboard.press("F2")
        dialog = seat.page.locator("#payment-dialog[open]")
        dialog.wait_for()
        seat.page.keyboard.type(seat.typed(seat.amount_minor))
        dialog.locator("[name=reference]").fill(seat.reference)
        if fill is not None:
            fill(seat, dialog)
        seat.page.keyboard.press("Enter")
    for seat in seats:
        seat.shows("capturing")
        expect(seat.page.locator(".line.is-masked")).to_be_visible()
        seat.page.wait_for_selector(".field.collecting")  # a key that comes earlier is nobody's


def key(seats: Sequence[Seat], place: str, digits: str) -> None:
    """Every caller keys a field that is asked for, at the same time; it is taken."""
    for seat in seats:
        seat.page.wait_for_selector(f"{place}.collecting")
        seat.key(digits)
    for seat in seats:
        seat.page.wait_for_selector(f"{place}.stored")


def key_card(seats: Sequence[Seat], number: str, expiry: str = "1230", code: str = "123") -> None:
    """All three fields, each when it is asked for."""
    key(seats, NUMBER, f"{number}#")
    key(seats, EXPIRY, expiry)
    key(seats, CODE, code)


def charge(seats: Sequence[Seat], state: str) -> None:
    """Every operator charges the card by one key; the payment comes to this state."""
    for seat in seats:
        seat.page.wait_for_selector("#charge")
        seat.page.keyboard.press("F2")
    for seat in seats:
        seat.shows(state)


def wait_until(moment_s: float) -> None:
    """Wait for a moment of the monotonic clock."""
    time.sleep(max(0.0, moment_s - time.monotonic()))
