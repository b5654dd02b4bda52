#!/usr/bin/env python3
"""Draw the state machines of calls, payments and captures into docs/states.md, from the tables themselves.

Calls and payments are tables of states. A capture's table holds functions, so its diagram is drawn from what they
do: every event is tried on every state that a small capture can reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from paycall.domain import call, capture, payment
from paycall.domain.capture import CaptureState, Phase
from paycall.domain.capture_events import (
    CallerHungUp,
    EndRequested,
    Event,
    FieldAccepted,
    FieldDropped,
    FieldRefused,
    FieldsRequested,
    KeyPressed,
    TimePassed,
    VaultUnreachable,
)
from paycall.domain.errors import StateError
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ports import CaptureRules
from paycall.domain.secret import DigitBuffer, KeyBuffer

DOCUMENT = Path(__file__).parents[1] / "docs" / "states.md"
FIELD = Field.POSTAL_CODE
LATER_S = 100.0
Edge = tuple[str, str, str]

HEADER = """\
# States

Drawn from the tables in `paycall/domain` by `scripts/state_diagrams.py`. What a call or a payment has no arrow for is
refused and changes nothing.
"""
CALL = """\
## A call

`paycall/domain/call.py`
"""
PAYMENT = """\
## A payment

`paycall/domain/payment.py`. A capture is ended, and the mask taken off, when its payment comes to one of these:
{final}.
"""
CAPTURE = """\
## A capture

`paycall/domain/capture.py`. The agent leg is masked in every phase but the last, and comes to the last only by
`EndRequested`, two seconds after the last key at the earliest; when the caller hung up the mask stays until the call
is gone.
"""
TABLE = """\
What each event may lead to; "-" is refused. Where a phase stays, what it holds may have changed, or the event, such
as an answer of the vault that comes late, was ignored.
"""


def mermaid(edges: list[Edge], first: str) -> str:
    """The diagram of ``(from, to, event)``; events that lead the same way share an arrow."""
    labels: dict[tuple[str, str], list[str]] = {}
    for start, end, event in edges:
        labels.setdefault((start, end), []).append(event)
    arrows = [f"    {start} --> {end}: {', '.join(events)}" for (start, end), events in labels.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *arrows, "```", ""])


def capture_outcomes() -> dict[tuple[Phase, type], set[Phase]]:
    """For each phase and event: the phases that it can lead to. Events that are refused are not there."""
    outcomes: dict[tuple[Phase, type], set[Phase]] = {}
    for attempts in (1, 2):
        rules = CaptureRules(attempts=attempts, min_postal_code_length=2)
        start, _ = capture.begin((FIELD,), rules, (2026, 11), 0.0)
        waiting, seen = [(start, 0.0)], {_kind(start, 0.0)}
        while waiting:
            state, now = waiting.pop()
            for event, moment in _trials(now):
                try:
                    following, _ = capture.step(state, event, moment)
                except StateError:
                    continue
                outcomes.setdefault((state.phase, type(event)), set()).add(following.phase)
                kind = _kind(following, moment)
                if kind not in seen and _small(following):
                    seen.add(kind)
                    waiting.append((following, moment))
    return outcomes


def _trials(now: float) -> Iterator[tuple[Event, float]]:
    events = (
        KeyPressed("1"),
        KeyPressed("#"),
        TimePassed(),
        FieldsRequested((FIELD,)),
        FieldDropped(FIELD),
        FieldDropped(Field.SECURITY_CODE),  # another than the one that is keyed or stored
        FieldAccepted(FIELD, "tok_" + "a" * 22),
        FieldRefused(FIELD, CaptureError.INVALID_POSTAL_CODE),
        VaultUnreachable(FIELD),
        EndRequested(),
        CallerHungUp(),
    )
    for event in events:
        yield event, now
        yield event, now + LATER_S


def _kind(state: CaptureState, now: float) -> tuple[str, ...]:
    """What distinguishes a state from another, but for the clock."""
    due = state.deadline is not None and state.deadline <= now
    recent = state.last_key_at is not None and state.last_key_at + capture.UNMASK_AFTER_KEY_S > now
    rest = replace(state, digits=DigitBuffer(), ahead=KeyBuffer(), deadline=None, last_key_at=None)
    return repr(rest), state.digits.expose(), state.ahead.expose(), str((due, recent))


def _small(state: CaptureState) -> bool:
    return len(state.queue) <= 2 and len(state.digits) <= 2 and len(state.ahead.expose()) <= 3


def render() -> str:
    """The whole document."""
    calls: list[Edge] = [(a, b, event) for a, row in call.TRANSITIONS.items() for event, b in row.items()]
    payments: list[Edge] = [
        (a, b, event) for a, row in payment.TRANSITIONS.items() for event, b in row.items()
    ]
    outcomes = capture_outcomes()
    kinds = list(dict.fromkeys(kind for row in capture.TRANSITIONS.values() for kind in row))
    captures: list[Edge] = [
        (phase, end, kind.__name__)
        for phase in Phase
        for kind in kinds
        for end in sorted(outcomes.get((phase, kind), set()))
        if end is not phase
    ]
    header = ["event", *Phase]
    rows = [
        [kind.__name__, *(", ".join(sorted(outcomes.get((phase, kind), set()))) or "-" for phase in Phase)]
        for kind in kinds
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
    final = ", ".join(f"`{state}`" for state in payment.PaymentState if state in payment.FINAL_FOR_CAPTURE)
    parts = [
        HEADER,
        CALL,
        mermaid(calls, call.CallState.RINGING),
        PAYMENT.format(final=final),
        mermaid(payments, payment.PaymentState.CREATED),
        CAPTURE,
        mermaid(captures, Phase.COLLECTING),
        TABLE,
        table + "\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(render(), "utf-8")
    print(f"wrote {DOCUMENT}")
