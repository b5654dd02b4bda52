"""Settles, voids and refunds: idempotent by ``operation_id``, each with a row of its own.

Rules: as for authorizations, the row is on the disk before anything is sent. A reservation is settled or voided,
once (the database refuses a second); what is refunded never exceeds what was settled. An operation without an
answer is left to the resolver.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from paycall.audit import Entry
from paycall.domain.authorization import OperationResult
from paycall.domain.card_ports import OperationKind
from paycall.domain.errors import (
    InputError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    RefusedRequestError,
    StateError,
)
from paycall.domain.money import Money
from paycall.domain.ports import Clock
from paycall.vault.acquiring import Acquirers
from paycall.vault.attempts import FIRST_PAUSE_S, Attempt, Operation, operated
from paycall.vault.store import Store
from paycall.vault.tokenizer import Actor

_log = structlog.get_logger(__name__)
_Asked = tuple[OperationKind, str, Money | None]
_COUNTS = ("sending", "unknown", "pending", "done")


class Operations:
    """What can be done with an approved authorization."""

    def __init__(self, store: Store, acquirers: Acquirers, clock: Clock) -> None:
        self._store = store
        self._acquirers = acquirers
        self._clock = clock
        self._in_flight: dict[str, tuple[_Asked, asyncio.Task[OperationResult]]] = {}

    @property
    def in_flight(self) -> frozenset[str]:
        """The operations that this process is asking about now."""
        return frozenset(self._in_flight)

    async def carry_out(
        self, kind: OperationKind, operation_id: str, attempt_id: str, money: Money | None, actor: Actor
    ) -> OperationResult:
        """Settle, void or refund; ``money`` None is the whole amount.

        Raises
        ------
        NotFoundError
            If there is no such attempt.
        StateError
            If the authorization does not allow it, or the operation id was used for something else.
        InputError
            If the amount is more than there is, or in another currency.
        NotSentError, RefusedRequestError
            As for authorizations.
        """
        asked = (kind, attempt_id, money)
        running = self._in_flight.get(operation_id)
        if running is None:
            task = asyncio.create_task(self._run(kind, operation_id, attempt_id, money, actor))
            self._in_flight[operation_id] = (asked, task)
            task.add_done_callback(lambda done: self._landed(operation_id, done))
        elif running[0] != asked:
            raise StateError("the operation id was used for another request")
        else:
            task = running[1]
        return await asyncio.shield(task)

    async def stop(self, limit_s: float) -> None:
        """Let what is on its way come to its answer."""
        if self._in_flight:
            await asyncio.wait([task for _, task in self._in_flight.values()], timeout=limit_s)

    async def send(self, operation: Operation, attempt: Attempt) -> OperationResult:
        """Ask the acquirer, the same key each time."""
        adapter = self._acquirers.named(attempt.acquirer)
        key, reference = operation.operation_id, attempt.acquirer_reference or ""
        if operation.kind == "settle":
            return await self._acquirers.ask(adapter.settle(key, reference, operation.money))
        if operation.kind == "void":
            return await self._acquirers.ask(adapter.void(key, reference))
        return await self._acquirers.ask(adapter.refund(key, reference, operation.money))

    def record(self, operation: Operation, actor: Actor) -> Operation:
        """Write what became of an operation; gives what stands afterwards: a webhook may have been faster."""
        with self._store.begin() as connection:
            self._store.update_operation(connection, operation)
            entry = Entry(actor.role, operation.kind, operation.operation_id, operation.state, actor.source)
            self._store.note(connection, entry, self._clock.now())
            stands = self._store.operation(connection, operation.operation_id) or operation
        _log.info("operation", operation_id=operation.operation_id, state=stands.state)
        return stands

    def _landed(self, operation_id: str, task: asyncio.Task[OperationResult]) -> None:
        self._in_flight.pop(operation_id, None)
        if not task.cancelled():
            task.exception()  # seen here too: whoever asked may have gone away

    async def _run(
        self, kind: OperationKind, operation_id: str, attempt_id: str, money: Money | None, actor: Actor
    ) -> OperationResult:
        operation, attempt, fresh = await asyncio.to_thread(
            self._prepare, kind, operation_id, attempt_id, money, actor
        )
        if not fresh:
            if operation.state == "refused":
                raise RefusedRequestError
            return operation.result()
        try:
            after = operated(operation, await self.send(operation, attempt))
        except NotSentError:
            await asyncio.to_thread(self._forget, operation)
            raise
        except RefusedRequestError:
            refused = replace(operation, state="refused", next_try_at=None)
            await asyncio.to_thread(self.record, refused, Actor("vault"))
            raise
        except NoAnswerError:
            after = replace(operation, state="unknown")
        return (await asyncio.to_thread(self.record, after, Actor("vault"))).result()

    def _prepare(
        self, kind: OperationKind, operation_id: str, attempt_id: str, money: Money | None, actor: Actor
    ) -> tuple[Operation, Attempt, bool]:
        try:
            with self._store.begin() as connection:
                self._store.lock_attempt(connection, attempt_id)
                attempt = self._store.attempt(connection, attempt_id)
                if attempt is None:
                    raise NotFoundError("there is no such attempt")
                wanted = money or attempt.money
                earlier = self._store.operation(connection, operation_id)
                if earlier is not None:
                    if (earlier.kind, earlier.attempt_id, earlier.money) != (kind, attempt_id, wanted):
                        raise StateError("the operation id was used for another request")
                    return earlier, attempt, False
                self._check(connection, kind, attempt, wanted)
                return self._write(connection, kind, operation_id, attempt, wanted, actor), attempt, True
        except IntegrityError:
            raise StateError("the authorization is settled or voided already") from None

    def _write(
        self,
        connection: Connection,
        kind: OperationKind,
        operation_id: str,
        attempt: Attempt,
        money: Money,
        actor: Actor,
    ) -> Operation:
        now = self._clock.now()
        operation = Operation(
            operation_id=operation_id,
            attempt_id=attempt.attempt_id,
            kind=kind,
            amount_minor=money.amount_minor,
            currency=money.currency,
            created_at=now.isoformat(),
            next_try_at=(now + timedelta(seconds=FIRST_PAUSE_S)).isoformat(),
        )
        self._store.put_operation(connection, operation)
        entry = Entry(actor.role, kind, operation_id, "sending", actor.source)
        self._store.note(connection, entry, now)
        return operation

    def _check(self, connection: Connection, kind: OperationKind, attempt: Attempt, money: Money) -> None:
        """Whether the authorization allows it; the database's index decides on a race of settle and void."""
        if attempt.state != "approved" or attempt.acquirer_reference is None:
            raise StateError("the authorization is not approved")
        if money.currency != attempt.currency or money.amount_minor > attempt.amount_minor:
            raise InputError("the amount is not within the authorization's")
        traits = self._acquirers.traits_of(attempt.acquirer)
        if kind == "settle" and money != attempt.money and traits is not None and not traits.settles_part:
            raise InputError("this acquirer settles the whole amount only")
        counted = [o for o in self._store.operations_of(connection, attempt.attempt_id) if o.state in _COUNTS]
        if kind != "refund":
            if any(o.kind in ("settle", "void") for o in counted):
                raise StateError("the authorization is settled or voided already")
            return
        settled = sum(
            o.amount_minor for o in counted if o.kind == "settle" and o.state in ("done", "pending")
        )
        refunded = sum(o.amount_minor for o in counted if o.kind == "refund")
        if not settled:
            raise StateError("the authorization is not settled")
        if refunded + money.amount_minor > settled:
            raise StateError("more would be refunded than was settled")

    def _forget(self, operation: Operation) -> None:
        with self._store.begin() as connection:
            self._store.delete_operation(connection, operation.operation_id)
            entry = Entry("vault", operation.kind, operation.operation_id, "not-sent")
            self._store.note(connection, entry, self._clock.now())
