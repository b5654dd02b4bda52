"""ISO 8583 as pure mapping: our requests to data elements, a host's answers to our results.

Rules: retrieval reference (DE 37) and trace number (DE 11) are made from the attempt's id alone, so that after
any crash the same attempt is the same message. DE 39 approves or declines only with a code that we know; a
duplicate (94) says that the first message arrived, not what became of it. Source: ISO 8583:1987; the places that
hosts disagree about are in ``FieldMap``, a setting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway_adapters.iso8583.currencies import numeric
from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OnFile,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import Card
from paycall.domain.decline_codes import ISO8583
from paycall.domain.declines import CodeKind, decline_for, kind_of
from paycall.domain.errors import RefusedRequestError
from paycall.domain.money import Money

NAME = "iso8583"
Message = dict[str, str]

PURCHASE, REFUND = "000000", "200000"
MANUAL_ENTRY = "012"  # DE 22: keyed, no PIN
ON_FILE = "102"  # DE 22: the card is kept by the merchant (both large networks' value), no PIN
TELEPHONE_ORDER = "08"  # DE 25: mail or telephone order
SIGN_ON, ECHO = "001", "301"  # DE 70
_DUPLICATE = "94"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


@dataclass(frozen=True)
class FieldMap:
    """Where a host wants, and puts, what ISO 8583 leaves to it. Empty: nowhere.

    ``security_code`` and ``advice`` are a data element and a tag in it (two digits, followed by a two-digit
    length); ``reference`` is the data element of our attempt id; ``checks`` the data element whose first
    character is the address check and whose second the security code check.
    """

    security_code: str = "48.92"
    advice: str = "48.84"
    reference: str = "63"
    checks: str = "44"


@dataclass(frozen=True)
class Terminal:
    """Who we are to the host: DE 32, 41 and 42, and DE 18 (the kind of shop) where the host wants it."""

    institution_id: str
    terminal_id: str
    merchant_id: str
    merchant_category: str = ""
    fields: FieldMap = field(default_factory=FieldMap)


@dataclass(frozen=True)
class Trace:
    """DE 37 and DE 11 of a message."""

    rrn: str
    stan: str

    @classmethod
    def of(cls, key: str) -> Trace:
        """The trace of an attempt or operation: 60 bits of its key's hash, and six digits."""
        digest = int.from_bytes(hashlib.sha256(key.encode()).digest())
        rrn = "".join(_ALPHABET[(digest >> (5 * place)) & 31] for place in range(12))
        return cls(rrn, f"{(digest >> 60) % 999_999 + 1:06d}")


def authorization_message(
    request: AuthorizationRequest, card: Card, terminal: Terminal, now: datetime
) -> Message:
    """The 0100 of a telephone order."""
    if card.expiry is None:
        raise RefusedRequestError("the host needs an expiry date")
    message = _message("0100", Trace.of(request.attempt_id), terminal, now) | {
        "2": card.pan.expose(),  # the host needs it: that is the charge
        "3": PURCHASE,
        "4": f"{request.money.amount_minor:012d}",
        "14": f"{card.expiry.year % 100:02d}{card.expiry.month:02d}",
        "22": ON_FILE if request.on_file is OnFile.LATER else MANUAL_ENTRY,
        "25": TELEPHONE_ORDER,
        "49": numeric(request.money.currency),
    }
    if terminal.merchant_category:
        message["18"] = terminal.merchant_category
    if terminal.fields.reference:
        message[terminal.fields.reference] = request.attempt_id
    if card.security_code is not None and terminal.fields.security_code:
        element, _, tag = terminal.fields.security_code.partition(".")
        code = card.security_code.expose()  # sent once, kept by nobody
        message[element] = f"{tag}{len(code):02d}{code}" if tag else code
    return message


def completion_message(
    key: str, reference: str, money: Money, terminal: Terminal, now: datetime, *, code: str
) -> Message:
    """The 0220 that settles (``PURCHASE``) or gives back (``REFUND``)."""
    original, approval = split_reference(reference)
    message = _message("0220", Trace(original.rrn, Trace.of(key).stan), terminal, now) | {
        "3": code,
        "4": f"{money.amount_minor:012d}",
        "22": MANUAL_ENTRY,
        "25": TELEPHONE_ORDER,
        "49": numeric(money.currency),
        "90": _original(original, terminal),
    }
    return message | {"38": approval} if approval else message


def reversal_message(
    key: str, original: Trace, money: Money | None, terminal: Terminal, now: datetime
) -> Message:
    """The 0400 that undoes an authorization, known to have arrived or not."""
    message = _message("0400", Trace(original.rrn, Trace.of(key).stan), terminal, now) | {
        "3": PURCHASE,
        "90": _original(original, terminal),
    }
    if money is not None:
        message |= {"4": f"{money.amount_minor:012d}", "49": numeric(money.currency)}
    return message


