"""The operator's phone on the screen: calls that are dialled, paid in, handed on in the PBX; customers who are busy.

On the real stack: each operator's phone is a socket of SIP of its own, the carrier and its customers are sipp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import expect

from tests.browser.seats import CODE, EXPIRY, NUMBER, Seat, Site, charge, start
from tests.browser.stage import GOOD, say
from tests.phones import sipp
from tests.phones.lines import OperatorsPhone
from tests.phones.plain_agent import PlainAgent
from tests.phones.rtp import RtpPort, free_port

_RINGS_MS = 4_000  # long enough to be seen on four screens


@contextmanager
def _phones(seats: Sequence[Seat]) -> Iterator[dict[str, PlainAgent]]:
    """A phone that answers for each operator, in the accounts; by the operator's name."""
    rtp, phones = RtpPort(), {}
    try:
        for seat in seats:
            port = free_port()
            phones[seat.name] = PlainAgent(port, sipp.sdp(rtp.port))
            seat.site.change(seat.name, agent_uri=f"sip:{seat.name}@127.0.0.1:{port}")
        yield phones
    finally:
        for seat in seats:
            seat.site.change(seat.name, agent_uri="")
        seats[0].site.hang_up()
        for phone in phones.values():
            phone.close()
        rtp.close()


def test_a_call_is_dialled_and_paid_in_and_handed_on_and_a_busy_customer_is_said(
    site: Site, seats: list[Seat], carrier_port: int
) -> None:
    for seat in seats:
        seat.page.click("#dial")
        seat.page.fill("#dial-dialog [name=to]", f"{seat.number[:3]} {seat.number[3:5]} {seat.number[5:]}")
        seat.page.click("#dial-dialog .primary")
        without = say(seat.language, "Your account has no phone. An administrator can enter one.")
        expect(seat.page.locator("#dial-dialog [data-error]")).to_have_text(without)
    with _phones(seats) as phones:
        customers = OperatorsPhone(carrier_port, ring_ms=_RINGS_MS)
        try:
            _customers_answer(seats, customers)
            _handed_on(seats, phones, f"sip:305@127.0.0.1:{site.desk.stack.agent_port}")
            _hang_up_without_a_connection(seats)
        finally:
            customers.close()
        _customers_are_busy(seats, carrier_port)


def _handed_on(seats: Sequence[Seat], phones: dict[str, PlainAgent], uri: str) -> None:
    """The operator's phone gives the call to another one: the screen says which, and the call is still theirs."""
    for seat in seats:
        assert phones[seat.name].refer(f"<{uri}>") == 202
    for seat in seats:
        where = say(seat.language, "On the phone %(where)s", where=uri)
        expect(seat.page.locator("#front-phone")).to_have_text(where)
        expect(seat.page.locator("h1.caller")).to_have_text(seat.number)


def _customers_answer(seats: Sequence[Seat], customers: OperatorsPhone) -> None:
    """The own phone rings, then the customer's, as the tab says; the card is keyed there."""
    for count, seat in enumerate(seats, 1):
        seat.page.click("#dial-dialog .primary")
        _says_in_its_tab(seat, "Ringing")
        # The next one dials when this customer's phone rings: so whose call is which is known by their order.
        customers.answered(count)
    for seat in seats:
        _says_in_its_tab(seat, "In a call")
        front = seat.page.locator("#front-call.connected")
        expect(front.locator("h1.caller")).to_have_text(seat.number)
        expect(front.locator(".tag")).to_have_text(say(seat.language, "You call"))
        assert seat.site.desk.get(f"/calls/{seat.call_id()}")["direction"] == "outbound"
    start(seats)
    for place, keys in ((NUMBER, f"{GOOD}#"), (EXPIRY, "1230"), (CODE, "123")):
        for count, seat in enumerate(seats, 1):
            seat.page.wait_for_selector(f"{place}.collecting")
            customers.key(keys, customers.answered(count))
    charge(seats, "settled")
    for seat in seats:
        assert seat.payment()["card"]["last4"] == GOOD[-4:]


def _says_in_its_tab(seat: Seat, state: str) -> None:
    expect(seat.page).to_have_title(
        re.compile(f"^{re.escape(f'{say(seat.language, state)}: {seat.number}')} – ")
    )


def _hang_up_without_a_connection(seats: Sequence[Seat]) -> None:
    """What fails is said although its button has no place for it, until it works."""
    for seat in seats:
        page, trouble = seat.page, seat.page.locator("#trouble")
        page.context.set_offline(True)
        page.click("#hang-up")
        page.click("#hang-up-dialog [value=yes]")
        expect(trouble).to_have_text(
            say(seat.language, "The panel could not be reached. Check the connection and try again.")
        )
        page.context.set_offline(False)
        page.click("#hang-up")
        page.click("#hang-up-dialog [value=yes]")
        page.wait_for_selector(".call-head.ended")
        expect(trouble).to_be_hidden()
        expect(page).to_have_title(re.compile(f"^{say(seat.language, 'Calls')} – "))


def _customers_are_busy(seats: Sequence[Seat], carrier_port: int) -> None:
    busy = sipp.Sipp(sipp.refusing("486 Busy Here"), carrier_port, calls=50)
    try:
        for seat in seats:
            seat.page.click("#dial")
            seat.page.fill("#dial-dialog [name=to]", seat.number)
            seat.page.press("#dial-dialog [name=to]", "Enter")
        for seat in seats:
            expect(seat.page.locator("#front-call.ended .call-sub")).to_contain_text(
                say(seat.language, "Busy")
            )
    finally:
        busy.close()
