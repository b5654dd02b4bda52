"""What an administrator does, and what others see of paycall in their own programs: in every language."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from paycall.panel.languages import LANGUAGES
from tests.browser.seats import NUMBER, PASSWORD, Seat, Site, come_in, key_card, sign_in, start
from tests.browser.stage import GOOD, STATE, say
from tests.fakes.webhook_receiver import Receiver
from tests.phones.site import until

# Whom a new operator chooses another language and other colours with.
OTHER = {"en": "uk", "ru": "hu", "uk": "en", "hu": "ru"}


@pytest.fixture
def bosses(site: Site) -> dict[str, Page]:
    """The administrators' pages, by language."""
    return {language: site.board("administrator", language) for language in LANGUAGES}


@pytest.fixture
def receivers() -> Iterator[dict[str, Receiver]]:
    """Programs that are told of what happens, by the language of who set them up."""
    made = {language: Receiver() for language in LANGUAGES}
    yield made
    for receiver in made.values():
        receiver.close()


def test_somebody_is_invited_locked_in_the_middle_let_in_again_and_made_a_supervisor(
    site: Site, visitors: list[Seat], bosses: dict[str, Page]
) -> None:
    url = site.desk.stack.panel_url
    for seat in visitors:
        _is_invited(seat, bosses[seat.language])
        _comes_for_the_first_time(seat)
    come_in(visitors)
    start(visitors)
    for seat in visitors:
        seat.key("42")
        expect(seat.page.locator(f"{NUMBER} field-dots i.on")).to_have_count(2)
        row = bosses[seat.language].locator("tbody tr", has_text=seat.name)
        row.locator("button", has_text=say(seat.language, "Lock")).click()
        expect(row.locator(".tag.bad")).to_have_text(say(seat.language, "Locked"))
        seat.page.reload()
        seat.page.wait_for_url("**/sign-in**")
        row.locator("button", has_text=say(seat.language, "Unlock")).click()
        expect(row.locator(".tag.bad")).to_have_count(0)
        sign_in(seat.page, seat.name)
        # The line has stayed masked, and nothing that was keyed is lost.
        expect(seat.page.locator(".line.is-masked")).to_be_visible()
        seat.key("42")
        expect(seat.page.locator(f"{NUMBER} field-dots i.on")).to_have_count(4)
    for seat in visitors:
        row = bosses[seat.language].locator("tbody tr", has_text=seat.name)
        row.locator("select").select_option(label=say(seat.language, "Supervisor"))
        expect(row.locator("option:checked")).to_have_text(say(seat.language, "Supervisor"))
        until(lambda name=seat.name: _role(site, name) == "supervisor", what="other role")
        seat.page.goto(f"{url}/sign-in")  # another role is another session
        sign_in(seat.page, seat.name)
        expect(seat.page.locator(".nav a", has_text=say(seat.language, "Reports"))).to_be_visible()
        expect(seat.page.locator(".call-item")).to_have_count(len(visitors))


def _role(site: Site, name: str) -> str:
    people = site.desk.get("/operators")["operators"]
    return next(str(person["role"]) for person in people if person["name"] == name)


def _is_invited(seat: Seat, boss: Page) -> None:
    boss.goto(f"{seat.site.desk.stack.panel_url}/people")
    boss.click("[data-opens=add-dialog]")
    expect(boss.locator("#add-dialog h2")).to_have_text(say(seat.language, "Add somebody"))
    boss.fill("#add-dialog [name=name]", seat.name)
    boss.select_option("#add-dialog [name=language]", OTHER[seat.language])
    boss.click("#add-dialog .primary")
    link = boss.locator("[data-show=invitation]")
    expect(link).to_contain_text("/invitation/")
    seat.page.goto(link.inner_text())
    boss.click("#invitation-dialog .primary")


def _comes_for_the_first_time(seat: Seat) -> None:
    page, other = seat.page, OTHER[seat.language]
    expect(page.locator("h1")).to_have_text(say(seat.language, "Welcome to %(site)s", site="paycall"))
    page.fill("[name=password]", "onlylettershere")
    page.press("[name=password]", "Enter")
    weak = "At least 12 characters with letters and digits, and none of your last four passwords."
    expect(page.locator("[role=alert]")).to_have_text(say(seat.language, weak))
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    # What the administrator wrote down counts, until one says oneself what one reads and likes.
    expect(page.locator(".nav a")).to_have_text([say(other, "Calls"), say(other, "History")])
    page.goto(f"{seat.site.desk.stack.panel_url}/account")
    page.select_option("[name=theme]", "dark")
    page.select_option("[name=language]", seat.language)
    page.click("form:has([name=theme]) button")
    expect(page.locator("h1")).to_have_text(say(seat.language, "Your account"))
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.goto(seat.site.desk.stack.panel_url)
    page.wait_for_selector("#connection[data-state=live]")


