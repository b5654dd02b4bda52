"""What others try, in a real browser: a foreign page that acts or frames, a session that was fixed before.

Markup in what others type is tried on every page in ``test_browser_pages``.
"""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, Route, expect

from tests.browser.seats import PASSWORD, Seat, Site, come_in, sign_in

FOREIGN = "http://127.0.0.2/"  # another site than 127.0.0.1


def _serve(seat: Seat, html: str) -> Page:
    """The foreign site's page, in the browser of somebody who is signed in."""

    def answer(route: Route) -> None:
        route.fulfill(body=html, content_type="text/html")

    page = seat.page.context.new_page()
    page.route(f"{FOREIGN}**", answer)
    page.goto(FOREIGN)
    return page


def test_another_sites_form_and_script_end_no_call(site: Site, seats: list[Seat]) -> None:
    come_in(seats)
    for seat in seats:
        url = f"{site.desk.stack.panel_url}/api/v1/calls/{seat.call_id()}/hang-up"
        foreign = _serve(
            seat,
            f"""<form method=post action="{url}" enctype="text/plain"></form>
            <script>fetch("{url}", {{method: "POST", mode: "no-cors", credentials: "include"}})
              .catch(() => 0).then(() => document.forms[0].submit())</script>""",
        )
        foreign.wait_for_url(url)
        assert "cross-site" in foreign.content()
        foreign.close()
    connected = {call["id"] for call in site.desk.get("/calls")["calls"] if call["state"] == "connected"}
    assert connected == {seat.call_id() for seat in seats}
    for seat in seats:
        expect(seat.page.locator("#front-call.connected")).to_contain_text(seat.number)


def test_another_site_can_not_frame_the_panel(site: Site, seats: list[Seat]) -> None:
    url = site.desk.stack.panel_url
    for seat in seats:
        foreign = _serve(seat, f'<iframe src="{url}/"></iframe><iframe src="{url}/embed"></iframe>')
        assert len(foreign.frames) == 3
        for frame in foreign.frames[1:]:
            assert frame.url.startswith("chrome-error:") or frame.locator("#board").count() == 0
        foreign.close()


def test_a_session_that_somebody_set_before_is_not_the_one_after(site: Site, visitors: list[Seat]) -> None:
    url = site.desk.stack.panel_url
    for seat in visitors:
        context = seat.page.context
        httpx.post(site.invite(seat.name, seat.language), data={"password": PASSWORD}, timeout=40)
        context.add_cookies([{"name": "paycall_session", "value": "chosen", "url": url}])
        seat.page.goto(f"{url}/sign-in?next=https://evil.example/")
        sign_in(seat.page, seat.name)
        assert seat.page.url == f"{url}/"
        (cookie,) = [c for c in context.cookies() if c["name"] == "paycall_session"]
        assert cookie["value"] != "chosen" and cookie["httpOnly"]
        assert seat.page.evaluate("document.cookie") == ""
