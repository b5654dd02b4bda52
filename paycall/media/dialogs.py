"""A dialog's identifiers, as plain data, and the requests that end it from outside its process.

Rules: pure text in, text out. A cell tells its node these identifiers while it lives, so that the node can release
both phones when the cell dies. They hold no card data: SIP headers only, never a body.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import Any

from paycall.media.sip_text import SipMessage, parse_message, split_list, uri_of

# PJSIP counts a dialog's requests from a random number below 2**15: this is higher than any that it used.
_LATE_CSEQ = 1_000_000


@dataclass(frozen=True)
class Dialog:
    """One leg's dialog as seen from the cell.

    ``stage`` is ``uas-early`` (their INVITE, unanswered), ``uac-early`` (our INVITE, unanswered) or ``confirmed``.
    ``via`` and ``cseq`` are of the INVITE and matter only while it is early.
    """

    stage: str
    call_id: str
    local: str
    remote: str
    target: str
    route: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    cseq: str = ""
    peer: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data for the pipe to the node."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Dialog:
        """From ``to_json``'s data."""
        return cls(**{**data, "route": tuple(data["route"]), "via": tuple(data["via"])})


def incoming(invite: str, peer: str) -> Dialog:
    """The dialog that their INVITE begins; our tag is not known yet."""
    message = parse_message(invite)
    return Dialog(
        stage="uas-early",
        call_id=message.first("call-id"),
        local=message.first("to"),
        remote=message.first("from"),
        target=uri_of(message.first("contact")),
        route=tuple(split_list(message.all("record-route"))),
        via=tuple(split_list(message.all("via"))),
        cseq=message.first("cseq"),
        peer=peer,
    )


def answered_by_us(dialog: Dialog, response: str) -> Dialog:
    """Their INVITE was answered with this 2xx of ours: its To carries our tag."""
    message = parse_message(response)
    return Dialog(
        "confirmed", dialog.call_id, message.first("to"), dialog.remote, dialog.target, dialog.route
    )


def outgoing(invite: str, peer: str) -> Dialog:
    """The dialog that our INVITE begins."""
    message = parse_message(invite)
    return Dialog(
        stage="uac-early",
        call_id=message.first("call-id"),
        local=message.first("from"),
        remote=message.first("to"),
        target=message.start.split(" ")[1],
        route=tuple(split_list(message.all("route"))),
        via=tuple(split_list(message.all("via"))),
        cseq=message.first("cseq"),
        peer=peer,
    )


def answered_by_them(response: str) -> Dialog:
    """Our INVITE was answered with this 2xx of theirs."""
    message = parse_message(response)
    route = tuple(reversed(split_list(message.all("record-route"))))
    return Dialog(
        stage="confirmed",
        call_id=message.first("call-id"),
        local=message.first("from"),
        remote=message.first("to"),
        target=uri_of(message.first("contact")),
        route=route,
    )


def release(dialog: Dialog, address: str, port: int) -> tuple[str, tuple[str, int]] | None:
    """The message that ends the dialog, and where to send it; None if the peer's address can't be known.

    A confirmed dialog gets BYE, their unanswered INVITE 503, our unanswered INVITE CANCEL.
    """
    if dialog.stage == "uas-early":
        return _refusal(dialog), _host_port(dialog.peer)
    if dialog.stage == "uac-early":
        lines = [f"CANCEL {dialog.target} SIP/2.0", *(f"Via: {via}" for via in dialog.via)]
        lines += _dialog_lines(dialog, f"{dialog.cseq.split()[0]} CANCEL")
        return _message(lines), _host_port(dialog.peer)
    hop = _host_of(uri_of(dialog.route[0]) if dialog.route else dialog.target)
    if hop is None:
        return None
    branch = f"z9hG4bK-paycall-{secrets.token_hex(8)}"
    lines = [f"BYE {dialog.target} SIP/2.0", f"Via: SIP/2.0/UDP {address}:{port};rport;branch={branch}"]
    lines += _dialog_lines(dialog, f"{_LATE_CSEQ} BYE")
    return _message(lines), hop


def gone(dialog: Dialog) -> str | None:
    """What the other side would have sent, were it there: 503 to our INVITE, or BYE. None: it was our turn."""
    if dialog.stage == "uac-early":
        return _refusal(dialog, ours=True)
    if dialog.stage == "uas-early":
        return None
    lines = [
        f"BYE {dialog.target} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{secrets.token_hex(8)}",
    ]
    lines += ["Max-Forwards: 70", f"From: {dialog.remote}", f"To: {dialog.local}"]
    lines += [f"Call-ID: {dialog.call_id}", f"CSeq: {_LATE_CSEQ} BYE"]
    return _message(lines)


def call_id_of(text: str) -> str:
    """The Call-ID of an answer to one of these messages."""
    return parse_message(text).first("call-id")


def is_final_answer(message: SipMessage) -> bool:
    """Whether the message is a response from 200 on."""
    parts = message.start.split(" ")
    return (
        message.start.startswith("SIP/2.0") and len(parts) > 1 and parts[1].isdigit() and int(parts[1]) >= 200
    )


def _dialog_lines(dialog: Dialog, cseq: str) -> list[str]:
    return [
        "Max-Forwards: 70",
        f"From: {dialog.local}",
        f"To: {dialog.remote}",
        f"Call-ID: {dialog.call_id}",
        f"CSeq: {cseq}",
        *(f"Route: {route}" for route in dialog.route),
        'Reason: SIP;cause=503;text="media cell lost"',
    ]


def _refusal(dialog: Dialog, *, ours: bool = False) -> str:
    asking, asked = (dialog.local, dialog.remote) if ours else (dialog.remote, dialog.local)
    lines = ["SIP/2.0 503 Service Unavailable", *(f"Via: {via}" for via in dialog.via)]
    lines += [f"From: {asking}", f"To: {asked};tag={secrets.token_hex(6)}"]
    lines += [f"Call-ID: {dialog.call_id}", f"CSeq: {dialog.cseq}"]
    return _message(lines)


def _message(lines: list[str]) -> str:
    return "\r\n".join([*lines, "Content-Length: 0", "", ""])


def _host_port(peer: str) -> tuple[str, int]:
    host, _, port = peer.rpartition(":")
    return host, int(port)


def _host_of(uri: str) -> tuple[str, int] | None:
    """Host and port of a SIP URI."""
    rest = uri.partition(":")[2].rpartition("@")[2].partition(";")[0].partition("?")[0]
    host, _, port = rest.partition(":")
    if not host or not (port or "5060").isdigit():
        return None
    return host, int(port or 5060)
