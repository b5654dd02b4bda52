"""What happens by the clock, and what a restart interrupted.

Every second: calls whose cell is gone, security codes whose five minutes are over, cards whose caller has hung up as
long ago, late approvals that nobody kept, delayed settlements.
At the start: attempts and operations that were under way are asked for again, under their old ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from paycall.domain.payment import PaymentEvent, PaymentState
from paycall.panel.services.authorizing import AuthorizationService
from paycall.panel.services.calls import CallService
from paycall.panel.services.captures import CaptureService
from paycall.panel.services.cards import expire_code
from paycall.panel.services.context import Context
from paycall.panel.services.operations import OperationService
from paycall.panel.services.records import AFTER_CALL, call_of, move, payment_for_change
from paycall.panel.services.reversals import ReversalService
from paycall.store.tables import AttemptRow, CallRow, IdempotencyRow, OperationRow, PaymentRow

_log = structlog.get_logger(__name__)
_ROUND_S = 1.0
_TIDY_AFTER_S = 60.0
_REVERSALS_EVERY_S = 5.0
_FORGET_KEYS_AFTER = timedelta(days=2)


class Caretaker:
    """Looks after what no request looks after."""

    def __init__(
        self,
        context: Context,
        calls: CallService,
        captures: CaptureService,
        authorizations: AuthorizationService,
        operations: OperationService,
        reversals: ReversalService,
    ) -> None:
        self._context = context
        self._calls = calls
        self._captures = captures
        self._tidy_at_s: float | None = None
        self._authorizations = authorizations
        self._operations = operations
        self._reversals = reversals
        self._reversals_at_s = 0.0

    async def recover(self) -> None:
        """Take up again what the last run of the panel left in the middle."""
        self._tidy_at_s = self._context.deps.clock.monotonic() + _TIDY_AFTER_S
        attempts, operations, approved = await self._context.read(_unfinished)
        for attempt_id in attempts:
            self._authorizations.follow_soon(attempt_id)
        for operation_id in operations:
            self._operations.carry_out_soon(operation_id)
        if self._context.deps.settings.settlement == "immediate":
            for payment_id in approved:
                await self._operations.settle_by_itself(payment_id)

    async def run(self) -> None:
        """Round after round, until cancelled."""
        await self.recover()
        while True:
            try:
                await self.round()
            except SQLAlchemyError as error:  # the database is away; it comes back, and so do we
                _log.error("caretaker_failed", error=type(error).__name__)
            await asyncio.sleep(_ROUND_S)

    async def round(self) -> None:
        """Look once at everything that is due."""
        if self._tidy_at_s is not None and self._context.deps.clock.monotonic() >= self._tidy_at_s:
            self._tidy_at_s = None
            await self.tidy()
        if self._context.deps.clock.monotonic() >= self._reversals_at_s:
            self._reversals_at_s = self._context.deps.clock.monotonic() + _REVERSALS_EVERY_S
            self._context.tasks.start(self._reversals.look_at_all(), "reversals", once=True)
        await self._calls.end_orphans()
        expired, left, unkept, due = await self._context.read(self._due)
        for payment_id in expired:
            await self._close(payment_id, lambda session, row: expire_code(session, row, self._context))
        for payment_id in left:
            await self._close(payment_id, self._give_up)
        for payment_id in unkept:
            await self._operations.void_by_itself(payment_id)
        for payment_id in due:
            await self._operations.settle_by_itself(payment_id)

    def _due(self, session: Session) -> tuple[list[str], list[str], list[str], list[str]]:
        now = self._context.now()
        ready = select(PaymentRow.id).where(PaymentRow.state == PaymentState.READY.value)
        expired = session.scalars(ready.where(PaymentRow.code_expires_at <= now)).all()
        left = session.scalars(
            ready.join(CallRow, CallRow.id == PaymentRow.call_id).where(CallRow.ended_at <= now - AFTER_CALL)
        ).all()
        approved = select(PaymentRow.id).where(PaymentRow.state == PaymentState.APPROVED.value)
        unkept = session.scalars(approved.where(PaymentRow.decision_deadline <= now)).all()
        due = session.scalars(approved.where(PaymentRow.settle_at <= now)).all()
        return [*expired], [*left], [*unkept], [*due]

    def _give_up(self, session: Session, row: PaymentRow) -> None:
        """The caller hung up and the card was not charged: it is not kept for anybody's later idea."""
        move(session, row, PaymentEvent.CANCELLED, self._context.now(),
             detail={"error": call_of(session, row).end_reason})  # fmt: skip

    async def _close(self, payment_id: str, change: Callable[[Session, PaymentRow], None]) -> None:
        """Change a payment that is ready, unless it was charged in this very moment."""

        def work(session: Session) -> str | None:
            row = payment_for_change(session, payment_id)
            if row.state != PaymentState.READY.value:
                return None
            change(session, row)
            return row.state

        state = await self._context.write(work)
        if state is not None:
            await self._context.show_payment(payment_id)
        if state == PaymentState.CANCELLED.value:
            self._captures.release(payment_id)

    async def tidy(self) -> None:
        """Forget Idempotency-Keys that nobody will repeat any more."""
        before = self._context.now() - _FORGET_KEYS_AFTER
        await self._context.write(
            lambda session: session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < before))
        )


def _unfinished(session: Session) -> tuple[list[str], list[str], list[str]]:
    attempts = session.scalars(
        select(AttemptRow.id)
        .join(PaymentRow, PaymentRow.id == AttemptRow.payment_id)
        .where(
            AttemptRow.state.in_(("authorizing", "unknown")),
            PaymentRow.state.in_((PaymentState.AUTHORIZING.value, PaymentState.UNKNOWN.value)),
        )
    ).all()
    operations = session.scalars(select(OperationRow.id).where(OperationRow.state == "pending")).all()
    approved = session.scalars(
        select(PaymentRow.id).where(
            PaymentRow.state == PaymentState.APPROVED.value, PaymentRow.decision_deadline.is_(None)
        )
    ).all()
    return [*attempts], [*operations], [*approved]
