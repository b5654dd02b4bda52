"""Finds out what became of authorizations and operations that got no answer, until it is known.

An attempt, in this order: the same request again, while the security code lives or where none was carried and
the operator may still wait; look up by our reference; after six rounds, or when the acquirer has nothing, or
when the code is gone and nobody there knows: reverse. Once a reversal is decided it is written down and nothing
else is sent for that attempt. Pauses double from a quarter of a second to a minute, across restarts. A row that
says ``sending`` and that this process is not asking about was left by a crash: it is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from paycall.domain.authorization import AuthorizationResult, OperationOutcome, Outcome
from paycall.domain.errors import AcquirerFault, NoAnswerError, NotFoundError, PaycallError
from paycall.domain.ports import Clock
from paycall.vault.acquiring import Acquirers, card_for_adapter, wipe
from paycall.vault.attempts import LONGEST_PAUSE_S, Attempt, Operation, answered, later, operated, reversed_
from paycall.vault.authorizer import Authorizer
from paycall.vault.codes import SecurityCodes
from paycall.vault.operations import Operations
from paycall.vault.store import Store
from paycall.vault.tokenizer import Actor, Tokenizer

_log = structlog.get_logger(__name__)
_WORKER = Actor("vault", "resolver")
_RESEND_WINDOW_S = 300.0
_ROUNDS_BEFORE_REVERSAL = 6
_LONGEST_PENDING_PAUSE_S = 600.0
_AT_ONCE = 8
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
        attempts, due_operations = await asyncio.to_thread(self._due)
        for attempt in attempts:
            if attempt.attempt_id not in authorizer.in_flight:
                self._start(attempt.attempt_id, self._resolve_attempt(attempt, authorizer))
        for operation in due_operations:
            if operation.operation_id not in operations.in_flight:
                self._start(operation.operation_id, self._resolve_operation(operation, operations))

    def _due(self) -> tuple[list[Attempt], list[Operation]]:
        now = self._clock.now().isoformat()
        with self._store.reading() as connection:
            attempts = self._store.attempts_due(connection, now, _BATCH)
            return attempts, self._store.operations_due(connection, now, _BATCH)

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        if key in self._busy or len(self._busy) >= _AT_ONCE:
            work.close()
            return
        task = asyncio.create_task(work)
        self._busy[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: str, task: asyncio.Task[None]) -> None:
        self._busy.pop(key, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("resolver_failed", error=type(error).__name__)

    async def _resolve_attempt(self, due: Attempt, authorizer: Authorizer) -> None:
        """One round for one attempt; its outcome, or when to try again, is on the disk afterwards."""
        now = self._clock.now()
        attempt = replace(
            due,
            state="unknown" if due.state == "sending" else due.state,
            tries=due.tries + 1,
            next_try_at=later(due.tries + 1, now),
        )
        # Written first: a row that makes this process fall over must not be tried again in a hot loop.
        await asyncio.to_thread(self._write, attempt)
        known = attempt
        if attempt.reversal is None:
            known = await self._find_out(attempt, now)
            if known != attempt:
                await asyncio.to_thread(authorizer.record, known, _WORKER)
        if known.reversal == "due":
            after = await self._reverse(known)
            if after != known:
                await asyncio.to_thread(authorizer.record, after, _WORKER)

    def _write(self, attempt: Attempt) -> None:
        with self._store.begin() as connection:
            self._store.update_attempt(connection, attempt)

    async def _find_out(self, attempt: Attempt, now: datetime) -> Attempt:
        """Ask again, or look up; the attempt is closed, has a reversal due, or stays as it was."""
        resendable = self._resendable(attempt, now)
        if resendable:
            result = await self._asked(self._send_again(attempt))
            if result is not None and result.outcome is not Outcome.UNKNOWN:
                return answered(attempt, result)
        try:
            adapter = self._acquirers.named(attempt.acquirer)
            found = await self._acquirers.ask(adapter.look_up(attempt.attempt_id))
        except AcquirerFault as fault:
            nobody_knows = isinstance(fault, NoAnswerError) and attempt.tries >= _ROUNDS_BEFORE_REVERSAL
            return replace(attempt, reversal="due") if nobody_knows else attempt
        if found is not None and found.outcome is not Outcome.UNKNOWN:
            return answered(attempt, found)
        wait_on = attempt.tries < _ROUNDS_BEFORE_REVERSAL and (resendable or found is not None)
        return attempt if wait_on else replace(attempt, reversal="due")

    def _resendable(self, attempt: Attempt, now: datetime) -> bool:
        age_s = (now - datetime.fromisoformat(attempt.created_at)).total_seconds()
        if age_s > _RESEND_WINDOW_S:
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

    async def _reverse(self, attempt: Attempt) -> Attempt:
        # One key for all tries of a reversal: the acquirer recognises it.
        key = "rev_" + attempt.attempt_id.partition("_")[2]
        try:
            adapter = self._acquirers.named(attempt.acquirer)
            result = await self._acquirers.ask(adapter.reverse(key, attempt.attempt_id, attempt.money))
        except AcquirerFault:
            return attempt
        return reversed_(attempt) if result.outcome is OperationOutcome.DONE else attempt

    async def _resolve_operation(self, due: Operation, operations: Operations) -> None:
        """Ask again with the same key."""
        longest_s = _LONGEST_PENDING_PAUSE_S if due.state == "pending" else LONGEST_PAUSE_S
        operation = replace(
            due,
            state="unknown" if due.state == "sending" else due.state,
            tries=due.tries + 1,
            next_try_at=later(due.tries + 1, self._clock.now(), longest_s),
        )
        attempt = await asyncio.to_thread(self._begin_operation, operation)
        try:
            result = await operations.send(operation, attempt)
        except AcquirerFault:
            return  # a refusal of a second request says nothing of the first: it stays unknown
        after = operated(operation, result)
        if after != operation and result.outcome is not OperationOutcome.UNKNOWN:
            await asyncio.to_thread(operations.record, after, _WORKER)

    def _begin_operation(self, operation: Operation) -> Attempt:
        with self._store.begin() as connection:
            self._store.update_operation(connection, operation)
            attempt = self._store.attempt(connection, operation.attempt_id)
        if attempt is None:
            raise NotFoundError
        return attempt
