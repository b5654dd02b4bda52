"""Examines what a demo left behind, and says whether everything holds.

Rules: nothing is taken from the parts' own word where it can be measured: keys on the agent leg are looked for in
what the operator's phone decoded from its RTP, card data in every file and every byte that the panel sent.
"""

from __future__ import annotations

import math
import wave
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paycall.demo.cards import WALLET
from paycall.demo.leaks import Finding, Searcher
from paycall.demo.leg_evidence import SAMPLE_RATE_HZ, LegEvidence, Pressed, examine
from paycall.demo.scenario import KeyPress, Leg, Record
from paycall.demo.stack import Stack

MAX_RESIDUAL_DB = -50.0
MIN_SPEECH_HEARD = 0.8
_EXPECTED = [("declined", "insufficient_funds", "issuer"), ("approved", None, None)]


@dataclass(frozen=True)
class Check:
    """One claim, and whether it holds."""

    claim: str
    holds: bool
    detail: str


@dataclass
class Search:
    """Where card data was looked for, and what was found.

    Attributes
    ----------
    before
        Bytes that stood in a log before the call: ``serve`` greets with the numbers of test cards.
    knows_payment
        The kinds of places that hold the payment's own identifiers, which shows that the search can see.
    """

    before: dict[Path, int] = field(default_factory=dict)
    findings: set[Finding] = field(default_factory=set)
    files: dict[str, int] = field(default_factory=dict)
    knows_payment: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Report:
    """The result: ``data`` is what ``--json`` prints, ``checks`` decide the exit code."""

    data: Mapping[str, Any]
    checks: Sequence[Check]
    findings: Sequence[Finding]

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(check.holds for check in self.checks)


def no_report(mode: str, error: str) -> dict[str, Any]:
    """What ``--json`` prints of a story that did not come to its end: the same names, nothing measured."""
    return {
        "mode": mode,
        "outcomes": [],
        "payment_state": None,
        "keys_pressed": None,
        "keys_captured": None,
        "agent_leg": None,
        "caller_leg": None,
        "card_data_found": None,
        "searched": None,
        "timings_ms": None,
        "holds": False,
        "fails": None,
        "error": error,
    }


def search_from_here(stack: Stack) -> Search:
    """A search of what is written from now on."""
    logs = [path for path in stack.folder.rglob("*") if path.is_file() and _kind(path) == "logs"]
    return Search(before={path: path.stat().st_size for path in logs})


def search_files(stack: Stack, search: Search, marks: Iterable[str]) -> None:
    """Search every file of the stack: logs, databases with their journals, and whatever else it wrote."""
    searcher = Searcher(WALLET)
    wanted = [mark.encode() for mark in marks]
    for path in sorted(path for path in stack.folder.rglob("*") if path.is_file()):
        try:
            found, data = searcher.in_file(path, search.before.get(path, 0)), path.read_bytes()
        except FileNotFoundError:  # a journal that was folded in this very moment
            continue
        kind = _kind(path)
        search.findings.update(found)
        search.files[str(path.relative_to(stack.folder))] = len(data)
        if any(mark in data for mark in wanted):
            search.knows_payment.add(kind)


def search_events(record: Record, search: Search, marks: Iterable[str]) -> None:
    """Search every byte that the panel sent to the operator."""
    search.findings.update(Searcher(WALLET).in_text(record.received, "the panel's answers and events"))
    if any(mark.encode() in record.received for mark in marks):
        search.knows_payment.add("events")


def _kind(path: Path) -> str:
    if ".sqlite3" in path.name:
        return f"the {path.name.partition('.')[0]}'s database"
    return "logs" if path.suffix in (".log", ".out") else "other files"


def make_report(record: Record, search: Search) -> Report:
    """Put everything together."""
    agent = _examine(record.to_agent, record.pressed)
    caller = _examine(record.to_caller, [])
    delays_ms = key_delays_ms(record)
    captured = keys_captured(record)
    outcomes = [_outcome(attempt) for attempt in record.payment["attempts"]]
    data = {
        "mode": record.mode,
        "outcomes": outcomes,
        "payment_state": record.payment["state"],
        "keys_pressed": len(record.keys),
        "keys_captured": captured,
        "agent_leg": {
            "keys_recovered": agent.keys_detected + record.keys_on_agent_phone,
            "keys_in_audio": agent.keys_detected,
            "keys_as_events": record.keys_on_agent_phone,
            "matched_filter_keys": agent.keys_matched,
            "tone_residual_db": agent.tone_residual_db,
            "speech_heard": min(agent.speech_heard.values(), default=0.0),
            "speech_heard_by_phase": agent.speech_heard,
        },
        "caller_leg": {"speech_heard": min(caller.speech_heard.values(), default=0.0)},
        "card_data_found": len(search.findings),
        "searched": {"files": len(search.files), "bytes": sum(search.files.values()) + len(record.received)},
        "timings_ms": {
            "key_release_to_event": percentiles(delays_ms),
            "authorize_to_result": percentiles([1000 * seconds for seconds in record.authorize_s]),
        },
    }
    checks = _checks(record, search, outcomes, agent, caller, captured)
    data["holds"] = all(check.holds for check in checks)
    data["fails"] = {check.claim: check.detail for check in checks if not check.holds}
    return Report(data, checks, sorted(search.findings, key=lambda finding: finding.place))


