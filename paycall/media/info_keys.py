"""Keys that come as SIP INFO: ``application/dtmf-relay``, which PJSIP reads and answers, and ``application/dtmf``.

Rules: PJSIP 2.15.1 aborts at a relay body that ends with its first line, and takes ``1`` from ``Signal=11``, which is
``#``. So each such body is written anew, where it lies, before PJSIP reads it: the key on one line, or nothing where
there is none (PJSIP then answers 400). Of ``application/dtmf`` it reads nothing, and answers 500: that key is told by
us. Keys are card data: nothing here is logged.
"""

from __future__ import annotations

import ctypes
import re

import pjsua2 as pj

from paycall.media.keys import KEYS
from paycall.media.sip_text import SipMessage

_TYPE = re.compile(r"application */ *(dtmf(?:-relay)?) *(?:;.*)?", re.IGNORECASE)
_SIGNAL = re.compile(r"^\s*signal\s*=\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# PJSIP keeps a message in an array of at least this length (PJSIP_MAX_PKT_LEN) with zeros behind it, a few pointers
# after the beginning of the structure that ``SipRxData.pjRxData`` points to.
_STRUCTURE_BYTES = 4000
_FIRST_BYTES = 40


def is_relay(message: SipMessage) -> bool:
    """Whether PJSIP will look for a key in it."""
    return _type_of(message) == "dtmf-relay"


def own_key(message: SipMessage) -> str:
    """The key of an ``application/dtmf``, or an empty text."""
    return _key_in(message.body) if _type_of(message) == "dtmf" else ""


def _type_of(message: SipMessage) -> str:
    found = _TYPE.fullmatch(message.first("content-type"))
    return found[1].lower() if found else ""


def _key_in(body: str) -> str:
    """The key, named by its sign or by its number as an event of RFC 4733, with ``Signal=`` before it or alone."""
    signal = _SIGNAL.search(body)
    word = signal[1] if signal else body.strip()
    if len(word) == 1 and word.upper() in KEYS:
        return word.upper()
    numbered = len(word) == 2 and word.isascii() and word.isdecimal() and int(word) < len(KEYS)
    return KEYS[int(word)] if numbered else ""


def write_for_pjsip(received: pj.SipRxData) -> None:
    """Give a relay body the form that PJSIP reads. In the callback that comes before it does so, only."""
    address = int(received.pjRxData)
    memory = ctypes.string_at(address, _STRUCTURE_BYTES)
    message = received.wholeMsg.encode("utf-8", "surrogateescape")
    head, body = memory.find(message[:_FIRST_BYTES]), _HEAD_END.search(message)
    if head < 0 or body is None:
        return
    start, end = head + body.end(), head + len(message)
    key = _key_in(message[body.end() :].decode("latin-1"))
    text = f"Signal={key}\r\n".encode().ljust(end - start) if key else b" " * (end - start)
    behind = memory[end : start + len(text) + 1]
    if start + len(text) < _STRUCTURE_BYTES and not any(behind[: start + len(text) + 1 - end]):
        ctypes.memmove(address + start, text, len(text))
