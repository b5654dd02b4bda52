"""Signing in at an identity provider that this project did not write (Debian's Glewlwyd), on its own pages."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.seats import Seat, Site
from tests.browser.stage import say
from tests.glewlwyd import Glewlwyd

PASSWORD = "Passw0rd-of-hers"


def test_who_is_known_there_comes_in_once_known_here(
    site: Site, provider: Glewlwyd, visitors: list[Seat]
) -> None:
    url = site.desk.stack.panel_url
    for seat in visitors:
        provider.add_person(seat.name, PASSWORD)
        seat.page.goto(url)
        words = say(seat.language, "Sign in with %(name)s", name="Shop")
        expect(seat.page.locator("#oidc-sign-in")).to_have_text(words)
        seat.page.click("#oidc-sign-in")
        _signs_in_there(seat.page, seat.name)
    for seat in visitors:
        seat.page.wait_for_url(f"{url}/**")
        nobody = say(seat.language, "There is no account for you here. Ask an administrator.")
        expect(seat.page.get_by_role("alert")).to_have_text(nobody)
        site.desk.post("/operators", 201, name=seat.name, language=seat.language)
        seat.dials()
        seat.page.click("#oidc-sign-in")
        seat.page.get_by_role("button", name="Continue").click()
    for seat in visitors:
        expect(seat.page.locator("#front-call.connected")).to_contain_text(seat.number)
        expect(seat.page.locator("#connection")).to_have_attribute("data-state", "live")
        session = "fetch('/api/v1/session').then(answer => answer.json())"
        assert seat.page.evaluate(session)["operator"]["name"] == seat.name


def _signs_in_there(page: Page, name: str) -> None:
    """On the provider's pages, whose words are its own in any of our languages."""
    page.locator("#username").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.get_by_role("button", name="OK").click()
    for scope in ("profile", "email"):
        page.get_by_label(scope).check()
    page.get_by_role("button", name="Grant access").click()
    page.get_by_role("button", name="Continue").click()
