"""Signing in with an identity provider that really answers; and one that lies in every respect that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from paycall.panel.roles import Role
from paycall.settings import OidcSettings, PanelSettings
from paycall.store.database import reading, writing
from paycall.store.tables import AUDIT, OperatorRow, SessionRow
from tests.fakes.oidc_provider import CLIENT_ID, CLIENT_SECRET, LIES, OidcProvider
from tests.fakes.panel_server import PanelServer

Start = Callable[..., PanelServer]
Visit = Callable[[PanelServer], tuple[httpx.Client, httpx.Response]]
START = "/sign-in/oidc?next=/history"


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, provider: OidcProvider) -> Iterator[Start]:
    """Start a panel that knows the provider."""
    running: list[PanelServer] = []
    provider.lie, provider.seen_s_ago = "", 0
    provider.claims = {"sub": "person-1", "preferred_username": "anna"}

    def begin(**more: Any) -> PanelServer:
        secret = tmp_path / "oidc-secret"
        secret.write_text(f"{CLIENT_SECRET}\n")
        oidc = OidcSettings(
            issuer=provider.issuer, client_id=CLIENT_ID, client_secret_file=secret, label="Shop", **more
        )
        server = PanelServer(tmp_path, PanelSettings(oidc=oidc, require_second_factor=True))
        running.append(server.__enter__())
        server.world.add("anna", language="hu")
        return server

    yield begin
    for server in running:
        server.__exit__()


@pytest.fixture
def visit() -> Iterator[Visit]:
    """A browser of its own goes to the provider and comes back; gives it and where it ended."""
    clients: list[httpx.Client] = []

    def go(server: PanelServer) -> tuple[httpx.Client, httpx.Response]:
        client = httpx.Client(
            base_url=server.url, follow_redirects=True, timeout=40, headers={"accept": "text/html"}
        )
        clients.append(client)
        return client, client.get(START)

    yield go
    for client in clients:
        client.close()


def _who(client: httpx.Client) -> dict[str, Any] | None:
    answer = client.get("/api/v1/session")
    return dict(answer.json()["operator"]) if answer.status_code == 200 else None


def test_there_and_back_again(start: Start, provider: OidcProvider, visit: Visit) -> None:
    server = start()
    page = httpx.get(f"{server.url}/sign-in").text
    assert "Sign in with Shop" in page
    client, answer = visit(server)
    assert answer.status_code == 200 and answer.url.path == "/history"
    assert (_who(client) or {})["role"] == "operator"
    with reading(server.world.database) as session:
        assert session.query(SessionRow).one().method == "oidc"
        assert "oidc-sign-in" in [row.action for row in session.execute(AUDIT.table.select())]
    # The keys were changed meanwhile: asked for anew, but not more than once a minute.
    provider.rotate_keys()
    assert visit(server)[1].status_code == 403
    server.world.clock.advance(seconds=61)
    assert visit(server)[1].status_code == 200


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_signs_nobody_in(start: Start, provider: OidcProvider, visit: Visit, lie: str) -> None:
    server = start()
    provider.lie = lie
    client, answer = visit(server)
    assert answer.status_code == 403
    assert answer.url.path == "/sign-in/oidc/callback" and "did not confirm" in answer.text
    assert _who(client) is None
    provider.lie = ""
    assert visit(server)[1].status_code == 200, "only the lie was in the way"


def test_who_is_asked_anew_has_proved_it_and_a_silent_sign_in_has_not(
    start: Start, provider: OidcProvider, visit: Visit
) -> None:
    server = start(create_accounts=True)
    provider.claims = {"sub": "2", "preferred_username": "oksana"}
    client, _ = visit(server)

    def may_add_a_passkey() -> bool:
        answer = client.post("/api/v1/account/passkeys/options", json={})
        assert answer.status_code == 200 or answer.json()["code"] == "proof-needed"
        return answer.status_code == 200

    assert not may_add_a_passkey()
    assert "/sign-in/oidc?again=true" in client.get("/account").text
    provider.seen_s_ago = 3600  # it was in no mood to ask
    assert client.get("/sign-in/oidc?again=true&next=/account").status_code == 403
    assert not may_add_a_passkey()
    provider.seen_s_ago = 0
    assert client.get("/sign-in/oidc?again=true&next=/account").url.path == "/account"
    assert may_add_a_passkey()
    server.world.clock.advance(minutes=6)
    assert not may_add_a_passkey()


def test_only_the_browser_that_began_may_end_it_and_only_once(start: Start, visit: Visit) -> None:
    server = start()
    browser, _ = visit(server)
    browser.cookies.clear()
    browser.follow_redirects = False
    there = browser.get(browser.get(START).headers["location"])
    back = there.headers["location"]
    assert httpx.get(back).status_code == 403, "another browser"
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 403, "once more"
    elsewhere = browser.get("/sign-in/oidc?next=//evil.example")
    browser.get("/sign-in/oidc?next=//evil.example")
    back = browser.get(elsewhere.headers["location"]).headers["location"]
    assert browser.get(back).status_code == 403, "begun anew meanwhile"


def test_the_account_is_found_by_its_claim_or_nobody_comes_in(
    start: Start, provider: OidcProvider, visit: Visit
) -> None:
    server = start(name_claim="email")
    for claims in ({}, {"email": "anna"}, {"email": "anna", "email_verified": False}, {"email": ["anna"]}):
        provider.claims = {"sub": "1", **claims}
        client, answer = visit(server)
        assert (answer.status_code, _who(client)) == (403, None), claims
    provider.claims = {"sub": "1", "email": "Anna", "email_verified": True}
    assert (_who(visit(server)[0]) or {})["name"] == "anna"
    provider.claims["email"] = "stranger"
    assert "no account for you" in visit(server)[1].text
    with writing(server.world.database) as session:
        session.query(OperatorRow).filter_by(name="anna").one().locked = True
    provider.claims["email"] = "anna"
    assert visit(server)[1].status_code == 403


def test_roles_come_from_the_provider_but_never_an_administrator(
    start: Start, provider: OidcProvider, visit: Visit
) -> None:
    server = start(
        role_claim="groups", roles={"leads": "supervisor", "desk": "operator"}, create_accounts=True
    )
    provider.claims = {"sub": "2", "preferred_username": "oksana", "name": "Oksana", "groups": ["x", "leads"]}
    who = _who(visit(server)[0]) or {}
    assert (who["name"], who["role"]) == ("Oksana", "supervisor")
    provider.claims["groups"] = ["desk"]
    assert (_who(visit(server)[0]) or {})["role"] == "operator"
    provider.claims["groups"] = ["administrator"]
    assert visit(server)[1].status_code == 403
    server.world.add("boss", Role.ADMINISTRATOR)
    provider.claims |= {"preferred_username": "boss", "groups": ["desk"]}
    assert (_who(visit(server)[0]) or {})["role"] == "administrator", "made here, stays here"
    with pytest.raises(ValueError, match="supervisor"):
        OidcSettings(issuer=provider.issuer, client_id="x", roles={"a": "administrator"})  # type: ignore[dict-item]


def test_a_provider_that_is_away_is_said(start: Start, provider: OidcProvider, visit: Visit) -> None:
    server = start()
    server.world.app.state.oidc.settings = server.world.settings.oidc.model_copy(  # type: ignore[union-attr]
        update={"issuer": "http://127.0.0.1:9"}
    )
    _, answer = visit(server)
    assert answer.status_code == 502 and "did not confirm" in answer.text
