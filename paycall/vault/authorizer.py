"""Authorizes: writes the attempt and its key down, asks the acquirer once, writes the answer down.

Rules: nothing is sent before its row is on the disk; one attempt id is one authorization, however often it is
asked for; a payment has at most one live authorization (the database refuses a second); the security code goes
when an answer came. An attempt without an answer is left to the resolver. The work goes on if whoever asked
goes away.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog
from sqlalchemy.exc import IntegrityError

from paycall.audit import Entry
from paycall.domain.authorization import AuthorizationRequest, AuthorizationResult, OnFile
from paycall.domain.card import Brand
from paycall.domain.card_ports import Card
from paycall.domain.errors import (
    NoAnswerError,
    NotFoundError,
    NotSentError,
    PaycallError,
    RefusedRequestError,
    SecurityCodeGoneError,
    StateError,
)
from paycall.domain.ports import Clock
from paycall.vault.acquiring import Acquirers, card_for_adapter, wipe
from paycall.vault.attempts import FIRST_PAUSE_S, Attempt, answered
from paycall.vault.budgets import RetryBudgets
from paycall.vault.codes import SecurityCodes
from paycall.vault.kept_cards import KeptCards
from paycall.vault.store import Store
from paycall.vault.tables import LIVE_STATES
from paycall.vault.tokenizer import Actor, Tokenizer

_log = structlog.get_logger(__name__)


class Authorizer:
    """One authorization at a time for each payment."""

    def __init__(
        self,
        store: Store,
        tokenizer: Tokenizer,
        codes: SecurityCodes,
        acquirers: Acquirers,
        budgets: RetryBudgets,
        kept: KeptCards,
        clock: Clock,
    ) -> None:
        self._store = store
        self._tokenizer = tokenizer
        self._codes = codes
        self._acquirers = acquirers
        self._budgets = budgets
        self._kept = kept
        self._clock = clock
        self._in_flight: dict[str, tuple[AuthorizationRequest, asyncio.Task[AuthorizationResult]]] = {}

    @property
    def in_flight(self) -> frozenset[str]:
        """The attempts that this process is asking about now: the resolver leaves them alone."""
        return frozenset(self._in_flight)

    async def authorize(self, request: AuthorizationRequest, token: str, actor: Actor) -> AuthorizationResult:
        """Authorize, or answer again what was answered for this attempt.

        Raises
        ------
        NotFoundError
            If the payment has no such card.
        StateError
            If the payment has a live authorization, or the attempt id was used for something else.
        RetryBudgetSpentError
            If the card's network lets it be tried no more for now.
        SecurityCodeGoneError
            If a security code was keyed and is no longer in memory.
        NotSentError
            If the acquirer could not be reached; the same attempt may be tried again.
        RefusedRequestError
            If the acquirer refused the request itself.
        """
        running = self._in_flight.get(request.attempt_id)
        if running is None:
            task = asyncio.create_task(self._run(request, token, actor))
            self._in_flight[request.attempt_id] = (request, task)
            task.add_done_callback(lambda done: self._landed(request.attempt_id, done))
        elif running[0] != request:
            raise StateError("the attempt id was used for another request")
        else:
            task = running[1]
        return await asyncio.shield(task)

    async def stop(self, limit_s: float) -> None:
        """Let what is on its way come to its answer, for a while; the rest is found out at the next start."""
        tasks = [task for _, task in self._in_flight.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)

    def find(self, attempt_id: str) -> Attempt:
        """What is known of an attempt.

        Raises
        ------
        NotFoundError
            If there is none that could have been sent; one may be on its way to be written (``abandon``).
        """
        with self._store.reading() as connection:
            attempt = self._store.attempt(connection, attempt_id)
        if attempt is None or attempt.state == "refused":
            raise NotFoundError("there is no such attempt")
        return attempt

    def abandon(self, attempt_id: str, actor: Actor) -> Attempt:
        """What is known of an attempt; one that is not known will never be.

        A request that waits for its thread, for the database or in a socket is refused when its turn comes.

        Raises
        ------
        NotFoundError
            If it was not sent, and never will be.
        """
        with suppress(NotFoundError):
            return self.find(attempt_id)
        with suppress(IntegrityError), self._store.begin() as connection:
            now = self._clock.now()
            self._store.forbid_attempt(connection, attempt_id, now.isoformat())
            entry = Entry(actor.role, "authorize", attempt_id, "abandoned", actor.source)
            self._store.note(connection, entry, now)
        return self.find(attempt_id)

    def _landed(self, attempt_id: str, task: asyncio.Task[AuthorizationResult]) -> None:
        self._in_flight.pop(attempt_id, None)
        if not task.cancelled():
            task.exception()  # seen here too: whoever asked may have gone away

    async def _run(self, request: AuthorizationRequest, token: str, actor: Actor) -> AuthorizationResult:
        begun = await asyncio.to_thread(self._begin, request, token, actor)
        if isinstance(begun, AuthorizationResult):
            return begun
        attempt, card = begun
        try:
            after = await self._ask(attempt, card)
        finally:
            wipe(card)
        return (await asyncio.to_thread(self.record, after, Actor("vault"))).result()

    async def _ask(self, attempt: Attempt, card: Card) -> Attempt:
        """Ask the payment's acquirer; the next one only where it was certainly not reached."""
        others = iter(self._acquirers.for_payment(attempt.money, card.pan.brand)[1:])
        while True:
            try:
                adapter = self._acquirers.named(attempt.acquirer)
                return answered(attempt, await self._acquirers.ask(adapter.authorize(attempt.request, card)))
            except NotSentError:
                other = next(others, None)
                if other is None:
                    await asyncio.to_thread(self._forget, attempt)
                    raise
                attempt = replace(attempt, acquirer=other, first_reference=None)
                # Written before it is sent: whoever finds the row after a crash has to ask this one.
                await asyncio.to_thread(self._reroute, attempt)
            except RefusedRequestError:
                refused = replace(attempt, state="refused", next_try_at=None)
                await asyncio.to_thread(self.record, refused, Actor("vault"))
                raise
            except NoAnswerError:
                return replace(attempt, state="unknown")

    def _begin(
        self, request: AuthorizationRequest, token: str, actor: Actor
    ) -> AuthorizationResult | tuple[Attempt, Card]:
        """The attempt, written down, and the card to send; or what was answered to this attempt before.

        What was asked before cannot be prepared again: it is looked for only then.
        """
        try:
            return self._prepare(request, token, actor)
        except PaycallError:
            earlier = self._earlier(request, token)
            if earlier is None:
                raise
            return earlier

    def _earlier(self, request: AuthorizationRequest, token: str) -> AuthorizationResult | None:
        with self._store.reading() as connection:
            attempt = self._store.attempt(connection, request.attempt_id)
        if attempt is None:
            return None
        if (
            attempt.token != token or attempt.asked != request
        ):  # the token first: what is abandoned has no amount
            raise StateError("the attempt id was used for another request")
        if attempt.state == "refused":
            raise RefusedRequestError
        return attempt.result()

    def _prepare(self, request: AuthorizationRequest, token: str, actor: Actor) -> tuple[Attempt, Card]:
        row, plain = self._tokenizer.card_for(request.payment_id, token)
        code = self._codes.get(token)
        if plain.code_keyed and code is None:
            self._refuse_second(request.payment_id)
            raise SecurityCodeGoneError
        now = self._clock.now()
        attempt = Attempt(
            attempt_id=request.attempt_id,
            payment_id=request.payment_id,
            token=token,
            fingerprint=row.fingerprint or b"",
            amount_minor=request.money.amount_minor,
            currency=request.money.currency,
            reference=request.reference,
            description=request.description,
            acquirer=self._acquirers.for_payment(request.money, Brand(row.brand) if row.brand else None)[0],
            carried_code=code is not None,
            created_at=now.isoformat(),
            next_try_at=(now + timedelta(seconds=FIRST_PAUSE_S)).isoformat(),
            keep_for=request.keep_for,
        )
        kept = None
        if row.origin is None and request.keep_for:
            attempt = replace(attempt, on_file=OnFile.FIRST.value)
            kept = self._kept.made_of(plain, attempt.attempt_id, request.keep_for)
        try:
            with self._store.begin() as connection:
                if row.origin is not None:
                    attempt = _on_file_later(attempt, self._kept.first_of(connection, row.origin))
                if not self._store.put_attempt(connection, attempt):
                    raise NotFoundError("the payment has no such card")
                self._budgets.check(connection, row, attempt.attempt_id)
                if kept is not None:
                    self._store.insert_kept_card(connection, kept)
                entry = Entry(actor.role, "authorize", attempt.attempt_id, "sending", actor.source)
                self._store.note(connection, entry, now)
        except IntegrityError:
            raise StateError("the payment has an authorization already") from None
        return attempt, card_for_adapter(plain, code)

    def _refuse_second(self, payment_id: str) -> None:
        with self._store.reading() as connection:
            if self._store.live_attempt_of(connection, payment_id) is not None:
                raise StateError("the payment has an authorization already")

    def _reroute(self, attempt: Attempt) -> None:
        with self._store.begin() as connection:
            self._store.update_attempt(connection, attempt)
            entry = Entry("vault", "authorize", attempt.attempt_id, f"not-sent, now {attempt.acquirer}")
            self._store.note(connection, entry, self._clock.now())

    def _forget(self, attempt: Attempt) -> None:
        """Certainly not sent: no trace but the audit log, so that the same attempt may be tried again."""
        with self._store.begin() as connection:
            self._store.delete_attempt(connection, attempt.attempt_id)
            if attempt.keep_for:
                self._kept.delete_of(connection, attempt.attempt_id)
            entry = Entry("vault", "authorize", attempt.attempt_id, "not-sent")
            self._store.note(connection, entry, self._clock.now())

    def record(self, attempt: Attempt, actor: Actor) -> Attempt:
        """Write what became of an attempt; the code goes as soon as that is known.

        Gives what stands afterwards: a webhook, or whoever closed it by hand, may have been faster.
        """
        if attempt.state not in ("sending", "unknown"):
            self._codes.wipe(attempt.token)
        with self._store.begin() as connection:
            written = self._store.update_attempt(connection, attempt)
            stands = None if written else self._store.attempt(connection, attempt.attempt_id)
            stands = stands or attempt
            if stands.keep_for and stands.state not in LIVE_STATES:
                self._kept.delete_of(connection, attempt.attempt_id)
            result = (
                attempt.state if attempt.reversal is None else f"{attempt.state}, reversal {attempt.reversal}"
            )
            entry = Entry(actor.role, "authorize", attempt.attempt_id, result, actor.source)
            self._store.note(connection, entry, self._clock.now())  # last: others wait here for the commit
        _log.info("attempt", attempt_id=attempt.attempt_id, state=stands.state, acquirer=attempt.acquirer)
        return stands


def _on_file_later(attempt: Attempt, first: Attempt) -> Attempt:
    """The attempt on a card that was kept with another one; the acquirer knows that one if it was its own."""
    reference = first.acquirer_reference if first.acquirer == attempt.acquirer else None
    return replace(attempt, on_file=OnFile.LATER.value, first_reference=reference)
