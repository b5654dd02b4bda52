"""What others try, in a real browser: markup in every field, a foreign page that acts or frames, a fixed session."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from paycall.panel.roles import Role
from tests.browser.conftest import Desk
from tests.fakes.panel_world import PASSWORD, new_payment

NASTY = "\"'><img src=x onerror=document.title='pwned'><script>document.title='pwned'</script>{{7*7}}"
FOREIGN = "http://evil.example/"


async def _fill_everything(desk: Desk) -> str:
    """Markup in every field that takes free text; gives the payment."""
    boss = await desk.world.signed_in("anna")
    first = await desk.world.cell.call_in(caller=NASTY)
    payment = await new_payment(boss, first, reference=NASTY[:64], description=NASTY[:100])
    await desk.world.cell.end(first)
    second = await desk.world.cell.call_in(caller=NASTY)
    for method, path, body in (
        ("PUT", f"/calls/{second}/customer", {"name": NASTY[:100], "note": NASTY}),
        (
            "POST",
            "/operators",
            {"name": "mallory", "display_name": NASTY[:100], "agent_uri": "sip:'\"&#x27;@x"},
        ),
        ("POST", "/api-keys", {"name": NASTY[:100], "scopes": ["calls:read"]}),
        (
            "POST",
            "/webhook-subscriptions",
            {"url": "http://127.0.0.1:9/'\"%3Cimg/onerror=1%3E", "events": ["call.*"]},
        ),
    ):
        answer = await boss.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code in (200, 201), (path, answer.text)
    people = (await boss.get("/api/v1/operators")).json()["operators"]
    anna = next(person["id"] for person in people if person["name"] == "anna")
    await boss.patch(f"/api/v1/operators/{anna}", json={"display_name": NASTY[:100]})
    return str(payment["id"])


def test_markup_in_every_free_text_is_shown_and_never_run(desk: Desk) -> None:
    page = desk.sign_in()
    payment_id = desk.server.do(_fill_everything(desk))
    for path in (
        "/", "/embed", "/history", "/history?kind=calls", f"/history?q={NASTY}", f"/payments/{payment_id}",
        "/reports", "/people", "/programs", "/account", "/audit", "/docs", f"/sign-in?next={NASTY}",
    ):  # fmt: skip
        page.goto(desk.server.url + path)
        page.wait_for_timeout(50)
        assert page.title() != "pwned", path
        assert page.locator("img, main script").count() == 0, path
    page.goto(desk.server.url)
    page.click("#edit-customer")
    expect(page.locator("#customer-dialog [name=note]")).to_have_value(NASTY)
    page.keyboard.press("Escape")


@pytest.fixture
def foreign(desk: Desk) -> Page:
    """Anna is signed in; the page is another site's, in the same browser."""
    page = desk.sign_in("anna", Role.ADMINISTRATOR)
    page.remove_listener("request", desk._check_address)
    return page


def _serve(page: Page, html: str) -> None:
    def answer(route: Route) -> None:
        route.fulfill(body=html, content_type="text/html")

    page.route(f"{FOREIGN}**", answer)
    page.goto(FOREIGN)


def test_another_sites_form_and_script_change_nothing(desk: Desk, foreign: Page) -> None:
    url = f"{desk.server.url}/api/v1/test-calls"
    _serve(
        foreign,
        f"""<form method=post action="{url}" enctype="text/plain"></form>
        <script>fetch("{url}", {{method: "POST", mode: "no-cors", credentials: "include"}})
          .catch(() => 0).then(() => document.forms[0].submit())</script>""",
    )
    foreign.wait_for_url(url)
    assert "cross-site" in foreign.content() or "not-signed-in" in foreign.content()
    assert desk.world.test_calls.started == []


def test_another_site_can_not_frame_the_panel(desk: Desk, foreign: Page) -> None:
    _serve(
        foreign, f'<iframe src="{desk.server.url}/"></iframe><iframe src="{desk.server.url}/embed"></iframe>'
    )
    foreign.wait_for_timeout(500)
    for frame in foreign.frames[1:]:
        assert frame.url.startswith("chrome-error:") or frame.locator("#board").count() == 0


def test_a_session_that_somebody_set_before_is_not_the_one_after(desk: Desk) -> None:
    desk.world.add("boris")
    page = desk.page()
    page.context.add_cookies([{"name": "paycall_session", "value": "chosen", "url": desk.server.url}])
    page.goto(f"{desk.server.url}/sign-in?next=https://evil.example/")
    page.fill("[name=name]", "boris")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_selector("#connection[data-state=live]")
    assert page.url == f"{desk.server.url}/"
    (cookie,) = [c for c in page.context.cookies() if c["name"] == "paycall_session"]
    assert cookie["value"] != "chosen" and cookie["httpOnly"]
    assert page.evaluate("document.cookie") == ""
