"""What nobody but people can find out: shown to them, and closed by hand.

Rules: only what the resolver could not find out may be closed, and only while nobody is asking about it; what is
closed stays closed. Whoever closes it has looked into the acquirer's own tool. Everything is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal

import structlog
from sqlalchemy import Connection

from paycall.audit import Entry
from paycall.domain.card_ports import Traits
from paycall.domain.errors import InputError, NotFoundError, StateError
from paycall.domain.ports import Clock
from paycall.vault.acquiring import Acquirers
from paycall.vault.attempts import Attempt, Operation, reversed_
from paycall.vault.codes import SecurityCodes
from paycall.vault.store import Store
from paycall.vault.tokenizer import Actor

_log = structlog.get_logger(__name__)
# An acquirer that is away comes back within the hour, or people have to know.
UNKNOWN_S = 3600.0
# What was accepted is carried out within a day or two: captures in batches, refunds when the account has the money.
_PENDING_S = 3 * 86_400.0
Verdict = Literal["approved", "reversed", "done", "failed"]


def needs_review(what: Attempt | Operation, traits: Traits | None, now: datetime) -> bool:
    """Whether an attempt or operation waits for people. ``traits`` is None where the acquirer is set up no more."""
    if what.next_try_at is None:
        return False
    age_s = (now - what.sent_at).total_seconds()
    if isinstance(what, Operation):
        return age_s > (_PENDING_S if what.state == "pending" else UNKNOWN_S)
    hopeless = what.reversal == "due" and traits is not None and not traits.reverses
    return hopeless or age_s > UNKNOWN_S


class Reviews:
    """What waits for people. Blocking: call it from worker threads."""

    def __init__(
        self,
        store: Store,
        acquirers: Acquirers,
        codes: SecurityCodes,
        clock: Clock,
        busy: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._acquirers = acquirers
        self._codes = codes
        self._clock = clock
        self._busy = busy

    def waiting(self) -> int:
        """How many attempts and operations wait for people."""
        with self._store.reading() as connection:
            found: list[tuple[Attempt | Operation, str]] = [
                (attempt, attempt.acquirer) for attempt in self._store.open_attempts(connection)
            ]
            for operation, attempt in self._store.open_operations(connection):
                found.append((operation, attempt.acquirer))
        return sum(self.waits(what, acquirer) for what, acquirer in found)

    def waits(self, what: Attempt | Operation, acquirer: str) -> bool:
        """Whether this one does."""
        return needs_review(what, self._acquirers.traits_of(acquirer), self._clock.now())

    def operation_waits(self, operation_id: str) -> bool:
        """Whether this operation does."""
        with self._store.reading() as connection:
            operation = self._store.operation(connection, operation_id)
            attempt = self._store.attempt(connection, operation.attempt_id) if operation else None
        return operation is not None and attempt is not None and self.waits(operation, attempt.acquirer)

    def close(self, subject: str, verdict: Verdict, acquirer_reference: str | None, actor: Actor) -> None:
        """Write down what people found: an attempt approved or reversed, an operation done or failed.

        ``acquirer_reference`` is the acquirer's name of an authorization that is approved.

        Raises
        ------
        NotFoundError
            If there is no such attempt or operation.
        StateError
            If it does not wait for people, or is being asked about at this moment.
        InputError
            If the verdict is none for it, or an approval has no name.
        """
        now = self._clock.now()
        with self._store.begin() as connection:
            attempt = self._store.attempt(connection, subject)
            operation = None if attempt else self._store.operation(connection, subject)
            if attempt is not None:
                self._close_attempt(connection, attempt, verdict, acquirer_reference)
            elif operation is not None:
                self._close_operation(connection, operation, verdict)
            else:
                raise NotFoundError("there is no such attempt or operation")
            entry = Entry(actor.role, "close by hand", subject, verdict, actor.source)
            self._store.note(connection, entry, now)
        _log.warning("closed_by_hand", subject=subject, state=verdict)
        if attempt is not None:
            self._codes.wipe(attempt.token)

    def _close_attempt(
        self, connection: Connection, attempt: Attempt, verdict: Verdict, reference: str | None
    ) -> None:
        self._check(attempt, attempt.attempt_id, attempt.acquirer)
        if verdict == "reversed":
            closed = reversed_(attempt)
        elif (
            verdict == "approved" and attempt.state == "unknown" and (reference or attempt.acquirer_reference)
        ):
            closed = replace(
                attempt,
                state="approved",
                reversal=None,
                acquirer_reference=reference or attempt.acquirer_reference,
                approved_minor=attempt.amount_minor,
                next_try_at=None,
            )
        else:
            raise InputError(
                "an unknown authorization is approved, with the acquirer's reference, or reversed"
            )
        if not self._store.claim_attempt(connection, closed, attempt.next_try_at):
            raise StateError("it has just been found out")

    def _close_operation(self, connection: Connection, operation: Operation, verdict: Verdict) -> None:
        attempt = self._store.attempt(connection, operation.attempt_id)
        self._check(operation, operation.operation_id, attempt.acquirer if attempt else "")
        if verdict not in ("done", "failed"):
            raise InputError("an operation is done or has failed")
        closed = replace(operation, state=verdict, next_try_at=None)
        if not self._store.claim_operation(connection, closed, operation.next_try_at):
            raise StateError("it has just been found out")

    def _check(self, what: Attempt | Operation, subject: str, acquirer: str) -> None:
        if not self.waits(what, acquirer):
            raise StateError("it is being found out, or is known")
        if self._busy(subject):
            raise StateError("the acquirer is being asked at this moment: try again")
