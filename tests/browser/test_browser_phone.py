"""The operator's phone on the screen: a link code that brings the call to the front, and a call that is dialled."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from sqlalchemy import select

from paycall.control import messages as m
from paycall.domain.call import EndReason
from paycall.panel.roles import Role
from paycall.store.database import writing
from paycall.store.tables import OperatorRow
from tests.browser.conftest import Desk

QUEUE = "sip:queue@pbx.example"


def test_a_link_code_stays_on_the_screen_until_the_call_is_there(desk: Desk) -> None:
    page = desk.sign_in(name="ben", role=Role.OPERATOR)
    page.click("#link-code")
    expect(page.locator("#link-code-shown")).to_have_text(re.compile(r"^\d{4}$"))
    assert page.locator("#link-code-shown").inner_text() in desk.world.cell.link_codes.values()
    call_id = desk.server.do(desk.world.cell.call_in(caller="+36301112233", agent_uri=QUEUE))
    expect(
        page.locator("#front-call")
    ).to_be_visible()  # free as yet: the code has to outlive the board's change
    expect(page.locator("#link-code-shown")).to_be_visible()
    [link_id] = desk.world.cell.link_codes
    desk.server.do(desk.world.cell.say(m.LinkCodeKeyed(call_id=call_id, link_id=link_id)))
    expect(page.locator("#link-code-shown")).to_be_hidden()
    expect(page.locator(f'#front-call[data-front="{call_id}"]')).to_be_visible()
    # handed on inside the PBX: the screen says to which phone
    desk.server.do(desk.world.cell.say(m.CallTransferred(call_id=call_id, agent_uri="sip:305@pbx.example")))
    expect(page.locator("#front-phone")).to_contain_text("305@pbx.example")
    assert desk.complaints == []


def test_a_call_is_dialled_and_what_becomes_of_it_is_shown(desk: Desk) -> None:
    page = desk.sign_in(name="ben", role=Role.OPERATOR)
    page.click("#dial")
    page.fill("#dial-dialog input[name=to]", "+36 30 111 2233")
    page.click("#dial-dialog .primary")
    expect(page.locator("#dial-dialog [data-error]")).to_have_text(
        "Your account has no phone. An administrator can enter one."
    )
    with writing(desk.world.database) as session:
        ben = session.scalars(select(OperatorRow).where(OperatorRow.name == "ben")).one()
        ben.agent_uri = "sip:ben@pbx.example"
    page.click("#dial-dialog .primary")
    expect(page.locator("#front-call")).to_contain_text("+36301112233")
    expect(page.locator("#front-call")).to_contain_text("You call")
    [call_id] = desk.world.cell.calls
    desk.server.do(desk.world.cell.end(call_id, EndReason.BUSY))
    expect(page.locator("#front-call")).to_contain_text("Busy")
    assert desk.complaints == []
