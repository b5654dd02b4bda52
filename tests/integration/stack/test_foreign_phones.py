"""The main job with phones that this project did not write: baresip and sipp, the agent leg taken by tshark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import dsp
from paycall.demo import cards
from paycall.demo.cards import APPROVED, DECLINED
from tests.phones import sipp
from tests.phones.baresip import Baresip
from tests.phones.desk import CODE, EXPIRY, NUMBER, Desk, desk
from tests.phones.rtp import RtpPort, Stream, free_port
from tests.phones.site import until
from tests.phones.spandsp import spandsp_keys

SPEECH = Path(__file__).parents[3] / "paycall" / "demo" / "speech"


@pytest.fixture(scope="module")
def seat() -> Iterator[Desk]:
    with desk() as one:
        yield one


def speech(name: str) -> np.ndarray:
    """A sentence, 8 kHz."""
    return np.frombuffer((SPEECH / f"{name}.wav").read_bytes()[44:], dtype=np.int16)


def keys_of(card: cards.TestCard) -> str:
    """What a caller keys: the number ended by #, the others end themselves."""
    return f"{card.number}#{card.expiry}{card.security_code}"


def assert_nothing_leaked(seat: Desk, pcm: np.ndarray, events: list[str]) -> None:
    """Neither detector recovers a key, no event came through, speech did, nothing is written."""
    assert spandsp_keys(pcm) == ""
    assert dsp.detect(pcm) == []
    assert events == []
    assert np.abs(pcm).max() > 2000, "the operator heard nothing at all"
    written = b"".join(p.read_bytes() for p in [*seat.stack.log_paths, *seat.stack.database_paths])
    for card in (DECLINED, APPROVED):
        assert card.number.encode() not in written


def bring_through_decline_to_approval(
    seat: Desk, amount_minor: int, key: Callable[[cards.TestCard], None]
) -> str:
    """Both attempts; ``key(card)`` makes the caller key a card."""
    call = seat.call()
    payment_id = seat.pay(call, amount_minor)
    key(DECLINED)
    seat.payment(payment_id, "ready")
    seat.post(f"/payments/{payment_id}/authorize")
    declined = seat.payment(payment_id, "declined")
    decline = declined["attempts"][-1]["decline"]
    assert (decline["reason"], decline["declined_by"]) == ("insufficient_funds", "issuer")
    assert decline["say"]
    assert declined["masked"], "a decline must not unmask"
    seat.take(payment_id, NUMBER, EXPIRY, CODE)
    key(APPROVED)
    seat.payment(payment_id, "ready")
    seat.post(f"/payments/{payment_id}/authorize")
    settled = seat.payment(payment_id, "settled")
    assert settled["card"]["last4"] == APPROVED.number[-4:]
    seat.payment(payment_id, lambda p: not p["masked"])
    return str(call["id"])


def link_by_phone(seat: Desk, rtp: RtpPort, operator: sipp.Sipp) -> None:
    """The operator keys the code that the panel shows: the call, nobody's so far, is the operator's."""
    call = seat.call()
    assert call["operator_id"] is None
    code = seat.post("/link-codes", 201)["code"]
    keys = (
        Stream(event_type=operator.peer_event_type())
        .silence(0.1)
        .events(f"*9{code}", 0.08, 0.08)
        .silence(0.2)
    )
    rtp.play(keys, ("127.0.0.1", operator.peer_rtp()))
    me = seat.get("/session")["operator"]["id"]
    until(lambda: seat.get(f"/calls/{call['id']}")["operator_id"] == me, what="the call to be mine")


def test_baresip_calls_with_rfc4733_and_sipp_answers(seat: Desk) -> None:
    rtp = RtpPort()
    operator = sipp.Sipp(sipp.agent(rtp.port), seat.stack.agent_port)
    caller = Baresip(np.tile(np.concatenate([speech("caller-hello"), np.zeros(8000, np.int16)]), 20))
    try:
        caller.command("dial", seat.stack.sip_uris[0])
        link_by_phone(seat, rtp, operator)
        call_id = bring_through_decline_to_approval(seat, 4990, lambda card: caller.press(keys_of(card)))
        time.sleep(1)
        caller.command("hangup")
        ended = seat.call("ended")
        assert (ended["id"], ended["agent_leg_keys"], ended["alarm"]) == (call_id, 0, None)
        heard = rtp.heard()
        assert_nothing_leaked(seat, heard.pcm, heard.events)
    finally:
        caller.close()
        operator.close()
        rtp.close()


_PLAYED = '<nop><action><exec rtp_stream="{file},1,8,PCMA/8000"/></action></nop>\n'


def test_sipp_plays_recorded_tones_and_sipp_answers(seat: Desk, tmp_path: Path) -> None:
    recording = tmp_path / "caller.alaw"
    tones = [dsp.dtmf_string(keys_of(card), 0.09, 0.09, level_dbm0=-9.0) for card in (DECLINED, APPROVED)]
    quiet = np.zeros(8 * 8000, np.int16)
    tail = np.zeros(30 * 8000, np.int16)
    sound = np.concatenate(
        [speech("caller-hello"), quiet, tones[0], quiet, tones[1], quiet, speech("caller-done"), tail]
    )
    recording.write_bytes(dsp.encode_alaw(sound).tobytes())
    rtp = RtpPort()
    operator = sipp.Sipp(sipp.agent(rtp.port), seat.stack.agent_port)
    plays = sipp.scenario(
        "plays",
        sipp.invite("4930123456", sipp.sdp(0).replace("audio 0 ", "audio [rtpstream_audio_port] ")),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'optional="true"'),
        sipp.receive("200", 'rrs="true"'),
        sipp.in_dialog("ACK", "4930123456", 1),
        _PLAYED.format(file=recording),
        sipp.receive("BYE", 'timeout="120000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    caller = sipp.Sipp(plays, free_port(), seat.stack.sip_uris[0].removeprefix("sip:").partition("@")[2])
    try:
        call_id = bring_through_decline_to_approval(seat, 5990, lambda card: None)
        time.sleep(5)
        heard = rtp.heard()
        assert_nothing_leaked(seat, heard.pcm, heard.events)
        call = next(c for c in seat.get("/calls?state=all")["calls"] if c["id"] == call_id)
        assert (call["agent_leg_keys"], call["alarm"]) == (0, None)
    finally:
        caller.close()
        operator.close()
        rtp.close()
