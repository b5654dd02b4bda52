"""The operator's stories in a browser: a call comes, a payment is taken, declined, tried again, approved."""

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
from tests.fakes.panel_world import APPROVED, DECLINED, NO_ANSWER, WRONG_CODE


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
def test_decline_retry_approved_by_keyboard_alone(desk: Desk, language: str) -> None:
    page, cell = desk.sign_in(language=language), desk.world.cell
    call_id = desk.server.do(cell.call_in(caller="+36301234567"))
    expect(page.locator("h1.caller")).to_have_text("+36301234567")
    _start(page, "19,99" if language != "en" else "19.99")
    expect(page.locator(".line.is-masked")).to_be_visible()
    for count in range(1, 8):
        desk.server.do(cell.press(call_id, count, "visa"))
    expect(page.locator("#field-payment-card-number field-dots i.on")).to_have_count(7)
    expect(page.locator("#field-payment-card-number .card-brand")).to_have_text("Visa")
    desk.server.do(cell.key(call_id, DECLINED, "1230", "123"))
    page.wait_for_selector(STATE.format("ready"))
    expect(page.locator("#field-payment-card-number field-dots")).to_have_attribute("aria-label", "•••• 0002")
    page.keyboard.press("F2")
    page.wait_for_selector(STATE.format("declined"))
    expect(page.locator(".say")).to_be_visible()
    expect(page.locator("#announcer")).not_to_be_empty()
    page.keyboard.press("F2")  # the first step that makes sense: another card
    page.wait_for_selector(STATE.format("capturing"))
    desk.server.do(cell.key(call_id, APPROVED, "1230", "123"))
    page.wait_for_selector(STATE.format("ready"))
    page.keyboard.press("F2")
    page.wait_for_selector(STATE.format("settled"))
    expect(page.locator(".code")).to_have_text("A1B2C3")
    expect(page.locator(".line.is-open")).to_be_visible()
    assert APPROVED not in page.content() and DECLINED not in page.content()


def test_what_is_wrong_is_said_in_words(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    _start(page)
    desk.server.do(cell.fail(call_id, "invalid-card-number", 15))
    expect(page.locator(".field-error")).to_contain_text("The number is 1 digit short.")
    desk.server.do(cell.key(call_id, WRONG_CODE, "1230"))
    desk.server.do(cell.fail(call_id, "input-timeout"))
    expect(page.locator(".field-error")).to_contain_text("No key came in time.")
    desk.server.do(cell.key(call_id, "999"))
    page.click("#charge")
    page.wait_for_selector(STATE.format("declined"))
    page.click("#step-key_code_again")
    page.wait_for_selector("#field-security-code.collecting")
    assert _dots(page, "expiration-date") == 4, "the other fields are kept"


def test_one_field_again_and_all_again(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    _start(page)
    desk.server.do(cell.key(call_id, APPROVED, "1230", "123"))
    page.wait_for_selector("#charge")
    page.click("#again-expiration-date")
    page.wait_for_selector("#field-expiration-date.collecting")
    desk.server.do(cell.key(call_id, "0131"))
    page.wait_for_selector("#charge")
    expect(page.locator("#field-expiration-date .shown")).to_have_text("01/31")
    page.keyboard.press("F8")
    page.wait_for_selector("#field-payment-card-number.collecting")
    assert _dots(page, "payment-card-number") == 0


def test_the_line_is_opened_on_the_operators_word_and_the_payment_goes_on(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    _start(page)
    desk.server.do(cell.key(call_id, APPROVED))
    page.wait_for_selector("#field-expiration-date.collecting")
    page.click("#open-line")
    page.click("#open-line-dialog [value=yes]")
    expect(page.locator(".line.is-open")).to_be_visible()
    expect(page.locator("#field-payment-card-number.stored")).to_be_visible()
    page.keyboard.press("F9")
    page.wait_for_selector("#field-expiration-date.collecting")
    expect(page.locator(".line.is-masked")).to_be_visible()
    desk.server.do(cell.key(call_id, "1230"))
    page.wait_for_selector("#again-security-code")
    page.keyboard.press("F10")
    page.wait_for_selector("#field-security-code.collecting")
    desk.server.do(cell.key(call_id, "123"))
    page.wait_for_selector("#charge")


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


def test_no_answer_says_what_is_being_done(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    _start(page)
    desk.server.do(cell.key(call_id, NO_ANSWER, "1230", "123"))
    page.wait_for_selector("#charge")
    page.click("#charge")
    page.wait_for_selector(STATE.format("unknown"))
    expect(page.locator(".result")).to_contain_text("Do not charge the card again")
    assert page.locator("#payment button").count() == 0


def test_wrong_amounts_are_refused_before_anything_is_masked(desk: Desk) -> None:
    page, cell = desk.sign_in(), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    page.click("#start-payment")
    for amount in ("abc", "0", "1.999", "1.000", "1 000.000", "-5"):
        page.fill("#payment-dialog [name=amount]", amount)
        page.click("#payment-dialog .primary")
        expect(page.locator("#payment-dialog [data-error]")).to_be_visible()
    assert not cell.calls[call_id].masked
    page.keyboard.press("Escape")
    expect(page.locator("#payment-dialog")).not_to_be_visible()


def test_a_test_call_by_button(desk: Desk) -> None:
    page, world = desk.sign_in(), desk.world
    page.click("#test-call")
    page.wait_for_timeout(300)
    call_id = desk.server.do(world.cell.call_in(test_call_id=world.test_calls.started[0]))
    expect(page.locator(".call-head .tag")).to_have_text("Test call")
    _start(page)
    assert world.test_calls.asked_for[0][0] == world.test_calls.started[0]
    page.click("#hang-up")
    page.click("#hang-up-dialog [value=yes]")
    expect(page.locator(".line.is-ended")).to_be_visible()
    assert call_id not in world.cell.calls


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


def test_a_recording_is_paused_and_goes_on_by_a_key(desk: Desk) -> None:
    page, cell = desk.sign_in(language="uk"), desk.world.cell
    call_id = desk.server.do(cell.call_in())
    page.wait_for_selector("#start-payment")
    assert page.locator("#recording").count() == 0, "what is not recorded cannot be paused"
    desk.server.do(cell.record(call_id, "on"))
    expect(page.locator("#recording .recording-state")).to_have_text(say("uk", "Recording"))
    page.keyboard.press("F3")
    expect(page.locator("#recording .recording-state")).to_have_text(say("uk", "Recording paused"))
    assert cell.calls[call_id].recording == "paused"
    page.keyboard.press("F3")
    expect(page.locator("#recording.on")).to_be_visible()
    assert cell.calls[call_id].recording == "on"


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
