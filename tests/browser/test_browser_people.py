"""What an administrator does, and what others see of paycall in their own programs: in every language.

One panel, the real one, for all; names are each test's own.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from paycall.panel.languages import LANGUAGES
from paycall.panel.roles import Role
from paycall.settings import PanelSettings
from tests.browser.conftest import Desk
from tests.browser.seats import NUMBER, PASSWORD
from tests.browser.stage import STATE, say
from tests.fakes import panel_world as world
from tests.fakes.panel_server import PanelServer
from tests.phones.rtp import free_port

_COUNT = itertools.count()


class Crm(BaseHTTPRequestHandler):
    """A program's page with a frame, which the query names."""

    def do_GET(self) -> None:
        body = f'<!doctype html><iframe src="{self.path[2:]}" width=1200 height=700></iframe>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def crm() -> Iterator[str]:
    """Where the program is."""
    with ThreadingHTTPServer(("127.0.0.1", free_port()), Crm) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, crm: str) -> Iterator[PanelServer]:
    """A panel that this program may frame, with a receiver of webhooks in its own network."""
    settings = PanelSettings(frame_ancestors=(crm,), webhook_private_addresses=True)
    with PanelServer(tmp_path_factory.mktemp("people"), settings) as running:
        yield running


@pytest.fixture(params=list(LANGUAGES))
def language(request: pytest.FixtureRequest) -> str:
    """What the person reads, and the browser asks for."""
    return str(request.param)


@pytest.fixture
def desk(panel: PanelServer, chromium: Browser) -> Iterator[Desk]:
    """A desk at the panel of all."""
    made = Desk(panel, chromium)
    yield made
    made.close()
    assert made.complaints == []


@pytest.fixture
def boss(desk: Desk, language: str) -> Page:
    """An administrator, signed in."""
    return desk.sign_in(f"boss-{language}-{next(_COUNT)}", Role.ADMINISTRATOR, language)


def _sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_selector("#connection[data-state=live]")


def test_somebody_is_invited_made_a_supervisor_locked_and_let_in_again(
    desk: Desk, boss: Page, language: str
) -> None:
    name = f"oksana-{language}-{next(_COUNT)}"
    boss.goto(f"{desk.server.url}/people")
    boss.click("[data-opens=add-dialog]")
    expect(boss.locator("#add-dialog h2")).to_have_text(say(language, "Add somebody"))
    boss.fill("#add-dialog [name=name]", name)
    boss.select_option("#add-dialog [name=language]", language)
    boss.click("#add-dialog .primary")
    link = boss.locator("[data-show=invitation]")
    expect(link).to_contain_text("/invitation/")
    guest = desk.page(locale=language)
    guest.goto(link.inner_text())
    expect(guest.locator("h1")).to_have_text(say(language, "Welcome to %(site)s", site="paycall"))
    guest.fill("[name=password]", "onlylettershere")
    guest.press("[name=password]", "Enter")
    weak = "At least 12 characters with letters and digits, and none of your last four passwords."
    expect(guest.locator("[role=alert]")).to_have_text(say(language, weak))
    guest.fill("[name=password]", PASSWORD)
    guest.press("[name=password]", "Enter")
    expect(guest.locator(".nav a")).to_have_text([say(language, "Calls"), say(language, "History")])
    boss.click("#invitation-dialog .primary")
    row = boss.locator("tbody tr", has_text=name)
    row.locator("select").select_option(label=say(language, "Supervisor"))
    boss.wait_for_load_state()
    expect(row.locator("option:checked")).to_have_text(say(language, "Supervisor"))
    guest.goto(f"{desk.server.url}/sign-in")  # another role is another session
    _sign_in(guest, name)
    expect(guest.locator(".nav a", has_text=say(language, "Reports"))).to_be_visible()
    row.locator("button", has_text=say(language, "Lock")).click()
    expect(row.locator(".tag.bad")).to_have_text(say(language, "Locked"))
    guest.reload()
    guest.wait_for_url("**/sign-in**")
    row.locator("button", has_text=say(language, "Unlock")).click()
    expect(row.locator(".tag.bad")).to_have_count(0)
    _sign_in(guest, name)


