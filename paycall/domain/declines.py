"""One vocabulary for declines: the reason, who declined, what may be tried, what to say.

Rules: every code of every system in ``decline_codes`` maps to one reason of ``decline_rules``; a code that is in
no table gets a safe default (``unrecognised``: not again with this card, ask for another) and the caller of
``decline_for`` logs it (``is_known`` tells). A raw code is shown to operators, so one that could hold a card
number is dropped. The sentences are in ``decline_texts``, one module a language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from paycall.domain import decline_texts
from paycall.domain.decline_codes import CODES, MASTERCARD_ADVICE, CodeKind, CodeMeaning, System
from paycall.domain.decline_rules import REASONS, UNRECOGNISED, DeclinedBy, NextStep, Retry
from paycall.domain.errors import InputError
from paycall.domain.fields import Field

__all__ = [
    "CodeKind",
    "Decline",
    "DeclineText",
    "DeclinedBy",
    "NextStep",
    "Retry",
    "System",
    "decline_for",
    "decline_from_json",
    "decline_to_json",
    "is_known",
    "kind_of",
]

_HARMLESS_CODE = re.compile(r"(?!.*\d{6})[A-Za-z0-9_.-]{1,60}")
_SAYS_LITTLE = ("generic_decline", UNRECOGNISED)
# What no later attempt with the card can change, for any payment: Visa's category 1 (04, 07, 12, 14, 15, 41, 43, 46,
# 57, R0, R1, R3; Visa Core Rules, April 2026) and what means the same elsewhere; Mastercard's advice 03 and 21.
_FINAL_REASONS = frozenset(
    {
        "card_blocked",
        "closed_account",
        "do_not_retry",
        "invalid_transaction",
        "not_permitted_card",
        "stop_payment",
        "wrong_number",
    }
)
_FINAL_ADVICE = ("03", "21")
_LEFT_TO_ADVICE = ("79", "82", "83")  # Mastercard: the reason is in the advice code
_STRICTNESS = (Retry.NOW, Retry.AFTER_CORRECTION, Retry.LATER, Retry.NEVER)


@dataclass(frozen=True)
class DeclineText:
    """Two short sentences: what happened (for the operator), what to say (to the caller)."""

    happened: str
    say: str


@dataclass(frozen=True)
class Decline:
    """A decline: our reason, the acquirer's raw code, who, and what may be tried.

    ``correct`` are the fields to key again; ``next_steps`` are in the order of preference. ``final``: the card's
    network lets it be tried no more, for any payment.
    """

    reason: str
    declined_by: DeclinedBy
    retry: Retry
    raw_code: str | None = None
    correct: tuple[Field, ...] = ()
    next_steps: tuple[NextStep, ...] = (NextStep.OTHER_CARD, NextStep.STOP)
    final: bool = False

    @property
    def confidential(self) -> bool:
        """Whether the caller must not be told the reason (lost, stolen, fraud, a block list)."""
        return REASONS.get(self.reason, REASONS[UNRECOGNISED]).confidential

    def text(self, language: str) -> DeclineText:
        """The sentences in ``en``, ``ru``, ``uk`` or ``hu``; English for any other."""
        texts = decline_texts.TEXTS.get(language, decline_texts.TEXTS["en"])
        happened, say = texts.get(self.reason, texts[UNRECOGNISED])
        return DeclineText(happened, say)


def is_known(system: System, code: str) -> bool:
    """Whether the code is in our table; if not, ``decline_for`` gives the default and it should be logged."""
    return _meaning(system, code) is not None


def kind_of(system: System, code: str) -> CodeKind:
    """What sort of answer a code is; ``UNKNOWN`` for one that is in no table."""
    meaning = _meaning(system, code)
    return meaning.kind if meaning else CodeKind.UNKNOWN


def decline_for(system: System, code: str, advice: str | None = None) -> Decline:
    """The decline that a code means.

    Parameters
    ----------
    system
        Whose code it is: a key of ``decline_codes.CODES``.
    code
        The code as it came; what follows a space (``05 : Do not honor``) is ignored.
    advice
        Mastercard's merchant advice code, where the answer has one: it decides on trying again wherever it is
        stricter than the code, and on the reason where the code says nothing (05, 79, 82, 83).

    Returns
    -------
    Decline
        For a code in no table, or one that is no decline, the safe default ``unrecognised``.
    """
    decline = _decline(_meaning(system, code), code)
    advised = _meaning(MASTERCARD_ADVICE, advice) if advice else None
    if advice is None or advised is None:
        return decline
    said = _advised(decline, _decline(advised, code))
    return replace(said, final=said.final or _short(advice) in _FINAL_ADVICE)


def decline_to_json(decline: Decline) -> dict[str, Any]:
    """The decline as it travels between vault and panel."""
    return {
        "reason": decline.reason,
        "declined_by": decline.declined_by.value,
        "retry": decline.retry.value,
        "raw_code": decline.raw_code,
        "correct": [field.value for field in decline.correct],
        "next_steps": [step.value for step in decline.next_steps],
        "final": decline.final,
    }


def decline_from_json(data: Mapping[str, Any]) -> Decline:
    """Read what ``decline_to_json`` wrote.

    Raises
    ------
    InputError
        If it is malformed. A reason that this version does not know is kept; its text is the default's.
    """
    try:
        raw_code = data["raw_code"]
        return Decline(
            reason=str(data["reason"]),
            declined_by=DeclinedBy(data["declined_by"]),
            retry=Retry(data["retry"]),
            raw_code=None if raw_code is None else str(raw_code),
            correct=tuple(Field(name) for name in data["correct"]),
            next_steps=tuple(NextStep(name) for name in data["next_steps"]),
            final=data.get("final") is True,
        )
    except (KeyError, TypeError, ValueError):
        raise InputError("the decline is not well formed") from None


def _advised(decline: Decline, advice: Decline) -> Decline:
    """What remains of a decline after the merchant advice."""
    if decline.reason in _SAYS_LITTLE or decline.raw_code in _LEFT_TO_ADVICE:
        return advice
    if decline.correct == (Field.CARD_NUMBER,):
        return decline  # a number keyed anew and correctly is another card: no advice holds for it
    strictness = _STRICTNESS.index(advice.retry) - _STRICTNESS.index(decline.retry)
    if strictness > 0:
        if decline.correct or advice.correct:
            return (
                advice  # the decline's sentences ask for something that the advice rules out, or the reverse
            )
        return replace(advice, reason=decline.reason, declined_by=decline.declined_by)
    if strictness == 0 and advice.retry is Retry.LATER:
        return replace(decline, next_steps=tuple(s for s in decline.next_steps if s in advice.next_steps))
    return decline


def _short(code: str) -> str:
    return code.strip().partition(" ")[0]


def _meaning(system: System, code: str) -> CodeMeaning | None:
    return CODES.get(system, {}).get(_short(code))


def _decline(meaning: CodeMeaning | None, code: str) -> Decline:
    short = _short(code)
    raw_code = short if _HARMLESS_CODE.fullmatch(short) else None
    reason = meaning.reason if meaning else UNRECOGNISED
    rule = REASONS[reason]
    retry = (meaning and meaning.retry) or rule.retry
    return Decline(
        reason=reason,
        declined_by=(meaning and meaning.declined_by) or rule.declined_by,
        retry=retry,
        raw_code=raw_code,
        correct=rule.correct if retry is Retry.AFTER_CORRECTION else (),
        next_steps=(meaning and meaning.next_steps) or rule.next_steps,
        final=reason in _FINAL_REASONS,
    )
