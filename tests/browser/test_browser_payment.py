"""What becomes of a payment's page when something is in the way: keys, a second call, the panel, the network, a role.

The real panel with cells and a vault that do what a test says; the stories with real calls are in the modules beside.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from paycall.domain.call import EndReason
from paycall.panel.languages import LANGUAGES
from paycall.panel.roles import Role
from paycall.settings import PanelSettings
from tests.browser.conftest import Desk
from tests.browser.stage import STATE, say
from tests.fakes.panel_server import PanelServer
from tests.fakes.panel_world import APPROVED, WRONG_CODE


def _start(page: Page, amount: str = "19.99") -> None:
    """Start a payment by keyboard alone."""
    page.wait_for_selector("#start-payment")
    page.keyboard.press("F2")
    page.wait_for_selector("#payment-dialog[open]")
    page.keyboard.type(amount)
    page.keyboard.press("Enter")
    page.wait_for_selector(STATE.format("capturing"))


def _dots(page: Page, field: str) -> int:
    return page.locator(f"#field-{field} field-dots i.on").count()


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_what_is_wrong_is_said_in_words(desk: Desk, language: str) -> None:
    page, cell = desk.sign_in(language=language), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    _start(page)
    wrong = page.locator(".field-error")
    texts = {
        "invalid-card-type": "This kind of card is not accepted. Ask for another card.",
        "input-timeout": "No key came in time. Ask the caller to start this field again.",
    }
    for error, text in texts.items():
        desk.server.do(cell.fail(call_id, error))
        expect(wrong).to_contain_text(say(language, text))
    desk.server.do(cell.key(call_id, WRONG_CODE))
    desk.server.do(cell.fail(call_id, "invalid-date"))
    over = say(language, "The date is not right or is over. Ask for month and year, four digits.")
    expect(wrong).to_contain_text(over)
    desk.server.do(cell.key(call_id, "1230", "999"))
    page.click("#charge")
    page.wait_for_selector(STATE.format("declined"))
    page.click("#step-key_code_again")
    page.wait_for_selector("#field-security-code.collecting")
    assert _dots(page, "expiration-date") == 4, "the other fields are kept"


def test_a_new_call_comes_to_the_front_but_not_over_a_payment(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    first = desk.server.do(cell.call_in(caller="+361"))
    expect(page.locator("h1.caller")).to_have_text("+361")
    _start(page)
    second = desk.server.do(cell.call_in(caller="+362"))
    expect(page.locator(".call-item")).to_have_count(2)
    expect(page.locator("h1.caller")).to_have_text("+361")
    desk.server.do(cell.end(first, EndReason.CALLER_HUNG_UP))
    expect(page.locator("h1.caller")).to_have_text("+362")
    assert second in page.locator("[data-front]").get_attribute("data-front")  # type: ignore[operator]


def test_the_same_card_again_is_asked_about_and_can_be_refunded(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    for turn in range(2):
        call_id = desk.server.do(cell.call_in(caller="+361"))
        _start(page)
        desk.server.do(cell.key(call_id, APPROVED, "1230", "123"))
        page.wait_for_selector("#charge")
        page.keyboard.press("F2")
        if turn == 1:
            page.wait_for_selector("#duplicate-dialog[open]")
            page.click("#duplicate-dialog [value=yes]")
        page.wait_for_selector(STATE.format("settled"))
        if turn == 0:
            desk.server.do(cell.end(call_id))
    page.click("#refund")
    page.fill("#refund-dialog [name=amount]", "5")
    page.click("#refund-dialog .danger-solid")
    page.wait_for_selector(STATE.format("partly_refunded"))
    expect(page.locator(".result")).to_contain_text("€5.00")


def test_the_panel_restarts_under_a_capture_and_the_page_comes_back(desk: Desk) -> None:
    page = desk.sign_in()
    call_id = desk.server.do(desk.world.cell.call_in())
    _start(page)
    desk.server.do(desk.world.cell.key(call_id, APPROVED))
    desk.server.restart(down_s=1.0)
    cell = desk.server.world.cell
    page.wait_for_selector("#connection[data-state=live]", timeout=15_000)
    expect(page.locator("#field-payment-card-number.stored")).to_be_visible()
    desk.server.do(cell.press(call_id, 2))
    expect(page.locator("#field-expiration-date field-dots i.on")).to_have_count(2)
    desk.server.do(cell.key(call_id, "1230", "123"))
    page.wait_for_selector("#charge")


def test_a_lost_connection_is_shown_and_the_true_state_comes_back(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    _start(page)
    page.context.set_offline(True)
    desk.server.do(_cut_streams(desk))
    page.wait_for_selector("#connection[data-state=stale]", timeout=15_000)
    expect(page.locator("#stale")).to_be_visible()
    desk.server.do(cell.key(call_id, APPROVED, "1230", "123"))
    page.context.set_offline(False)
    page.wait_for_selector("#charge", timeout=15_000)
    expect(page.locator("#stale")).not_to_be_visible()
    page.click("#charge")
    page.wait_for_selector(STATE.format("settled"))
    assert len(desk.world.vault.authorizations) == 1


async def _cut_streams(desk: Desk) -> None:
    """What a broken network does to connections that are open already."""
    stream = desk.server.world.app.state.context.stream
    for queue in tuple(stream._followers):
        stream._cut(queue)


def test_an_auditor_watches_and_has_no_buttons(desk: Desk) -> None:
    operator = desk.sign_in("anna", Role.OPERATOR)
    auditor = desk.sign_in("lex", Role.AUDITOR)
    call_id = desk.server.do(desk.world.cell.call_in())
    _start(operator)
    auditor.wait_for_selector(STATE.format("capturing"))
    desk.server.do(desk.world.cell.press(call_id, 3))
    expect(auditor.locator("#field-payment-card-number field-dots i.on")).to_have_count(3)
    assert auditor.locator("#payment button, #start-payment, #hang-up").count() == 0


def test_an_operator_does_not_get_anothers_call_in_front(desk: Desk) -> None:
    desk.world.add("owner", agent_uri="sip:owner@pbx.example")
    page = desk.sign_in("anna", Role.OPERATOR)
    desk.server.do(desk.world.cell.call_in(caller="+3600", agent_uri="sip:owner@pbx.example"))
    desk.server.do(desk.world.cell.call_in(caller="+3611"))
    expect(page.locator("h1.caller")).to_have_text(re.compile(r"\+3611"))
    expect(page.locator(".call-item")).to_have_count(1)


def test_the_caller_s_language_is_chosen_where_the_site_wants_that(
    tmp_path: Path, chromium: Browser, desk: Desk
) -> None:
    page = desk.sign_in()
    desk.server.do(desk.world.cell.call_in())
    page.wait_for_selector("#start-payment")
    expect(page.locator("#payment-dialog [name=caller_language]")).to_have_count(0)
    with PanelServer(tmp_path / "languages", PanelSettings(caller_languages=True)) as server:
        other = Desk(server, chromium)
        page = other.sign_in()
        call_id = server.do(other.world.cell.call_in())
        page.wait_for_selector("#start-payment")
        page.keyboard.press("F2")
        page.wait_for_selector("#payment-dialog[open]")
        page.keyboard.type("19.99")
        page.select_option("#payment-dialog [name=caller_language]", "uk")
        page.click("#payment-dialog .primary")
        page.wait_for_selector(STATE.format("capturing"))
        capture = other.world.cell.calls[call_id].capture
        assert capture is not None
        assert capture.rules.language == "uk"
        other.close()
