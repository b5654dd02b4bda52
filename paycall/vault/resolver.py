"""Finds out what became of authorizations and operations that got no answer, until it is known.

An attempt, in this order: look up by our reference; the same request again, while the security code lives or
where none was carried, and only where the acquirer recognises the key whatever it answered before; after six
rounds, or when the acquirer has nothing and the code is gone: reverse. Once a reversal is decided it is written
down and nothing else is sent for that attempt. Where a reversal does not hold back what arrives late, "nothing" is
believed only after a while and several looks.

An operation: read by our key where that is possible; the same request again only while the acquirer keeps the key,
and never once it was accepted. That it *cannot* be done says nothing to a repeat - the first may have done it - until
the payment was read. What nobody can find out is for people (``reviews``).

Pauses double from a quarter of a second to a minute, across restarts. A row that says ``sending`` and that this
process is not asking about was left by a crash: it is unknown. A row is claimed before anything is done: what was
closed or taken back since it was read is left alone. Each acquirer has its own slots: a dead one delays no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from paycall.domain.authorization import (
    AuthorizationResult,
    OperationOutcome,
    OperationResult,
    Outcome,
    Search,
)
from paycall.domain.card_ports import Traits
from paycall.domain.errors import AcquirerFault, NoAnswerError, PaycallError
from paycall.domain.ports import Clock
from paycall.vault.acquiring import Acquirers, card_for_adapter, wipe
from paycall.vault.attempts import (
    LATE_S,
    LONGEST_PAUSE_S,
    Attempt,
    Operation,
    answered,
    later,
    operated,
    reversed_,
)
from paycall.vault.authorizer import Authorizer
from paycall.vault.codes import SecurityCodes
from paycall.vault.operations import Operations
from paycall.vault.reviews import UNKNOWN_S, needs_review
from paycall.vault.store import Store
from paycall.vault.tokenizer import Actor, Tokenizer

_log = structlog.get_logger(__name__)
_WORKER = Actor("vault", "resolver")
_RESEND_WINDOW_S = 300.0
_ROUNDS_BEFORE_REVERSAL = 6
_LONGEST_WAIT_S = 600.0
# What is carried out in the background may take longer to be seen than an authorization.
_LATE_OPERATION_S = 600.0
_LOOKS = 3
_AT_ONCE = 8  # of each acquirer
_BATCH = 32
_TICK_S = 0.25


class Resolver:
    """The background worker; ``run`` until cancelled."""

    def __init__(
        self,
        store: Store,
        tokenizer: Tokenizer,
        codes: SecurityCodes,
        acquirers: Acquirers,
        clock: Clock,
    ) -> None:
        self._store = store
        self._tokenizer = tokenizer
        self._codes = codes
        self._acquirers = acquirers
        self._clock = clock
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._slots: Counter[str] = Counter()

    async def run(self, authorizer: Authorizer, operations: Operations) -> None:
        """Work for ever."""
        try:
            while True:
                try:
                    await self._start_due(authorizer, operations)
                except Exception as error:  # the database is away: the worker must outlive that
                    _log.error("resolver_failed", error=type(error).__name__)
                await asyncio.sleep(_TICK_S)
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _start_due(self, authorizer: Authorizer, operations: Operations) -> None:
        # Taken before the rows are read: what ends in between may be gone, and is not ours.
        in_flight = authorizer.in_flight | operations.in_flight
        attempts, due_operations = await asyncio.to_thread(self._due)
        in_flight |= authorizer.in_flight | operations.in_flight
        for attempt in attempts:
            if attempt.attempt_id not in in_flight:
                work = self._resolve_attempt(attempt, authorizer)
                self._start(attempt.attempt_id, attempt.acquirer, work)
        for operation, attempt in due_operations:
            if operation.operation_id not in in_flight:
                resolving = self._resolve_operation(operation, attempt, operations)
                self._start(operation.operation_id, attempt.acquirer, resolving)

    def _due(self) -> tuple[list[Attempt], list[tuple[Operation, Attempt]]]:
        now = self._clock.now().isoformat()
        with self._store.reading() as connection:
            if not self._store.anything_due(connection, now):
                return [], []
            attempts = self._store.attempts_due(connection, now, _BATCH)
            return attempts, self._store.operations_due(connection, now, _BATCH)

    def _start(self, key: str, acquirer: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        if key in self._busy or self._slots[acquirer] >= _AT_ONCE:
            work.close()
            return None
        task = asyncio.create_task(work)
        self._busy[key] = task
        self._slots[acquirer] += 1
        task.add_done_callback(lambda done: self._finished(key, acquirer, done))
        return task

    def _finished(self, key: str, acquirer: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(key, None)
        self._slots[acquirer] -= 1
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("resolver_failed", error=type(error).__name__)

    async def _resolve_attempt(self, due: Attempt, authorizer: Authorizer) -> None:
        """One round for one attempt; its outcome, or when to try again, is on the disk afterwards."""
        now = self._clock.now()
        longest_s = _LONGEST_WAIT_S if self._for_people(due, due, now) else LONGEST_PAUSE_S
        attempt = replace(
            due,
            state="unknown" if due.state == "sending" else due.state,
            tries=due.tries + 1,
            next_try_at=later(due.tries + 1, now, longest_s),
        )
        # Written first: a row that makes this process fall over must not be tried again in a hot loop.
        if not await asyncio.to_thread(self._claim, attempt, due.next_try_at):
            return
        known = attempt
        if attempt.reversal is None:
            known = await self._find_out(attempt, now)
            if known != attempt:
                await asyncio.to_thread(authorizer.record, known, _WORKER)
        if known.reversal == "due":
            after = await self._reverse(known, now)
            if after != known:
                await asyncio.to_thread(authorizer.record, after, _WORKER)

    async def enquire(self, attempt_id: str, authorizer: Authorizer) -> None:
        """Look an attempt up now, because somebody waits for it.

        It is an enquiry and no round of the search: nothing is sent again, and a reversal comes no sooner. An attempt
        that is known, or being asked about at this moment, is left alone.

        Raises
        ------
        NotFoundError
            If there is no such attempt.
        """
        attempt = await asyncio.to_thread(authorizer.find, attempt_id)
        if attempt.open and attempt_id not in authorizer.in_flight:
            asking = self._start(attempt_id, attempt.acquirer, self._look_up(attempt_id, authorizer))
            if asking is not None:
                await asyncio.wait([asking])

    async def _look_up(self, attempt_id: str, authorizer: Authorizer) -> None:
        attempt = await asyncio.to_thread(
            authorizer.find, attempt_id
        )  # as it is, now that nobody else works on it
        if self.search(attempt) is None:
            return
        try:
            adapter = self._acquirers.named(attempt.acquirer)
            found = await self._acquirers.ask(adapter.look_up(attempt.attempt_id, attempt.sent_at))
        except AcquirerFault:
            return
        known = attempt if found is None or found.outcome is Outcome.UNKNOWN else answered(attempt, found)
        if known != attempt:
            await asyncio.to_thread(authorizer.record, known, _WORKER)

    def search(self, attempt: Attempt) -> Search | None:
        """What is being done to find out what became of the attempt; None if that is known."""
        if attempt.state not in ("sending", "unknown") or attempt.next_try_at is None:
            return None
        now = self._clock.now()
        traits = self._acquirers.traits_of(attempt.acquirer)
        reversing = attempt.reversal == "due"
        return Search(
            rounds=attempt.tries,
            asks_again=not reversing and traits is not None and self._resendable(attempt, now, traits),
            reversing=reversing,
            next_in_s=max(0.0, (datetime.fromisoformat(attempt.next_try_at) - now).total_seconds()),
            people_in_s=max(0.0, UNKNOWN_S - (now - attempt.sent_at).total_seconds()),
        )

    def busy(self, subject: str) -> bool:
        """Whether an attempt or operation is being found out at this moment."""
        return subject in self._busy

    def _for_people(self, what: Attempt | Operation, attempt: Attempt, now: datetime) -> bool:
        """Whether nobody but people can find it out; told each time it is tried."""
        needed = needs_review(what, self._acquirers.traits_of(attempt.acquirer), now)
        if needed:
            subject = what.attempt_id if isinstance(what, Attempt) else what.operation_id
            _log.error("needs_review", subject=subject, acquirer=attempt.acquirer)
        return needed

    def _claim(self, attempt: Attempt, seen: str | None) -> bool:
        with self._store.begin() as connection:
            return self._store.claim_attempt(connection, attempt, seen)

    async def _find_out(self, attempt: Attempt, now: datetime) -> Attempt:
        """Look up, or ask again; the attempt is closed, has a reversal due, or stays as it was."""
        rounds_over = attempt.tries >= _ROUNDS_BEFORE_REVERSAL
        try:
            adapter = self._acquirers.named(attempt.acquirer)
        except AcquirerFault:
            return attempt
        fault, found = None, None
        try:
            found = await self._acquirers.ask(adapter.look_up(attempt.attempt_id, attempt.sent_at))
        except AcquirerFault as error:
            fault = error
        if found is not None and found.outcome is not Outcome.UNKNOWN:
            return answered(attempt, found)
        resendable = self._resendable(attempt, now, adapter.traits)
        if resendable:
            result = await self._asked(self._send_again(attempt))
            if result is not None and result.outcome is not Outcome.UNKNOWN:
                return answered(attempt, result)
        if fault is not None:
            nobody_knows = isinstance(fault, NoAnswerError) and rounds_over
            return replace(attempt, reversal="due") if nobody_knows else attempt
        if found is None and _may_come_late(attempt, now, adapter.traits):
            return attempt
        wait_on = not rounds_over and (resendable or found is not None)
        return attempt if wait_on else replace(attempt, reversal="due")

    def _resendable(self, attempt: Attempt, now: datetime, traits: Traits) -> bool:
        age_s = (now - attempt.sent_at).total_seconds()
        if traits.forgets_errors or age_s > min(_RESEND_WINDOW_S, traits.key_life_s):
            return False
        return not attempt.carried_code or self._codes.seconds_left(attempt.token) is not None

    async def _send_again(self, attempt: Attempt) -> AuthorizationResult:
        """The very same request; raises if card or code went meanwhile."""
        _, plain = await asyncio.to_thread(self._tokenizer.card_for, attempt.payment_id, attempt.token)
        code = self._codes.get(attempt.token) if attempt.carried_code else None
        if attempt.carried_code and code is None:
            raise NoAnswerError
        card = card_for_adapter(plain, code)
        try:
            adapter = self._acquirers.named(attempt.acquirer)
            return await self._acquirers.ask(adapter.authorize(attempt.request, card))
        finally:
            wipe(card)

    async def _asked(self, call: Coroutine[Any, Any, AuthorizationResult]) -> AuthorizationResult | None:
        """The answer, or None for any fault: a refusal of a second request says nothing of the first."""
        try:
            return await call
        except PaycallError as error:
            _log.warning("resend_failed", code=error.code)
            return None

    async def _reverse(self, attempt: Attempt, now: datetime) -> Attempt:
        # One key for all tries of a reversal: the acquirer recognises it.
        key = "rev_" + attempt.attempt_id.partition("_")[2]
        try:
            adapter = self._acquirers.named(attempt.acquirer)
            if not adapter.traits.reverses:
                return attempt
            call = adapter.reverse(key, attempt.attempt_id, attempt.money, attempt.sent_at)
            result = await self._acquirers.ask(call)
        except AcquirerFault:
            return attempt
        undone = result.outcome is OperationOutcome.DONE and not _may_come_late(attempt, now, adapter.traits)
        return reversed_(attempt) if undone else attempt

    async def _resolve_operation(self, due: Operation, attempt: Attempt, operations: Operations) -> None:
        """One round for one operation."""
        now = self._clock.now()
        waits = due.state == "pending" or self._for_people(due, attempt, now)
        longest_s = _LONGEST_WAIT_S if waits else LONGEST_PAUSE_S
        operation = replace(
            due,
            state="unknown" if due.state == "sending" else due.state,
            tries=due.tries + 1,
            next_try_at=later(due.tries + 1, now, longest_s),
        )
        if not await asyncio.to_thread(self._claim_operation, operation, due.next_try_at):
            return
        try:
            after = await self._find_operation(operation, attempt, now, operations)
        except AcquirerFault:
            return  # nobody can say it now; a refusal of a second request says nothing of the first
        if after != operation:
            await asyncio.to_thread(operations.record, after, _WORKER)

    def _claim_operation(self, operation: Operation, seen: str | None) -> bool:
        with self._store.begin() as connection:
            return self._store.claim_operation(connection, operation, seen)

    async def _find_operation(
        self, operation: Operation, attempt: Attempt, now: datetime, operations: Operations
    ) -> Operation:
        traits = self._acquirers.named(attempt.acquirer).traits
        seen = await self._read_operation(operation, attempt)
        if seen is not None and seen.outcome is not OperationOutcome.UNKNOWN:
            return operated(operation, seen)
        undecided = seen is not None and traits.reads_operations
        if undecided or operation.state == "pending":
            return operation  # sent again, what was accepted would be done again as soon as the key is gone
        age_s = (now - operation.sent_at).total_seconds()
        if traits.forgets_errors or age_s > traits.key_life_s:
            absent = seen is None and age_s > _LATE_OPERATION_S and operation.tries >= _LOOKS
            failed = replace(operation, state="failed", raw_code="not-found", next_try_at=None)
            return failed if absent else operation
        result = await operations.send(operation, attempt)
        if result.outcome is OperationOutcome.FAILED:  # the first one may be why this one cannot be done
            result = await self._read_operation(operation, attempt) or result
        return operation if result.outcome is OperationOutcome.UNKNOWN else operated(operation, result)

    async def _read_operation(self, operation: Operation, attempt: Attempt) -> OperationResult | None:
        adapter = self._acquirers.named(attempt.acquirer)
        reference = attempt.acquirer_reference or ""
        call = adapter.look_up_operation(operation.kind, operation.operation_id, reference, operation.money)
        return await self._acquirers.ask(call)


def _may_come_late(attempt: Attempt, now: datetime, traits: Traits) -> bool:
    """Whether what the acquirer does not have may be on its way still."""
    young = (now - attempt.sent_at).total_seconds() < LATE_S or attempt.tries < _LOOKS
    return young and not traits.holds_back