def network_message(what: str, stan: str, terminal: Terminal, now: datetime) -> Message:
    """The 0800 that signs on or asks whether the host is there."""
    return {
        "t": "0800",
        "7": now.strftime("%m%d%H%M%S"),
        "11": stan,
        "32": terminal.institution_id,
        "70": what,
    }


def authorization_result(
    answer: Mapping[str, str], request: AuthorizationRequest, terminal: Terminal
) -> AuthorizationResult:
    """What a 0110 says."""
    trace = Trace.of(request.attempt_id)
    code, approval = answer.get("39", ""), answer.get("38", "").strip()
    reference = join_reference(trace, approval)
    checks = answer.get(terminal.fields.checks, "")
    avs_result, code_result = checks[:1].strip() or None, checks[1:2].strip() or None
    kind = kind_of(ISO8583, code)
    if kind is CodeKind.DECLINED and code != _DUPLICATE:
        return AuthorizationResult(
            Outcome.DECLINED,
            NAME,
            reference,
            avs_result=avs_result,
            code_result=code_result,
            decline=decline_for(ISO8583, code, _tagged(answer, terminal.fields.advice)),
        )
    asked = request.money.amount_minor
    told = answer.get("4", "")
    approved = int(told) if told.isdecimal() else asked if kind is CodeKind.APPROVED else 0
    other_currency = answer.get("49") not in (None, numeric(request.money.currency))
    clear = kind in (CodeKind.APPROVED, CodeKind.PARTLY_APPROVED) and 0 < approved <= asked
    if other_currency or not clear:
        return AuthorizationResult(Outcome.UNKNOWN, NAME, reference)
    return AuthorizationResult(
        Outcome.APPROVED,
        NAME,
        reference,
        authorization_code=approval or None,
        avs_result=avs_result,
        code_result=code_result,
        approved_minor=approved,
    )


def operation_result(answer: Mapping[str, str], reference: str, *, reversal: bool = False) -> OperationResult:
    """What a 0230 or 0410 says. A reversal that found nothing to undo is done."""
    code = answer.get("39", "")
    kind = kind_of(ISO8583, code)
    if kind is CodeKind.APPROVED or (reversal and kind is CodeKind.NOTHING_TO_UNDO):
        return OperationResult(OperationOutcome.DONE, reference, code)
    failed = kind in (CodeKind.DECLINED, CodeKind.NOTHING_TO_UNDO) and code != _DUPLICATE
    return OperationResult(OperationOutcome.FAILED if failed else OperationOutcome.UNKNOWN, reference, code)


def join_reference(trace: Trace, approval: str) -> str:
    """Our name of an authorization at the host: all that later messages need to point to it."""
    return f"{trace.rrn}.{trace.stan}.{approval}"


def split_reference(reference: str) -> tuple[Trace, str]:
    """The trace and approval code in a reference.

    Raises
    ------
    RefusedRequestError
        If it is none of ours (nothing is sent).
    """
    parts = reference.split(".")
    if len(parts) != 3 or len(parts[0]) != 12 or len(parts[1]) != 6 or not parts[1].isdigit():
        raise RefusedRequestError("the reference is not one of this acquirer's")
    return Trace(parts[0], parts[1]), parts[2]


def _message(kind: str, trace: Trace, terminal: Terminal, now: datetime) -> Message:
    return {
        "t": kind,
        "7": now.strftime("%m%d%H%M%S"),
        "11": trace.stan,
        "12": now.strftime("%H%M%S"),
        "13": now.strftime("%m%d"),
        "32": terminal.institution_id,
        "37": trace.rrn,
        "41": terminal.terminal_id,
        "42": terminal.merchant_id,
    }


def _original(original: Trace, terminal: Terminal) -> str:
    """DE 90: type, trace, time and institution of the original. Its time is not kept: zeros, by the standard."""
    return f"0100{original.stan}{'0' * 10}{terminal.institution_id:0>11}{'0' * 11}"


def _tagged(answer: Mapping[str, str], place: str) -> str | None:
    """A tagged value (two digits of tag, two of length) of a data element; None if it is not there."""
    element, _, tag = place.partition(".")
    data = answer.get(element, "")
    while len(data) >= 4 and data[:4].isdigit():
        value, rest = data[4 : 4 + int(data[2:4])], data[4 + int(data[2:4]) :]
        if data[:2] == tag:
            return value
        data = rest
    return None
