"""Signing in at an identity provider that this project did not write (Debian's Glewlwyd), on its own pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from paycall.panel.roles import Role
from paycall.settings import OidcSettings, PanelSettings
from tests.fakes.panel_server import PanelServer
from tests.glewlwyd import Glewlwyd, glewlwyd

SECRET, PASSWORD = (
    "s3cret-of-the-panel",
    "Passw0rd-of-hers",
)  # it compares a secret as it is encoded for HTTP Basic


@pytest.fixture(scope="module")
def provider() -> Iterator[Glewlwyd]:
    """A provider where two people are known."""
    with glewlwyd() as running:
        for name in ("anna", "stranger"):
            running.add_person(name, PASSWORD)
        yield running


def test_who_is_known_there_and_here_comes_in(provider: Glewlwyd, chromium: Browser, tmp_path: Path) -> None:
    secret = tmp_path / "oidc-secret"
    secret.write_text(SECRET)
    oidc = OidcSettings(issuer=provider.issuer, client_id="paycall", client_secret_file=secret, label="Shop")
    with PanelServer(tmp_path, PanelSettings(oidc=oidc)) as server:
        provider.add_client("paycall", SECRET, f"{server.url}/sign-in/oidc/callback")
        server.world.add("anna", Role.OPERATOR)
        anna = come_back_as("anna", chromium, server)
        expect(anna.locator("#connection")).to_have_attribute("data-state", "live")
        assert (
            anna.evaluate("fetch('/api/v1/session').then(r => r.json()).then(s => s.operator.name)") == "anna"
        )
        stranger = come_back_as("stranger", chromium, server)
        expect(stranger.get_by_role("alert")).to_have_text(
            "There is no account for you here. Ask an administrator."
        )
        for page in (anna, stranger):
            page.context.close()


def come_back_as(name: str, chromium: Browser, server: PanelServer) -> Page:
    """From the panel's sign-in to the provider's, and back with what it says of this person."""
    page = chromium.new_context().new_page()
    page.goto(server.url)
    page.get_by_text("Sign in with Shop").click()
    page.locator("#username").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.get_by_role("button", name="OK").click()
    for scope in ("profile", "email"):
        page.get_by_label(scope).check()
    page.get_by_role("button", name="Grant access").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{server.url}/**")
    return page
