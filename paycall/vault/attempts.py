"""What the vault writes down of an authorization and of an operation, and what an answer makes of it. Pure.

States of an attempt: ``sending`` (written, perhaps sent), ``unknown`` (no answer understood), ``approved``,
``declined``, ``reversed``; ``not-sent`` and ``refused`` are over without an authorization. ``reversal`` is
``due`` from the moment we decide to undo until the acquirer says it is undone, then ``done``: an attempt with
a reversal due is never sent again and never shown as approved. ``next_try_at`` is given exactly while something
is still to be found out or undone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from paycall.domain.authorization import (
    AuthorizationRequest,
    AuthorizationResult,
    OnFile,
    OperationOutcome,
    OperationResult,
    Outcome,
)
from paycall.domain.card_ports import OperationKind
from paycall.domain.declines import decline_for, decline_from_json, decline_to_json
from paycall.domain.money import Money

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 60.0
# How long an authorization may be on its way before the acquirer books it, where nothing holds it back. No acquirer
# says it; it is longer than any time limit on the way that we know of.
LATE_S = 120.0


@dataclass(frozen=True)
class Attempt:
    """One row of the attempts: the idempotency key, what was asked, what was answered."""

    attempt_id: str
    payment_id: str
    token: str
    fingerprint: bytes = field(repr=False)
    amount_minor: int
    currency: str
    reference: str
    description: str
    acquirer: str
    carried_code: bool
    created_at: str
    state: str = "sending"
    reversal: str | None = None
    acquirer_reference: str | None = None
    authorization_code: str | None = None
    avs_result: str | None = None
    code_result: str | None = None
    approved_minor: int | None = None
    decline: str | None = None
    tries: int = 0
    next_try_at: str | None = None
    keep_for: str = ""
    on_file: str | None = None
    first_reference: str | None = None

    @property
    def asked(self) -> AuthorizationRequest:
        """What was asked of the vault."""
        return AuthorizationRequest(
            self.attempt_id, self.payment_id, self.money, self.reference, self.description, self.keep_for
        )

    @property
    def request(self) -> AuthorizationRequest:
        """What was asked of the acquirer."""
        on_file = OnFile(self.on_file) if self.on_file else None
        return replace(self.asked, on_file=on_file, first_reference=self.first_reference)

    @property
    def money(self) -> Money:
        """The amount asked for."""
        return Money(self.amount_minor, self.currency)

    @property
    def sent_at(self) -> datetime:
        """When it was first sent, or just before."""
        return datetime.fromisoformat(self.created_at)

    @property
    def open(self) -> bool:
        """Whether something is still to be found out or undone."""
        return self.next_try_at is not None

    def result(self) -> AuthorizationResult:
        """What the panel is told: an attempt on its way is unknown to everybody but the one who waits for it."""
        return AuthorizationResult(
            outcome=Outcome.UNKNOWN if self.state == "sending" else Outcome(self.state),
            acquirer=self.acquirer,
            acquirer_reference=self.acquirer_reference,
            authorization_code=self.authorization_code,
            avs_result=self.avs_result,
            code_result=self.code_result,
            decline=decline_from_json(json.loads(self.decline)) if self.decline else None,
            approved_minor=self.approved_minor,
            reversal_due=self.state == "declined" and self.reversal == "due",
        )


@dataclass(frozen=True)
class Operation:
    """One row of the operations: a settle, void or refund and its answer."""

    operation_id: str
    attempt_id: str
    kind: OperationKind
    amount_minor: int
    currency: str
    created_at: str
    state: str = "sending"
    acquirer_reference: str | None = None
    raw_code: str | None = None
    tries: int = 0
    next_try_at: str | None = None

    @property
    def money(self) -> Money:
        """The amount asked for."""
        return Money(self.amount_minor, self.currency)

    @property
    def sent_at(self) -> datetime:
        """When it was first sent, or just before."""
        return datetime.fromisoformat(self.created_at)

    def result(self) -> OperationResult:
        """What the panel is told."""
        outcome = OperationOutcome.UNKNOWN if self.state == "sending" else OperationOutcome(self.state)
        return OperationResult(outcome, self.acquirer_reference, self.raw_code)


def answered(attempt: Attempt, result: AuthorizationResult) -> Attempt:
    """The attempt after an answer. A partial approval becomes a decline for insufficient funds, to be reversed."""
    told = replace(
        attempt,
        acquirer_reference=result.acquirer_reference or attempt.acquirer_reference,
        authorization_code=result.authorization_code,
        avs_result=result.avs_result,
        code_result=result.code_result,
        approved_minor=result.approved_minor,
    )
    if attempt.reversal == "due" and result.outcome is Outcome.APPROVED:
        return attempt  # it is being undone: an approval seen on the way changes nothing
    if result.outcome is Outcome.DECLINED and result.decline is not None:
        done = replace(told, state="declined", decline=json.dumps(decline_to_json(result.decline)))
        return _closed(replace(done, reversal="done" if attempt.reversal else None))
    if result.outcome is Outcome.REVERSED:
        return reversed_(told)
    if result.outcome is not Outcome.APPROVED or result.approved_currency not in (None, attempt.currency):
        return replace(told, state="unknown")
    if result.approved_minor is not None and result.approved_minor < attempt.amount_minor:
        partial = json.dumps(decline_to_json(decline_for("iso8583_de39", "51")))
        return replace(told, state="declined", decline=partial, reversal="due")
    return _closed(replace(told, state="approved"))


def reversed_(attempt: Attempt) -> Attempt:
    """The attempt after the acquirer said that it is undone."""
    state = "declined" if attempt.state == "declined" else "reversed"
    return _closed(replace(attempt, state=state, reversal="done"))


def operated(operation: Operation, result: OperationResult) -> Operation:
    """The operation after an answer; one without a final answer stays due."""
    final = result.outcome in (OperationOutcome.DONE, OperationOutcome.FAILED)
    return replace(
        operation,
        state=result.outcome.value,
        acquirer_reference=result.acquirer_reference or operation.acquirer_reference,
        raw_code=result.raw_code,
        next_try_at=None if final else operation.next_try_at,
    )


def later(tries: int, now: datetime, longest_s: float = LONGEST_PAUSE_S) -> str:
    """When to try again after that many tries: 0.25 s, doubled each time, at most ``longest_s``."""
    return (now + timedelta(seconds=min(longest_s, FIRST_PAUSE_S * 2 ** min(tries, 16)))).isoformat()


def _closed(attempt: Attempt) -> Attempt:
    return replace(attempt, next_try_at=None)
