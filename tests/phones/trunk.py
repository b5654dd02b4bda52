"""A carrier's trunk, played by sipp: it demands digest credentials, and answers or refuses a call."""

from __future__ import annotations

import hashlib
import re

from tests.phones import sipp

USER, PASSWORD = "shop-account", "trunk-test-password"  # credentials of a test's own registrar
_HEAD = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_ANSWER = {401: "Authorization", 407: "Proxy-Authorization"}
_NONCE = "47ebe028cda119c35d4877b383027d28"
_TEXT = {401: "401 Unauthorized", 407: "407 Proxy Authentication Required"}


def challenge(code: int) -> str:
    """The header that asks for credentials."""
    return f'{_HEAD[code]}: Digest realm="carrier", nonce="{_NONCE}", algorithm=MD5'


def find(header: str, pattern: str, variable: int) -> str:
    """An action: the header of what came has to look like this."""
    return f'<ereg regexp="{pattern}" search_in="hdr" header="{header}:" check_it="true" assign_to="{variable}"/>'


def credentials_hold(phone: sipp.Sipp, method: str) -> bool:
    """Whether the request's digest (RFC 2617, without qop) was made with the account's password."""
    found = dict(re.findall(r'(\w+)="?([^",\s]+)"?', phone.logged("authorization")))

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    wanted = md5(md5(USER, "carrier", PASSWORD), _NONCE, md5(method, found["uri"]))
    return (found["username"], found["nonce"], found["response"]) == (USER, _NONCE, wanted)


def _keep(header: str) -> str:
    return (
        f'<ereg regexp=".*" search_in="hdr" header="{header}:" check_it="true" assign_to="15"/>'
        '<log message="authorization [$15]"/>'
    )


def answering(rtp_port: int, *, code: int = 407, checks: str = "", ring_ms: int = 200) -> str:
    """A customer behind a trunk that asks for credentials, rings and answers."""
    return sipp.scenario(
        "trunk",
        sipp.receive("INVITE"),
        sipp.reply(_TEXT[code], headers=challenge(code)),
        sipp.receive("ACK"),
        sipp.receive(
            "INVITE",
            'crlf="true" rrs="true"',
            sipp.RTP_OF_PEER + sipp.KEEP_DIALOG + _keep(_ANSWER[code]) + checks,
        ),
        sipp.reply("180 Ringing"),
        sipp.pause(ring_ms),
        sipp.reply("200 OK", sipp.sdp(rtp_port), attributes='retrans="500"'),
        sipp.acknowledged(),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )


def registrar(expires_s: int = 60, contact: str = "sip:") -> str:
    """A registrar that asks for credentials and accepts one registration, whose contact has to contain this."""
    return sipp.scenario(
        "registrar",
        sipp.receive("REGISTER"),
        sipp.reply(_TEXT[401], headers=challenge(401)),
        sipp.receive(
            "REGISTER",
            actions=_keep(_ANSWER[401]) + find("To", f"sip:{USER}@", 12) + find("Contact", contact, 13),
        ),
        sipp.reply("200 OK", headers=f"[last_Contact:];expires={expires_s}"),
    )
