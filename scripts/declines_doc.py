#!/usr/bin/env python3
"""Write docs/declines.md from the tables of paycall.domain: run it after every change there.

``--check`` writes nothing and fails if the page is not what the tables say.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from paycall.domain.decline_codes import CODES
from paycall.domain.decline_rules import REASONS
from paycall.domain.decline_texts import TEXTS
from paycall.domain.declines import CodeKind, Decline, decline_for, kind_of

PAGE = Path(__file__).parents[1] / "docs" / "declines.md"
SYSTEMS = {
    "iso8583_de39": "ISO 8583, data element 39 (Visa and Mastercard)",
    "mastercard_mac": "Mastercard merchant advice codes",
    "visa_category": "Visa decline categories",
    "stripe_decline_code": "Stripe decline codes",
    "stripe_error_code": "Stripe error codes",
    "adyen_refusal_reason_code": "Adyen refusal reason codes",
    "adyen_error_code": "Adyen error codes",
    "cybersource_reason": "Cybersource reasons",
    "checkout_response_code": "Checkout.com response codes that are no network's",
    "paycall_local": "paycall's own",
}
LANGUAGES = {"en": "English", "ru": "Русский", "uk": "Українська", "hu": "Magyar"}
KINDS = {
    CodeKind.APPROVED: "no decline: approved",
    CodeKind.PARTLY_APPROVED: "a part approved: reversed and shown as",
    CodeKind.UNKNOWN: "the outcome is not known",
    CodeKind.NOT_EXECUTED: "nothing was sent on",
    CodeKind.NOTHING_TO_UNDO: "no decline: nothing to undo",
}
HEAD = """# Declines

<!-- Made by scripts/declines_doc.py out of paycall/domain/decline_*.py. Do not edit. -->

A decline is one reason of paycall's vocabulary, the acquirer's raw code, who declined, whether the same card may
be tried again, and two sentences in the operator's language: what happened, and what to say.

*Now*: the same card, at once. *After correction*: when the named field has been keyed anew. *Later*: when
something has changed - time has passed, or the caller has settled it with the bank. *Never*: not with this card.
Mastercard's advice code overrides the code where it forbids more. A code that is in no table is `unrecognised`,
is not tried again, and is logged.

A reason marked 🔒 is never told to the caller: lost, stolen, suspected, blocked. Its sentence is that of
`generic_decline`, word for word, so that not even the wording tells.
"""


def main() -> int:
    """Write or check the page."""
    page = build()
    if "--check" in sys.argv:
        fresh = PAGE.exists() and PAGE.read_text("utf-8") == page
        print(
            "docs/declines.md is up to date"
            if fresh
            else "docs/declines.md is stale: run scripts/declines_doc.py"
        )
        return 0 if fresh else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, "utf-8")
    return 0


def build() -> str:
    """The page as text."""
    parts = [HEAD, "\n## The vocabulary\n", _vocabulary(), "\n## What to say\n"]
    parts += [_sentences(reason) for reason in REASONS]
    parts.append("\n## Every code\n")
    parts += [f"\n### {title}\n\n{_codes(system)}" for system, title in SYSTEMS.items()]
    return "".join(parts)


def _vocabulary() -> str:
    lines = ["\n| reason | who declined | same card again | next steps |", "| --- | --- | --- | --- |"]
    for reason, rule in REASONS.items():
        lock = " 🔒" if rule.confidential else ""
        steps = ", ".join(step.value.replace("_", " ") for step in rule.next_steps)
        again = _again(rule.retry.value, [field.value for field in rule.correct])
        lines.append(f"| `{reason}`{lock} | {_words(rule.declined_by.value)} | {again} | {steps} |")
    return "\n".join(lines) + "\n"


def _sentences(reason: str) -> str:
    lines = [f"\n### {reason}\n", "| | what happened | what to say |", "| --- | --- | --- |"]
    for code, language in LANGUAGES.items():
        happened, say = TEXTS[code][reason]
        lines.append(f"| {language} | {happened} | {say} |")
    return "\n".join(lines) + "\n"


def _codes(system: str) -> str:
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name in CODES:
        if name == system:
            for code in CODES[name]:
                decline, kind = decline_for(name, code), kind_of(name, code)
                groups[_meaning(decline, kind)].append(f"`{code}`")
    lines = ["| codes | reason | who declined | same card again |", "| --- | --- | --- | --- |"]
    lines += [f"| {' '.join(codes)} | {' | '.join(meaning)} |" for meaning, codes in groups.items()]
    return "\n".join(lines) + "\n"


def _meaning(decline: Decline, kind: CodeKind) -> tuple[str, str, str]:
    if kind in (CodeKind.APPROVED, CodeKind.NOTHING_TO_UNDO):
        return KINDS[kind], "", ""
    note = f"{KINDS[kind]} " if kind is not CodeKind.DECLINED else ""
    again = _again(decline.retry.value, [field.value for field in decline.correct])
    return f"{note}`{decline.reason}`", _words(decline.declined_by.value), again


def _again(retry: str, fields: list[str]) -> str:
    return _words(retry) + (f": {', '.join(fields)}" if fields else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


if __name__ == "__main__":
    raise SystemExit(main())
