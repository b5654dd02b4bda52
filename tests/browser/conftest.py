"""Chromium, headless, and a panel behind a real web server with cells and a vault that work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from paycall.panel.roles import Role
from paycall.panel.services import accounts
from tests.browser.seats import VIEWPORT, Seat, Site, four_seats, open_site
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import PASSWORD

accounts._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
expect.set_options(timeout=40_000)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's browser; nothing is downloaded."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path is not None, "chromium is not installed (scripts/system-tools.sh installs it)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-dev-shm-usage",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PanelServer]:
    """A running panel."""
    with PanelServer(tmp_path) as running:
        yield running


class Desk:
    """An operator's desk: a page of the panel, somebody signed in, and what the page complained about."""

    def __init__(self, server: PanelServer, browser: Browser) -> None:
        self.server = server
        self.world = server.world
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def page(self, **options: object) -> Page:
        """A page of its own browser profile."""
        context = self._browser.new_context(**{"viewport": VIEWPORT, **options})  # type: ignore[arg-type]
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if "Content Security" in message.text else None
            ),
        )
        page.on("request", self._check_address)
        return page

    def _check_address(self, request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if not url.startswith((self.server.url, "data:", "about:", "blob:")):
            self.complaints.append(f"asked an outside address: {url}")

    def sign_in(
        self, name: str = "anna", role: Role = Role.ADMINISTRATOR, language: str = "en", **options: object
    ) -> Page:
        """A page with this (new) person signed in, on the board."""
        self.world.add(name, role, language=language)
        page = self.page(**options)
        page.goto(f"{self.server.url}/")
        page.fill("[name=name]", name)
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_selector("#connection[data-state=live]")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def desk(server: PanelServer, chromium: Browser) -> Iterator[Desk]:
    """A desk; a script error, a refused asset or an outside address fails the test."""
    made = Desk(server, chromium)
    yield made
    made.close()
    assert made.complaints == []


SITE = """
reusable_token_roles = ["operator"]
[panel.refund_limits_minor]
supervisor = 1000
[vault]
acquirer_timeout_s = 1.5
reusable_token_months = 13
[media.recording]
enabled = true
notice = false
"""


@pytest.fixture(scope="session")
def site(chromium: Browser) -> Iterator[Site]:
    """The whole stack with the settings of a fresh one, but for what it leaves off."""
    with open_site(chromium, SITE) as running:
        yield running


@pytest.fixture
def seats(site: Site) -> Iterator[list[Seat]]:
    """Four operators at the whole stack, one in each language."""
    with four_seats(site) as four:
        yield four
