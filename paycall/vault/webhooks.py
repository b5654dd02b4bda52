"""What acquirers tell us later: webhooks, passed on unread by the panel.

Rules: the signature comes first, and nothing of an unsigned body is looked at or kept. An event counts once,
whatever comes first: it closes what is still open and never opens what is closed; a failure that the acquirer
announces after a success stands. An event that names nothing of ours - another shop's on the same account - is
taken and forgotten. What an event says about a refund whose name we do not know yet is asked for again. Whoever
passes a webhook on learns which operations are taken back by it, each time it comes: the panel may have missed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, timedelta

import structlog
from sqlalchemy import Connection

from gateway_adapters.registry import webhook_receiver
from gateway_adapters.webhooks import WebhookEvent, WebhookKind
from paycall.audit import Entry
from paycall.domain.authorization import OperationOutcome, Outcome
from paycall.domain.errors import NotAllowedError, NotFoundError, RefusedRequestError, StateError
from paycall.domain.ports import Clock
from paycall.vault.acquiring import Acquirers
from paycall.vault.attempts import LATE_S, Attempt, Operation, answered, reversed_
from paycall.vault.codes import SecurityCodes
from paycall.vault.store import Store

_log = structlog.get_logger(__name__)
# Stripe delivers again for three days, Adyen for a month.
_KEEP = timedelta(days=60)
_BATCH = 500
_OPERATIONS = {WebhookKind.SETTLEMENT: "settle", WebhookKind.VOID: "void", WebhookKind.REFUND: "refund"}
_FINAL = (OperationOutcome.DONE, OperationOutcome.FAILED)


class Webhooks:
    """Takes a webhook. Blocking: call it from worker threads."""

    def __init__(self, store: Store, acquirers: Acquirers, codes: SecurityCodes, clock: Clock) -> None:
        self._store = store
        self._acquirers = acquirers
        self._codes = codes
        self._clock = clock

    def take(self, acquirer: str, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Verify a webhook and do what its events say; all of them or, if something is wrong, none.

        Returns
        -------
        list of str
            The ids of operations that the events are about and that have failed, after a success perhaps.

        Raises
        ------
        NotFoundError
            If the site has no such acquirer, or it sends no webhooks.
        NotAllowedError
            If a signature is missing, wrong or too old.
        InputError
            If the signature is right and the body is not what we know.
        StateError
            If an event comes before what it belongs to is known: the acquirer will deliver it again.
        """
        try:
            receiver = webhook_receiver(self._acquirers.named(acquirer))
        except RefusedRequestError:
            receiver = None
        if receiver is None:
            raise NotFoundError("no such acquirer sends webhooks here")
        now = self._clock.now()
        try:
            events = receiver.verify_webhook(headers, body, now.timestamp())
        except NotAllowedError:
            _log.warning("webhook_refused", acquirer=acquirer)
            raise
        answered_tokens: list[str] = []
        failed: list[str] = []
        with self._store.begin() as connection:
            for event in events:
                digest = hashlib.sha256(f"{acquirer}\n{event.event_id}".encode()).digest()
                if self._store.first_delivery(connection, digest, now.astimezone(UTC).isoformat()):
                    answered_tokens += self._apply(connection, acquirer, event)
                failed += self._failed(connection, acquirer, event)
        for token in answered_tokens:
            self._codes.wipe(token)
        return failed

    def delete_old(self) -> int:
        """Forget events that nobody delivers any more; gives how many."""
        with self._store.begin() as connection:
            before = (self._clock.now() - _KEEP).isoformat()
            return self._store.delete_deliveries_before(connection, before, _BATCH)

    def _apply(self, connection: Connection, acquirer: str, event: WebhookEvent) -> list[str]:
        """Do what an event says; gives the tokens whose security code is not needed any more."""
        if event.kind is WebhookKind.AUTHORIZATION:
            return self._authorized(connection, acquirer, event)
        if event.kind is WebhookKind.REVERSAL:
            return self._reversed(connection, acquirer, event)
        if event.kind in _OPERATIONS and event.outcome in _FINAL:
            self._operated(connection, acquirer, event, event.outcome)
        return []

    def _failed(self, connection: Connection, acquirer: str, event: WebhookEvent) -> list[str]:
        if event.kind not in _OPERATIONS or event.outcome is not OperationOutcome.FAILED:
            return []
        operation = self._operation(connection, acquirer, event)
        return [operation.operation_id] if operation is not None and operation.state == "failed" else []

    def _authorized(self, connection: Connection, acquirer: str, event: WebhookEvent) -> list[str]:
        attempt = self._attempt(connection, acquirer, event.our_reference)
        if attempt is None or event.result is None or event.result.outcome is Outcome.UNKNOWN:
            return []
        if not attempt.open:
            approved = event.result.outcome is Outcome.APPROVED
            if approved and attempt.state != "approved" and attempt.reversal is None:
                # The operator was told that nothing was charged: so it shall be.
                _log.error("webhook_contradicts", attempt_id=attempt.attempt_id, state=attempt.state)
                now = self._clock.now().isoformat()
                self._store.update_attempt(
                    connection, replace(attempt, reversal="due", next_try_at=now), even_closed=True
                )
                self._note(connection, "authorize", attempt.attempt_id, "reversal-due", acquirer)
            return []
        return self._write(connection, attempt, answered(attempt, event.result))

    def _reversed(self, connection: Connection, acquirer: str, event: WebhookEvent) -> list[str]:
        """A reversal's outcome. Our reference is the reversal's or the attempt's: their letters are the same.

        One that found nothing to undo has done its work, once nothing can be on its way any more; until then the
        acquirer is to tell it again. One that could not undo what it found has not.
        """
        letters = (event.our_reference or "").partition("_")[2]
        attempt = self._attempt(connection, acquirer, f"att_{letters}")
        if attempt is None and event.original_reference is not None:
            named = self._store.attempt_by_reference(connection, acquirer, event.original_reference)
            attempt = self._attempt(connection, acquirer, named.attempt_id) if named else None
        if attempt is None or attempt.reversal != "due":
            return []
        if event.outcome is not OperationOutcome.DONE:
            if event.original_reference is not None:
                _log.error("reversal_refused", attempt_id=attempt.attempt_id, acquirer=acquirer)
                return []
            if (self._clock.now() - attempt.sent_at).total_seconds() < LATE_S:
                raise StateError("the authorization may be on its way still")
        return self._write(connection, attempt, reversed_(attempt))

    def _write(self, connection: Connection, attempt: Attempt, after: Attempt) -> list[str]:
        if after == attempt:
            return []
        self._store.update_attempt(connection, after)
        self._note(connection, "authorize", attempt.attempt_id, after.state, attempt.acquirer)
        return [attempt.token] if after.state != "unknown" else []

    def _operated(
        self, connection: Connection, acquirer: str, event: WebhookEvent, outcome: OperationOutcome
    ) -> None:
        operation = self._operation(connection, acquirer, event)
        if operation is None or operation.kind != _OPERATIONS[event.kind]:
            return
        taken_back = operation.state == "done" and outcome is OperationOutcome.FAILED
        if operation.next_try_at is None and not taken_back:
            return
        after = replace(
            operation,
            state=outcome.value,
            acquirer_reference=event.acquirer_reference or operation.acquirer_reference,
            raw_code=event.raw_code,
            next_try_at=None,
        )
        self._store.update_operation(connection, after, even_closed=True)
        self._note(connection, operation.kind, operation.operation_id, after.state, acquirer)
        if taken_back:
            _log.error("operation_taken_back", operation_id=operation.operation_id)

    def _operation(self, connection: Connection, acquirer: str, event: WebhookEvent) -> Operation | None:
        """The operation that an event is about: by our own key, else by the acquirer's names."""
        found = self._store.operation(connection, event.our_reference) if event.our_reference else None
        if found is not None:
            attempt = self._attempt(connection, acquirer, found.attempt_id)
            return None if attempt is None else self._store.operation(connection, found.operation_id)
        if event.original_reference is None:
            return None
        attempt = self._store.attempt_by_reference(connection, acquirer, event.original_reference)
        if attempt is None:
            return None
        self._store.lock_attempt(connection, attempt.attempt_id)
        kind = _OPERATIONS[event.kind]
        of_kind = [o for o in self._store.operations_of(connection, attempt.attempt_id) if o.kind == kind]
        if kind != "refund":  # of these there is one that is not over, by the database's own rule
            last = of_kind[-1] if of_kind else None
            return next((o for o in of_kind if o.state not in ("failed", "refused")), last)
        for operation in of_kind:
            if operation.acquirer_reference == event.acquirer_reference:
                return operation
        if any(o.acquirer_reference is None and o.next_try_at is not None for o in of_kind):
            raise StateError("this came before the answer that it belongs to")
        return None

    def _attempt(self, connection: Connection, acquirer: str, attempt_id: str | None) -> Attempt | None:
        """The attempt, if it is this acquirer's; others wait until this is done."""
        if attempt_id is None:
            return None
        self._store.lock_attempt(connection, attempt_id)
        attempt = self._store.attempt(connection, attempt_id)
        return attempt if attempt is not None and attempt.acquirer == acquirer else None

    def _note(self, connection: Connection, action: str, subject: str, state: str, acquirer: str) -> None:
        entry = Entry("vault", action, subject, state, f"webhook of {acquirer}")
        self._store.note(connection, entry, self._clock.now())
