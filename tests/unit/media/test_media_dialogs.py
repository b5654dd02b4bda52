"""Releases of a dead cell's phones: what is sent must be a request that the phone takes as its dialog's."""

from __future__ import annotations

from paycall.media import dialogs
from paycall.media.dialogs import Dialog
from paycall.media.sip_text import parse_message, tag_of, uri_of, user_of

INVITE = """INVITE sip:paycall@127.0.0.1:5060 SIP/2.0\r
v: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-1\r
Record-Route: <sip:10.0.0.9;lr>, <sip:10.0.0.8:5080;lr>\r
f: "Caller, Ann" <sip:+49301234@10.0.0.1>;tag=theirs\r
t: <sip:paycall@127.0.0.1>\r
i: abc@10.0.0.1\r
CSeq: 7 INVITE\r
m: <sip:ann@10.0.0.1:5070>\r
Subject: folded\r
  here\r
\r
body: no header\r
"""
OK = """SIP/2.0 200 OK\r
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-2\r
Record-Route: <sip:a;lr>\r
Record-Route: <sip:b:5090;lr>\r
From: <sip:paycall@127.0.0.1>;tag=ours\r
To: <sip:operator@127.0.0.1>;tag=theirs\r
Call-ID: xyz\r
CSeq: 1 INVITE\r
Contact: <sip:operator@127.0.0.2:5091;transport=udp>\r
\r
"""


def test_headers_are_read_in_their_long_and_short_forms() -> None:
    message = parse_message(INVITE)
    assert message.first("call-id") == "abc@10.0.0.1"
    assert message.first("subject") == "folded here"
    assert tag_of(message.first("from")) == "theirs"
    assert uri_of(message.first("from")) == "sip:+49301234@10.0.0.1"
    assert user_of(uri_of(message.first("from"))) == "+49301234"
    assert message.first("body") == ""
    assert parse_message("").start == ""


def test_a_caller_s_dialog_is_ended_along_its_route() -> None:
    early = dialogs.incoming(INVITE, "10.0.0.9:5060")
    confirmed = dialogs.answered_by_us(
        early, "SIP/2.0 200 OK\r\nTo: <sip:paycall@127.0.0.1>;tag=ours\r\n\r\n"
    )
    assert Dialog.from_json(confirmed.to_json()) == confirmed
    sent = dialogs.release(confirmed, "127.0.0.1", 5060)
    assert sent is not None
    bye, to = parse_message(sent[0]), sent[1]
    assert to == ("10.0.0.9", 5060)
    assert bye.start == "BYE sip:ann@10.0.0.1:5070 SIP/2.0"
    assert bye.all("route") == ["<sip:10.0.0.9;lr>", "<sip:10.0.0.8:5080;lr>"]
    assert tag_of(bye.first("from")) == "ours"
    assert tag_of(bye.first("to")) == "theirs"
    assert bye.first("via").startswith("SIP/2.0/UDP 127.0.0.1:5060")


def test_an_agent_s_dialog_takes_the_recorded_route_backwards() -> None:
    dialog = dialogs.answered_by_them(OK)
    assert dialog.route == ("<sip:b:5090;lr>", "<sip:a;lr>")
    sent = dialogs.release(dialog, "127.0.0.1", 5060)
    assert sent is not None
    assert sent[1] == ("b", 5090)
    assert tag_of(parse_message(sent[0]).first("from")) == "ours"


def test_unanswered_invites_are_refused_or_cancelled() -> None:
    sent = dialogs.release(dialogs.incoming(INVITE, "10.0.0.1:5070"), "127.0.0.1", 5060)
    assert sent is not None
    refusal = parse_message(sent[0])
    assert refusal.start.startswith("SIP/2.0 503")
    assert refusal.first("via") == "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-1"
    assert sent[1] == ("10.0.0.1", 5070)
    sent = dialogs.release(dialogs.outgoing(INVITE, "127.0.0.1:5090"), "127.0.0.1", 5060)
    assert sent is not None
    cancel = parse_message(sent[0])
    assert cancel.start == "CANCEL sip:paycall@127.0.0.1:5060 SIP/2.0"
    assert cancel.first("cseq") == "7 CANCEL"
    assert cancel.first("via") == "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-1"


def test_what_a_phone_that_is_gone_would_have_said_is_of_its_dialog() -> None:
    refusal = parse_message(str(dialogs.gone(dialogs.outgoing(INVITE, "127.0.0.1:5090"))))
    assert refusal.start == "SIP/2.0 503 Service Unavailable"
    assert (refusal.first("cseq"), refusal.first("call-id")) == ("7 INVITE", "abc@10.0.0.1")
    assert refusal.first("via") == "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-1"
    assert tag_of(refusal.first("from")) == "theirs", "ours, where we dialled"
    assert tag_of(refusal.first("to"))
    bye = parse_message(str(dialogs.gone(dialogs.answered_by_them(OK))))
    assert bye.start.startswith("BYE ")
    assert (tag_of(bye.first("from")), tag_of(bye.first("to"))) == ("theirs", "ours")
    assert dialogs.gone(dialogs.incoming(INVITE, "10.0.0.1:5070")) is None