def test_a_name_and_a_phone_are_changed_and_a_new_invitation_is_asked_about(
    site: Site, visitors: list[Seat], bosses: dict[str, Page]
) -> None:
    for seat in visitors:
        named, renamed = f'"{seat.language}" O\'Neil', f"{seat.language} Oneil"
        phone = f"sip:{seat.name}@pbx.example"
        site.join(seat.page, seat.name, seat.language)
        site.change(seat.name, display_name=named)
        boss = bosses[seat.language]
        boss.goto(f"{site.desk.stack.panel_url}/people")
        row = boss.locator("tbody tr", has_text=seat.name)
        row.locator("[data-opens=edit-dialog]").click()
        expect(boss.locator("#edit-dialog [name=display_name]")).to_have_value(named)
        boss.fill("#edit-dialog [name=display_name]", renamed)
        boss.fill("#edit-dialog [name=agent_uri]", phone)
        boss.press("#edit-dialog [name=agent_uri]", "Enter")
        expect(row).to_contain_text(phone)
        expect(row).to_contain_text(renamed)
        row.locator("button", has_text=say(seat.language, "New invitation")).click()
        boss.wait_for_selector("#invite-dialog[open]")
        boss.keyboard.press("Enter")  # back: the password is still good
        expect(boss.locator("#invitation-dialog")).to_be_hidden()
        row.locator("button", has_text=say(seat.language, "New invitation")).click()
        boss.click("#invite-dialog [value=yes]")
        expect(boss.locator("[data-show=invitation]")).to_contain_text("/invitation/")
        boss.click("#invitation-dialog .primary")
        seat.page.reload()
        seat.page.wait_for_url("**/sign-in**")


def test_a_program_takes_a_payment_by_its_key_and_is_told_what_becomes_of_it(
    site: Site, seats: list[Seat], bosses: dict[str, Page], receivers: dict[str, Receiver]
) -> None:
    keys, secrets = {}, {}
    for seat in seats:
        boss = bosses[seat.language]
        boss.goto(f"{site.desk.stack.panel_url}/programs")
        keys[seat.language] = _makes_a_key(seat, boss)
        secrets[seat.language] = _makes_a_webhook(seat, boss, receivers[seat.language])
    come_in(seats)
    for seat in seats:
        calls = _asks(seat, keys[seat.language], "GET", "/calls").json()["calls"]
        (call,) = [call for call in calls if call["caller"] == seat.number]
        assert call["id"] == seat.call_id()
        paid = {"amount_minor": seat.amount_minor, "currency": "EUR", "reference": seat.reference}
        answer = _asks(seat, keys[seat.language], "POST", f"/calls/{call['id']}/payments", **paid)
        assert answer.status_code == 201, answer.text
    for seat in seats:
        seat.shows("capturing")  # the operator sees what the program has begun
    key_card(seats, GOOD)
    for seat in seats:
        seat.page.wait_for_selector("#charge")
        for what, status in (("authorize", 202), ("refund", 403)):  # the scope says what it may
            path = f"/payments/{seat.payment_id()}/{what}"
            assert _asks(seat, keys[seat.language], "POST", path).status_code == status
    for seat in seats:
        seat.shows("settled")
    for seat in seats:
        receiver = receivers[seat.language]
        told = until(lambda seat=seat, of=receiver: _told(of, seat), what="event of the settled payment")
        for headers, body in told:
            assert headers["webhook-signature"] == _signature(secrets[seat.language], headers, body)
        assert GOOD not in str(told)
        _takes_away(seat, bosses[seat.language], receiver)
        assert _asks(seat, keys[seat.language], "GET", "/calls").status_code == 401


def _makes_a_key(seat: Seat, boss: Page) -> str:
    boss.click("[data-opens=key-dialog]")
    boss.fill("#key-dialog [name=name]", f"shop-{seat.reference}")
    boss.check("#key-dialog [value='calls:read']")
    boss.check("#key-dialog [value='payments:write']")
    scope = say(seat.language, "take payments, settle and void them")
    expect(boss.locator("#key-dialog .check", has_text=scope)).to_be_visible()
    boss.click("#key-dialog .primary")
    expect(boss.locator("[data-show=key]")).to_have_text(re.compile(r"^paycall_[\w-]{43}$"))
    made = boss.locator("[data-show=key]").inner_text()
    with boss.expect_navigation():  # before its script runs again no button does anything
        boss.click("#new-key-dialog .primary")
    row = boss.locator("tbody tr", has_text=f"shop-{seat.reference}")
    expect(row).to_contain_text(say(seat.language, "no end"))
    assert made not in boss.content()
    return made