def test_a_key_and_a_webhook_are_made_and_shown_once(desk: Desk, boss: Page, language: str) -> None:
    name, hook = f"shop-{language}-{next(_COUNT)}", f"http://127.0.0.1:9/hook-{language}-{next(_COUNT)}"
    boss.goto(f"{desk.server.url}/programs")
    boss.click("[data-opens=key-dialog]")
    boss.fill("#key-dialog [name=name]", name)
    boss.check("#key-dialog [value='payments:write']")
    scope = say(language, "take payments, settle and void them")
    expect(boss.locator("#key-dialog .check", has_text=scope)).to_be_visible()
    boss.click("#key-dialog .primary")
    expect(boss.locator("[data-show=key]")).to_have_text(re.compile(r"^paycall_[\w-]{43}$"))
    key = boss.locator("[data-show=key]").inner_text()
    boss.click("#new-key-dialog .primary")
    row = boss.locator("tbody tr", has_text=name)
    expect(row).to_contain_text(say(language, "no end"))
    assert key not in boss.content()
    boss.click("[data-opens=webhook-dialog]")
    boss.fill("#webhook-dialog [name=url]", "http://shop.example/hook")
    boss.click("#webhook-dialog .primary")
    bad = say(language, "Events can only be sent to an https:// address that is reachable from outside.")
    expect(boss.locator("#webhook-dialog [data-error]")).to_have_text(bad)
    boss.fill("#webhook-dialog [name=url]", hook)
    boss.click("#webhook-dialog .primary")
    expect(boss.locator("[data-show=secret]")).to_contain_text("whsec_")
    boss.click("#new-webhook-dialog .primary")
    article = boss.locator("article", has_text=hook)
    article.locator("button", has_text=say(language, "Send a test")).click()
    expect(article.locator("tbody tr")).to_contain_text("webhook.test")
    row.locator("button", has_text=say(language, "Revoke")).click()
    expect(boss.locator("#revoke-dialog h2")).to_have_text(say(language, "Revoke the key?"))
    boss.click("#revoke-dialog [value=yes]")
    expect(row.locator(".tag.bad")).to_have_text(say(language, "Revoked"))


def test_the_board_works_in_the_frame_of_a_program_that_may(desk: Desk, crm: str, language: str) -> None:
    name = f"ben-{language}-{next(_COUNT)}"
    phone = f"sip:{name}@pbx.example"
    desk.world.add(name, language=language, agent_uri=phone)
    page = desk.page(locale=language)
    page.remove_listener("request", desk._check_address)
    page.goto(f"{desk.server.url}/sign-in?next=/embed")
    _sign_in(page, name, world.PASSWORD)
    page.goto(f"{crm}/?{desk.server.url}/embed")
    board = page.frame_locator("iframe")
    expect(board.locator(".nobody h1")).to_have_text(say(language, "Ready for the next call"))
    assert board.locator(".nav").count() == 0
    call_id = desk.server.do(desk.world.cell.call_in(caller=f"+36{next(_COUNT):09}", agent_uri=phone))
    board.locator("#start-payment").press("F2")
    board.locator("#payment-dialog[open] [name=amount]").fill("19")
    board.locator("#payment-dialog [name=amount]").press("Enter")
    board.locator(STATE.format("capturing")).wait_for()
    desk.server.do(desk.world.cell.press(call_id, 5, "visa"))
    expect(board.locator(f"{NUMBER} field-dots i.on")).to_have_count(5)
    expect(board.locator(".line.is-masked .line-word")).to_have_text(say(language, "Masked"))
    desk.server.do(desk.world.cell.end(call_id))
    expect(board.locator(STATE.format("cancelled"))).to_be_visible()
