"""kill -9 of panel, vault and cell, each in the middle of a capture and of an authorization.

What the design promises then: people keep talking, the mask stays, nothing acknowledged is lost, no card is charged
twice, no outcome is guessed, and a dead cell's phones are released.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import dsp
from paycall.demo.cards import APPROVED
from tests.phones.desk import CODE, Desk, desk
from tests.phones.scripted import Phones, phones
from tests.phones.site import until

SLOW = "4000000000000259"  # the simulator answers after three seconds


@pytest.fixture(scope="module")
def seat() -> Iterator[Desk]:
    with desk() as one:
        yield one


@pytest.fixture
def call(seat: Desk) -> Iterator[Phones]:
    # The test before may have left one that the panel has not heard the end of: it would be taken for this one.
    until(lambda: not seat.get("/calls")["calls"], what="end of the call before")
    with phones(seat.stack) as both:
        both.call(seat.stack.sip_uris[0])
        yield both


def charges(seat: Desk, last4: str) -> list[tuple[str, int]]:
    """State and amount of the simulator's authorizations of cards with this ending."""
    ledger = sqlite3.connect(seat.stack.var / "sandbox" / "ledger.sqlite3")
    try:
        return ledger.execute(
            "SELECT state, amount_minor FROM authorizations WHERE last4 = ? ORDER BY created_at", (last4,)
        ).fetchall()
    finally:
        ledger.close()


def cell_of(seat: Desk, sip_port: int) -> psutil.Process | None:
    """The process that has a cell's SIP port open, if one has it now."""
    for process in seat.process("media").children(recursive=True):
        if any(c.laddr.port == sip_port for c in process.net_connections("udp4")):
            return process
    return None


def assert_masked_throughout(call: Phones, folder: Path) -> None:
    assert dsp.detect(call.agent_heard(folder)) == []
    assert not [e for e in call.agent.events if e["event"] == "digit_received"]


def test_panel_killed_in_a_capture(seat: Desk, call: Phones, tmp_path: Path) -> None:
    payment_id = seat.pay(seat.call())
    call.key(APPROVED.number[:9])
    until(lambda: seat.digits(payment_id, "payment-card-number") == 9, what="dots")
    seat.kill(seat.process("panel"))
    call.key(APPROVED.number[9:] + "#" + APPROVED.expiry)
    seat.reconnect()
    call.key(APPROVED.security_code)
    ready = seat.payment(payment_id, lambda p: p["state"] == "ready" and p["card"])
    assert ready["masked"]
    assert ready["card"]["last4"] == APPROVED.number[-4:]
    seat.post(f"/payments/{payment_id}/authorize")
    seat.payment(payment_id, "settled")
    assert call.ended() == [False, False]
    assert_masked_throughout(call, tmp_path)


def test_panel_killed_in_an_authorization(seat: Desk, call: Phones) -> None:
    before = len(charges(seat, SLOW[-4:]))
    payment_id = seat.pay(seat.call(), 1201)
    call.key(f"{SLOW}#{APPROVED.expiry}{APPROVED.security_code}")
    seat.payment(payment_id, "ready")
    seat.post(f"/payments/{payment_id}/authorize")
    seat.payment(payment_id, "authorizing")
    seat.kill(seat.process("panel"))
    seat.reconnect()
    seat.payment(payment_id, "settled")
    assert charges(seat, SLOW[-4:])[before:] == [("approved", 1201)]
    assert call.ended() == [False, False]


def test_vault_killed_in_a_capture(seat: Desk, call: Phones, tmp_path: Path) -> None:
    payment_id = seat.pay(seat.call(), 1202)
    call.key(APPROVED.number + "#")
    seat.payment(payment_id, lambda p: p["token"] is not None)
    seat.kill(seat.process("vault"))
    call.key(APPROVED.expiry + APPROVED.security_code)  # while it is away: kept in the cell
    seat.payment(payment_id, "ready")
    assert call.ended() == [False, False]
    # Once more, with the code in its memory: only the three digits are asked for again.
    seat.kill(seat.process("vault"))
    until(lambda: seat.http.post(f"/payments/{payment_id}/authorize").status_code != 503, what="vault")
    asked = seat.payment(payment_id, lambda p: p["collecting"] == CODE or p["state"] == "ready")
    if asked["collecting"] != CODE:
        seat.take(payment_id, CODE)
    call.key(APPROVED.security_code)
    seat.payment(payment_id, lambda p: p["state"] == "ready" and p["security_code_seconds_left"])
    seat.post(f"/payments/{payment_id}/authorize")
    seat.payment(payment_id, "settled")
    assert_masked_throughout(call, tmp_path)


def test_vault_killed_in_an_authorization(seat: Desk, call: Phones) -> None:
    before = len(charges(seat, SLOW[-4:]))
    payment_id = seat.pay(seat.call(), 1203)
    call.key(f"{SLOW}#{APPROVED.expiry}{APPROVED.security_code}")
    seat.payment(payment_id, "ready")
    seat.post(f"/payments/{payment_id}/authorize")
    time.sleep(1)
    seat.kill(seat.process("vault"))
    known = seat.payment(payment_id, lambda p: p["state"] in ("settled", "reversed"), timeout_s=60)
    booked = charges(seat, SLOW[-4:])[before:]
    assert len(booked) == 1
    assert booked[0] == ("approved" if known["state"] == "settled" else "reversed", 1203)
    assert call.ended() == [False, False]


@pytest.mark.parametrize("moment", ["capture", "authorization"])
def test_cell_killed(seat: Desk, call: Phones, moment: str) -> None:
    connected = seat.call()
    payment_id = seat.pay(connected, 1204)
    call.key(f"{SLOW}#")
    if moment == "authorization":
        call.key(f"{APPROVED.expiry}{APPROVED.security_code}")
        seat.payment(payment_id, "ready")
        seat.post(f"/payments/{payment_id}/authorize")
        time.sleep(0.5)
    port = seat.stack.first_sip_port
    cell = cell_of(seat, port)
    assert cell is not None
    seat.kill(cell)

    def lost() -> bool:
        return bool(seat.get(f"/calls/{connected['id']}")["end_reason"] == "cell-lost")

    until(lost, what="word of the lost call")
    until(lambda: cell_of(seat, port), what="new cell")
    until(lambda: call.ended() == [True, True], what="release of both phones")
    if moment == "authorization":
        # The money is not touched by a lost call: the operator sees the result and decides.
        approved = seat.payment(payment_id, lambda p: p["state"] in ("approved", "settled"))
        assert approved["attempts"][-1]["state"] == "approved"
    else:
        seat.payment(payment_id, "cancelled")  # there is nobody left to key it
    call.call(seat.stack.sip_uris[0])
    assert seat.call()["id"] != connected["id"]


def test_the_whole_node_killed_its_calls_are_told_as_lost(seat: Desk, call: Phones) -> None:
    """The last one: the supervisor starts another node."""
    lost = seat.call()
    seat.kill(seat.process("media"))
    ended = seat.call("ended")
    assert (ended["id"], ended["end_reason"]) == (lost["id"], "cell-lost")