def _makes_a_webhook(seat: Seat, boss: Page, receiver: Receiver) -> str:
    boss.click("[data-opens=webhook-dialog]")
    boss.fill("#webhook-dialog [name=url]", "http://shop.example/hook")
    boss.click("#webhook-dialog .primary")
    bad = "Events can only be sent to an https:// address that is reachable from outside."
    expect(boss.locator("#webhook-dialog [data-error]")).to_have_text(say(seat.language, bad))
    boss.fill("#webhook-dialog [name=url]", receiver.url)
    boss.click("#webhook-dialog .primary")
    expect(boss.locator("[data-show=secret]")).to_contain_text("whsec_")
    secret = boss.locator("[data-show=secret]").inner_text()
    with boss.expect_navigation():
        boss.click("#new-webhook-dialog .primary")
    article = boss.locator("article", has_text=receiver.url)
    article.locator("button", has_text=say(seat.language, "Send a test")).click()
    expect(article.locator("tbody tr")).to_contain_text("webhook.test")
    return secret


def _asks(seat: Seat, made: str, method: str, path: str, **body: object) -> httpx.Response:
    """The program asks the panel."""
    headers = {"authorization": f"Bearer {made}", "idempotency-key": seat.reference}
    url = f"{seat.site.desk.stack.panel_url}/api/v1{path}"
    return httpx.request(method, url, json=body or None, headers=headers, timeout=40, trust_env=False)


def _told(receiver: Receiver, seat: Seat) -> list[tuple[dict[str, str], bytes]] | None:
    """What the program was told of this seat's payment, once that is settled."""
    events = [(headers, body, json.loads(body)) for headers, body in list(receiver.got)]
    ours = [each for each in events if each[2]["data"].get("reference") == seat.reference]
    settled = any(event["type"] == "payment.settled" for _, _, event in ours)
    return [(headers, body) for headers, body, _ in ours] if settled else None


def _signature(secret: str, headers: dict[str, str], body: bytes) -> str:
    """By https://www.standardwebhooks.com, written down again."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _takes_away(seat: Seat, boss: Page, receiver: Receiver) -> None:
    """What was sent is on the page; then the key is revoked, and the webhook removed."""
    desk = seat.site.desk
    (webhook,) = [w for w in desk.get("/webhook-subscriptions")["webhooks"] if w["url"] == receiver.url]
    path = f"/webhook-subscriptions/{webhook['id']}/deliveries"
    until(lambda: {d["state"] for d in desk.get(path)["deliveries"]} == {"delivered"}, what="last delivery")
    boss.reload()
    article = boss.locator("article", has_text=receiver.url)
    row = article.locator("tbody tr", has=boss.locator("code", has_text="payment.settled")).first
    expect(row.locator(".state")).to_have_text(say(seat.language, "Delivered"))
    row = boss.locator("tbody tr", has_text=f"shop-{seat.reference}")
    row.locator("button", has_text=say(seat.language, "Revoke")).click()
    expect(boss.locator("#revoke-dialog h2")).to_have_text(say(seat.language, "Revoke the key?"))
    boss.click("#revoke-dialog [value=yes]")
    expect(row.locator(".tag.bad")).to_have_text(say(seat.language, "Revoked"))
    article.locator("button", has_text=say(seat.language, "Remove")).click()
    expect(boss.locator("#remove-dialog h2")).to_have_text(say(seat.language, "Remove the webhook?"))
    boss.click("#remove-dialog [value=yes]")
    expect(article).to_have_count(0)


def test_the_board_works_in_the_frame_of_a_program_that_may(
    site: Site, seats: list[Seat], crm_url: str
) -> None:
    boards = {}
    for seat in seats:
        seat.page.goto(f"{crm_url}/?{site.desk.stack.panel_url}/embed")
        boards[seat.language] = seat.page.frame_locator("iframe")
        waiting = boards[seat.language].locator(".nobody h1")
        expect(waiting).to_have_text(say(seat.language, "Ready for the next call"))
        assert boards[seat.language].locator(".nav").count() == 0
        seat.dials()
    for seat in seats:
        board = boards[seat.language]
        expect(board.locator("#front-call.connected")).to_contain_text(seat.number)
        board.locator("#start-payment").press("F2")
        amount = board.locator("#payment-dialog[open] [name=amount]")
        amount.fill(seat.typed(seat.amount_minor))
        amount.press("Enter")
    for seat in seats:
        boards[seat.language].locator(f"{STATE.format('capturing')} {NUMBER}.collecting").wait_for()
        seat.key("42424")
    for seat in seats:
        board = boards[seat.language]
        expect(board.locator(f"{NUMBER} field-dots i.on")).to_have_count(5)
        expect(board.locator(".line.is-masked .line-word")).to_have_text(say(seat.language, "Masked"))
    site.hang_up()
    for seat in seats:
        expect(boards[seat.language].locator(STATE.format("cancelled"))).to_be_visible()
