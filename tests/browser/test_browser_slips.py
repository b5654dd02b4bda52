"""What is done in passing and must not go wrong unseen: errors without a place, names and phones, new invitations."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Desk


def test_an_error_is_seen_wherever_it_happens_and_the_tab_says_that_it_rings(desk: Desk) -> None:
    page = desk.sign_in()
    resting = page.title()
    call_id = desk.server.do(desk.world.cell.ring(caller="+3612345678"))
    expect(page).to_have_title(f"Ringing: +3612345678 – {resting}")
    desk.server.do(desk.world.cell.answer(call_id))
    expect(page).to_have_title(f"In a call: +3612345678 – {resting}")
    lost = desk.world.cell.calls.pop(call_id)  # its cell has just gone: it cannot hang up
    page.click("#hang-up")
    page.click("#hang-up-dialog [value=yes]")
    expect(page.locator("#trouble")).to_contain_text("does not exist any more")
    desk.world.cell.calls[call_id] = lost
    page.click("#hang-up")
    page.click("#hang-up-dialog [value=yes]")
    page.wait_for_selector(".call-head.ended")
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page).to_have_title(resting)


def test_a_name_and_a_phone_are_changed_and_an_invitation_is_asked_about(desk: Desk) -> None:
    boris = desk.world.add("boris", display_name='Boris "B" O\'Neil')
    page = desk.sign_in()
    page.goto(f"{desk.server.url}/people")
    row = page.locator(f"#person-{boris}")
    row.locator("[data-opens=edit-dialog]").click()
    expect(page.locator("#edit-dialog [name=display_name]")).to_have_value('Boris "B" O\'Neil')
    page.fill("#edit-dialog [name=display_name]", "Boris Oneil")
    page.fill("#edit-dialog [name=agent_uri]", "sip:boris@pbx.example")
    page.press("#edit-dialog [name=agent_uri]", "Enter")
    expect(row).to_contain_text("sip:boris@pbx.example")
    expect(row).to_contain_text("Boris Oneil")
    row.get_by_text("New invitation").click()
    page.wait_for_selector("#invite-dialog[open]")
    page.keyboard.press("Enter")  # back: the password is still good
    expect(page.locator("#invitation-dialog")).to_be_hidden()
    row.get_by_text("New invitation").click()
    page.click("#invite-dialog [value=yes]")
    expect(page.locator("[data-show=invitation]")).to_contain_text("/invitation/")
