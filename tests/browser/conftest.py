"""Chromium, headless, and the whole stack with four operators at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.crm import crm
from tests.browser.seats import Seat, Site, four_seats, open_site
from tests.glewlwyd import Glewlwyd, glewlwyd
from tests.phones.rtp import free_port

expect.set_options(timeout=40_000)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's browser; nothing is downloaded."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert path is not None, "Chromium is not installed (scripts/system-tools.sh installs it)"
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


# An acquirer's silence that a test makes lasts as long as the machine is slow: with less patience the vault would
# have asked six times by then and take the payment back, or leave the acquirer alone when the next test charges.
SITE = """
reusable_token_roles = ["operator"]
brands = ["visa", "amex"]
caller_languages = true
frame_ancestors = ["{crm}"]
[panel.oidc]
issuer = "{issuer}"
client_id = "paycall"
client_secret_file = "{secret_file}"
label = "Shop"
[panel.refund_limits_minor]
supervisor = 1000
[panel.settle_limits_minor]
operator = 500000
[vault]
acquirer_timeout_s = 15.0
reusable_token_months = 13
[media.recording]
enabled = true
notice = false
[media.prompts]
heard_by = "caller"
[media.trunk]
uri = "sip:127.0.0.1:{carrier}"
"""
# The provider compares a secret as it is encoded for HTTP Basic.
_SECRET = "s3cret-of-the-panel"


@pytest.fixture(scope="session")
def crm_url() -> Iterator[str]:
    """A program that may show the board in its frame."""
    with crm() as url:
        yield url


@pytest.fixture(scope="session")
def provider() -> Iterator[Glewlwyd]:
    """The identity provider that the site knows."""
    with glewlwyd() as running:
        yield running


@pytest.fixture(scope="session")
def carrier_port() -> int:
    """Where the site's carrier is, if somebody is there."""
    return free_port()


@pytest.fixture(scope="session")
def site(
    chromium: Browser,
    crm_url: str,
    provider: Glewlwyd,
    carrier_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """The whole stack with the settings of a fresh one, but for what it leaves off."""
    secret = tmp_path_factory.mktemp("provider") / "secret"
    secret.write_text(_SECRET)
    settings = SITE.format(crm=crm_url, issuer=provider.issuer, secret_file=secret, carrier=carrier_port)
    with open_site(chromium, settings) as running:
        provider.add_client("paycall", _SECRET, f"{running.desk.stack.panel_url}/sign-in/oidc/callback")
        yield running


@pytest.fixture
def seats(site: Site) -> Iterator[list[Seat]]:
    """Four operators at the whole stack, one in each language."""
    with four_seats(site) as four:
        yield four


@pytest.fixture
def visitors(site: Site) -> Iterator[list[Seat]]:
    """Four people without an account, one in each language, in browsers of their own."""
    with four_seats(site, Site.visitors) as four:
        yield four


@pytest.fixture
def newcomers(visitors: list[Seat]) -> list[Seat]:
    """Four new operators on the board, which they call by a name: browsers know passkeys for names only."""
    for seat in visitors:
        seat.site.join(seat.page, seat.name, seat.language, host="localhost")
    return visitors
