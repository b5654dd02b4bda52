"""Signing in and staying signed in, at the whole stack and in every language: passkeys by Chromium's own virtual
authenticator, one-time codes, the lock-out, and a session that ends when nobody is there but not under a payment.

Everybody has an account of the own.
"""

from __future__ import annotations

import time
from datetime import timedelta

import httpx
import pyotp
from playwright.sync_api import Page, expect
from sqlalchemy import select

from paycall.panel.services.second_factor import STEP_S
from paycall.store.database import open_database, writing
from paycall.store.tables import OperatorRow, SessionRow
from tests.browser.seats import NUMBER, PASSWORD, Seat, Site, come_in, start
from tests.browser.stage import STATE, say

IDLE = timedelta(minutes=16)


def _comes(seat: Seat, path: str = "") -> Page:
    """The operator opens the panel. Browsers know passkeys for names only, so it is called by one."""
    seat.page.goto(f"http://localhost:{seat.site.desk.stack.panel_port}/{path}")
    return seat.page


def _tries(page: Page, name: str, password: str = PASSWORD, code: str = "") -> None:
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.fill("[name=code]", code)
    page.press("[name=password]", "Enter")


def _prove(page: Page, password: str = PASSWORD) -> None:
    """Say once more who one is."""
    page.fill("#proof-dialog [name=password]", password)
    page.press("#proof-dialog [name=password]", "Enter")


def _add_authenticator(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_a_passkey_is_set_up_signs_in_and_is_removed(newcomers: list[Seat]) -> None:
    for seat in newcomers:
        page, language = seat.page, seat.language
        _add_authenticator(page)
        _comes(seat, "account")
        expect(page.locator("#passkeys-title")).to_have_text(say(language, "Passkeys"))
        page.fill("[data-passkey] [name=name]", "Laptop")
        page.click("#add-passkey")
        expect(page.locator("#proof-dialog h2")).to_have_text(say(language, "Is it you?"))
        _prove(page, "not-the-password-1")
        wrong = say(language, "That was not right. Try again.")
        expect(page.locator("[data-passkey] [data-error]")).to_have_text(wrong)
        page.click("#add-passkey")
        _prove(page)
        expect(page.locator(".passkey b")).to_have_text("Laptop")
        expect(page.locator(".passkey .hint")).to_have_text(say(language, "never used"))
        page.context.clear_cookies()
        seat.dials()
    for seat in newcomers:
        page, language = _comes(seat, "history"), seat.language
        assert "/sign-in?next=/history" in page.url
        expect(page.locator("#passkey-sign-in")).to_have_text(say(language, "Sign in with a passkey"))
        page.click("#passkey-sign-in")
        page.wait_for_url("**/history")
        expect(page.locator(".menu summary")).to_have_text(seat.name)
        _comes(seat)
        expect(page.locator("#front-call.connected")).to_contain_text(seat.number)
        _comes(seat, "account")
        expect(page.locator(".passkey .hint")).to_contain_text(say(language, "last used %(time)s", time=""))
        page.click(".passkey button")
        page.click("[data-passkey-proof]")
        expect(page.locator(".passkey")).to_have_count(0)
        page.context.clear_cookies()
        _comes(seat, "sign-in")
        page.click("#passkey-sign-in")
        gone = say(language, "The name or the password is wrong.")
        expect(page.locator("[data-passkey] [data-error]")).to_have_text(gone)


def test_one_time_codes_from_the_qr_code_on(newcomers: list[Seat]) -> None:
    for seat in newcomers:
        page, language = _comes(seat, "account"), seat.language
        expect(page.locator(".qr-frame svg")).to_be_visible()
        page.click("details:has(.secret) summary")
        codes = pyotp.TOTP(page.locator("details .secret").inner_text())
        page.fill("form:has(.qr-frame) [name=code]", "000000")
        page.click("form:has(.qr-frame) .primary")
        _prove(page)
        wrong = "This code does not fit. Check the clock of the phone and take the next code."
        expect(page.locator("form:has(.qr-frame) [data-error]")).to_have_text(say(language, wrong))
        step = int(time.time()) // STEP_S
        page.fill("form:has(.qr-frame) [name=code]", codes.at(step * STEP_S))
        page.click("form:has(.qr-frame) .primary")
        _prove(page)
        set_up = say(language, "One-time codes are set up: you need your phone to sign in.")
        expect(page.locator(".notice.good")).to_have_text(set_up)
        page.context.clear_cookies()
        _tries(_comes(seat), seat.name)
        asked = say(language, "Enter the one-time code from your phone too.")
        expect(page.locator(".notice[role=alert]")).to_have_text(asked)
        # A code is good once; the next one's may come early.
        fresh = max(step + 1, int(time.time()) // STEP_S)
        _tries(page, seat.name, code=codes.at(fresh * STEP_S))
        page.wait_for_selector("#connection[data-state=live]")
    come_in(newcomers)


def test_ten_wrong_passwords_lock_and_the_page_says_so(visitors: list[Seat]) -> None:
    site, name = visitors[0].site, visitors[0].name
    httpx.post(site.invite(name, "en"), data={"password": PASSWORD}, timeout=40)
    for seat in visitors:
        _tries(_comes(seat), name, password="wrong")
        wrong = say(seat.language, "The name or the password is wrong.")
        expect(seat.page.locator(".notice[role=alert]")).to_have_text(wrong)
    for _ in range(10 - len(visitors)):
        httpx.post(
            f"{site.desk.stack.panel_url}/sign-in", data={"name": name, "password": "wrong"}, timeout=40
        )
    for seat in visitors:
        _tries(seat.page, name)
        locked = say(seat.language, "This account is locked. Wait half an hour, or ask an administrator.")
        expect(seat.page.locator(".notice[role=alert]")).to_have_text(locked)


def _time_passes(site: Site, name: str) -> None:
    """Nobody has touched this seat for longer than the panel waits: so its database says."""
    database = open_database(f"sqlite:///{site.desk.stack.var / 'panel' / 'panel.sqlite3'}")
    with writing(database) as session:
        theirs = select(OperatorRow.id).where(OperatorRow.name == name).scalar_subquery()
        for row in session.scalars(select(SessionRow).where(SessionRow.operator_id == theirs)):
            row.last_seen_at -= IDLE
    database.dispose()


def test_who_has_left_is_signed_out_but_not_in_the_middle_of_a_payment(
    site: Site, newcomers: list[Seat]
) -> None:
    come_in(newcomers)
    start(newcomers)
    for seat in newcomers:
        seat.key("42")
        expect(seat.page.locator(f"{NUMBER} field-dots i.on")).to_have_count(2)
        _time_passes(site, seat.name)
        seat.page.reload()
        expect(seat.page.locator(STATE.format("capturing"))).to_be_visible()
        expect(seat.page.locator(".line.is-masked")).to_be_visible()
        seat.key("4242")
        expect(seat.page.locator(f"{NUMBER} field-dots i.on")).to_have_count(6)
        seat.page.keyboard.press("F4")
        seat.page.click("#cancel-dialog [value=yes]")
        seat.shows("cancelled")
    site.hang_up()
    for seat in newcomers:
        expect(seat.page.locator(".line.is-ended")).to_be_visible()
        _time_passes(site, seat.name)
        seat.page.reload()
        seat.page.wait_for_url("**/sign-in?next=/*")
        words = say(seat.language, "Sign in to %(site)s", site="paycall")
        expect(seat.page.locator("h1")).to_have_text(words)