def _checks(
    record: Record,
    search: Search,
    outcomes: Sequence[Mapping[str, Any]],
    agent: LegEvidence,
    caller: LegEvidence,
    captured: int,
) -> list[Check]:
    seen = [(o["state"], o["decline_reason"], o["declined_by"]) for o in outcomes]
    recovered = agent.keys_detected + record.keys_on_agent_phone
    most = chance_limit(len(record.keys))
    worst = min(agent.speech_heard.values(), default=0.0)
    back = min(caller.speech_heard.values(), default=0.0)
    blind = {"events", "logs", "the panel's database", "the vault's database"} - search.knows_payment
    states = [str(state) for state, _, _ in seen]
    return [
        Check("one attempt declined, one approved", seen == _EXPECTED, ", ".join(states) or "none"),
        Check("every key was captured", captured == len(record.keys), f"{captured} of {len(record.keys)}"),
        Check("no key can be recovered from the agent leg", recovered == 0, f"{recovered} found"),
        Check(
            "a filter that knows the moments is no better than chance",
            agent.keys_matched <= most,
            f"{agent.keys_matched} of {len(record.keys)}, by chance up to {most}",
        ),
        Check(
            f"what is left of the tones is below {MAX_RESIDUAL_DB:.0f} dB",
            agent.tone_residual_db <= MAX_RESIDUAL_DB,
            f"{agent.tone_residual_db} dB",
        ),
        Check("the operator heard the caller speak, all the time", worst >= MIN_SPEECH_HEARD, f"{worst:.0%}"),
        Check("the caller heard the operator speak, all the time", back >= MIN_SPEECH_HEARD, f"{back:.0%}"),
        Check(
            "no card data in logs, databases and events", not search.findings, f"{len(search.findings)} found"
        ),
        Check(
            "the search sees what is there",
            not blind,
            "blind for " + ", ".join(sorted(blind)) if blind else "yes",
        ),
        Check("no alarm on the call", record.call["alarm"] is None, str(record.call["alarm"] or "none")),
    ]


def _outcome(attempt: Mapping[str, Any]) -> dict[str, Any]:
    decline = attempt["decline"] or {}
    return {
        "state": attempt["state"],
        "decline_reason": decline.get("reason"),
        "declined_by": decline.get("declined_by"),
    }


def _examine(leg: Leg, pressed: Sequence[Pressed]) -> LegEvidence:
    assert leg.recording is not None  # noqa: S101 - the scenario saves it
    with wave.open(str(leg.recording)) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.int16)
    offset = round((leg.spoken_from - leg.heard_from) * SAMPLE_RATE_HZ)
    return examine(heard, offset, leg.spoken, pressed)


def key_delays_ms(record: Record) -> list[float]:
    """From each key's release to the event that showed its dot; a dot that came before the release counts as 0."""
    progress = [event for event in record.events if event.name == "capture.progress"]
    delays = []
    for key in record.keys:
        event = next((e for e in progress if _shows(e.data, key)), None)
        if event is not None:
            progress.remove(event)
            delays.append(max(0.0, 1000 * (event.at - key.released_at)))
    return delays


def _shows(data: Mapping[str, Any], key: KeyPress) -> bool:
    return bool(data["field"] == key.field_name.value and data["digits"] == key.index + 1)


def keys_captured(record: Record) -> int:
    """How many of the keys the panel showed a dot for, each field of each card once."""
    return len(key_delays_ms(record))


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and the largest; None where there are no values."""
    if not values:
        return {"p50": None, "p95": None, "max": None}
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(max(values), 1)}


def chance_limit(keys: int) -> int:
    """How many of ``keys`` keys are guessed right, one in sixteen, but for one time in ten thousand."""
    share, tail = 1 / 16, 1.0
    for count in range(keys + 1):
        tail -= math.comb(keys, count) * share**count * (1 - share) ** (keys - count)
        if tail < 1e-4:
            return count
    return keys
