"""Settle, void and refund: written down before they are sent, repeated under the same id until answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.authorization import OperationOutcome, OperationResult
from paycall.domain.errors import (
    AcquirerFault,
    InputError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    NotSentError,
    StateError,
    VaultError,
    VaultUnavailableError,
)
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.payment import PaymentEvent, PaymentState, allows
from paycall.panel.roles import Principal
from paycall.panel.services.captures import CaptureService
from paycall.panel.services.context import Context
from paycall.panel.services.records import move, payment_for_change, tell
from paycall.panel.services.views import NEEDS_REVIEW
from paycall.panel.services.visibility import payment_for
from paycall.settings import PanelSettings
from paycall.store.tables import AttemptRow, OperationRow, PaymentRow

_log = structlog.get_logger(__name__)
_REQUESTED = {
    "settle": PaymentEvent.SETTLE_REQUESTED,
    "void": PaymentEvent.VOID_REQUESTED,
    "refund": PaymentEvent.REFUND_REQUESTED,
}
_DONE = {"settle": PaymentEvent.SETTLED, "void": PaymentEvent.VOIDED, "refund": PaymentEvent.REFUNDED}
_FAILED = {
    "settle": PaymentEvent.SETTLE_FAILED,
    "void": PaymentEvent.VOID_FAILED,
    "refund": PaymentEvent.REFUND_FAILED,
}
_POLL_FIRST_S = 0.5
_POLL_LAST_S = 30.0


@dataclass(frozen=True)
class _Order:
    operation_id: str
    attempt_id: str
    kind: str
    money: Money
    state: str
    by_itself: bool


class OverLimitError(NotAllowedError):
    """The role may do this, but not with so much money."""

    code = "over-limit"
    text = "the amount is above the limit of your role"


class WholeAmountError(InputError):
    """A part was to be settled, and the acquirer takes the whole amount or nothing."""

    code = "whole-amount-only"
    text = "this acquirer settles the whole amount only"


class OperationService:
    """Carries out what happens to an approved amount."""

    def __init__(self, context: Context, captures: CaptureService) -> None:
        self._context = context
        self._captures = captures

    async def request(
        self, payment_id: str, kind: str, principal: Principal, amount_minor: int | None = None
    ) -> None:
        """Start a settle, void or refund; returns when it is written down, the answer follows as events.

        Parameters
        ----------
        kind
            ``settle``, ``void`` or ``refund``.
        amount_minor
            For a settle, None takes all that was approved, less releases the rest; for a refund, None gives back
            all that is left.

        Raises
        ------
        OverLimitError
            If the site allows the role less.
        WholeAmountError
            If the acquirer settles no part.
        InputError
            If it is more than there is.
        StateError
            If the payment's state does not allow it.
        """

        def begin(session: Session) -> str:
            row = payment_for(session, payment_id, principal, for_change=True)
            amount = most(row, kind) if amount_minor is None else amount_minor
            self._check_limit(row, kind, principal, amount)
            return self._begin(session, row, kind, principal.id, amount)

        operation_id = await self._context.write(begin)
        await self._context.show_payment(payment_id)
        self.carry_out_soon(operation_id)

    def _check_limit(self, row: PaymentRow, kind: str, principal: Principal, amount_minor: int) -> None:
        limit = limits_minor(self._context.deps.settings, principal, row.currency).get(kind)
        before = row.refunded_minor if kind == "refund" else 0  # a limit is not met twice by halves
        if limit is not None and before + amount_minor > limit:
            raise OverLimitError

    async def settle_by_itself(self, payment_id: str) -> None:
        """Settle by the site's rule; harmless if somebody was faster."""
        await self._by_itself(payment_id, "settle")

    async def void_by_itself(self, payment_id: str) -> None:
        """Void an approval that nobody kept."""
        await self._by_itself(payment_id, "void")

    async def _by_itself(self, payment_id: str, kind: str) -> None:
        def begin(session: Session) -> str | None:
            row = payment_for_change(session, payment_id)
            if row.state != PaymentState.APPROVED.value:
                return None
            return self._begin(session, row, kind, None, most(row, kind))

        operation_id = await self._context.write(begin)
        if operation_id is not None:
            await self._context.show_payment(payment_id)
            self.carry_out_soon(operation_id)

    def _begin(
        self, session: Session, row: PaymentRow, kind: str, operator_id: str | None, amount_minor: int
    ) -> str:
        now = self._context.now()
        attempt = session.scalars(
            select(AttemptRow).where(AttemptRow.payment_id == row.id, AttemptRow.state == "approved")
        ).first()
        move(session, row, _REQUESTED[kind], now, by=operator_id, detail={"amount_minor": amount_minor})
        if attempt is None:
            raise StateError("no attempt of this payment was approved")
        if not 0 < amount_minor <= most(row, kind):
            raise InputError("amount_minor must be more than 0 and at most what is left of the payment")
        if kind == "settle" and amount_minor < row.amount_minor and not attempt.settles_part:
            raise WholeAmountError
        row.decision_deadline = None
        row.settle_at = None
        operation = OperationRow(
            id=new_id("op"),
            payment_id=row.id,
            attempt_id=attempt.id,
            kind=kind,
            state="pending",
            amount_minor=amount_minor,
            currency=row.currency,
            operator_id=operator_id,
            created_at=now,
        )
        session.add(operation)
        return operation.id

    def carry_out_soon(self, operation_id: str) -> None:
        """Send the operation in the background until it is answered."""
        self._context.tasks.start(self._carry_out(operation_id), f"operation:{operation_id}", once=True)

    async def _carry_out(self, operation_id: str) -> None:
        order = await self._context.read(lambda session: _order(session, operation_id, "pending"))
        pause_s = _POLL_FIRST_S
        while order is not None:
            result, error = await self._send(order)
            if result.outcome in (OperationOutcome.DONE, OperationOutcome.FAILED):
                await self._answered(order, result, error)
                return
            if result.needs_review:
                await self._ask_people(operation_id)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _POLL_LAST_S)

    async def _send(self, order: _Order) -> tuple[OperationResult, str | None]:
        vault = self._context.deps.vault
        try:
            if order.kind == "settle":
                return await vault.settle(order.operation_id, order.attempt_id, order.money), None
            if order.kind == "void":
                return await vault.void(order.operation_id, order.attempt_id), None
            return await vault.refund(order.operation_id, order.attempt_id, order.money), None
        except (VaultUnavailableError, NoAnswerError):
            return OperationResult(OperationOutcome.UNKNOWN), None
        except NotSentError as error:
            if order.by_itself:  # nobody is there to try again, and it is harmless to
                return OperationResult(OperationOutcome.UNKNOWN), None
            return OperationResult(OperationOutcome.FAILED), error.code
        except (VaultError, AcquirerFault, StateError, NotFoundError) as error:
            return OperationResult(OperationOutcome.FAILED), error.code

    async def look_now(self, operation_id: str) -> None:
        """Take over what the vault knows of an operation at this moment."""
        order = await self._context.read(lambda session: _order(session, operation_id, "pending"))
        if order is None:
            return
        result, error = await self._send(order)
        if result.outcome in (OperationOutcome.DONE, OperationOutcome.FAILED):
            await self._answered(order, result, error)

    async def _ask_people(self, operation_id: str) -> None:
        """Nobody else can find it out: shown, once."""

        def record(session: Session) -> str | None:
            operation = session.get_one(OperationRow, operation_id)
            row = payment_for_change(session, operation.payment_id)
            session.refresh(operation)
            if operation.state != "pending" or operation.error == NEEDS_REVIEW:
                return None
            operation.error = NEEDS_REVIEW
            tell(session, row, "needs_review", self._context.now())
            return row.id

        payment_id = await self._context.write(record)
        if payment_id is not None:
            _log.error("needs_review", operation_id=operation_id)
            await self._context.show_payment(payment_id)

    async def look_again(self, operation_id: str) -> None:
        """Ask the vault about an operation that was done: the acquirer may have taken it back.

        Raises
        ------
        VaultUnavailableError
            If the vault cannot say it now; nothing is changed.
        """
        order = await self._context.read(lambda session: _order(session, operation_id, "done"))
        if order is None:
            return  # under way, and asked for until it is answered; or known to have failed
        result, error = await self._send(order)
        if result.outcome is OperationOutcome.UNKNOWN:
            raise VaultUnavailableError
        if result.outcome is OperationOutcome.FAILED:
            _log.error("operation_taken_back", operation_id=operation_id)
            await self._answered(order, result, error)

    async def _answered(self, order: _Order, result: OperationResult, error: str | None) -> None:
        def record(session: Session) -> str | None:
            operation = session.get(OperationRow, order.operation_id)
            if operation is None:
                raise NotFoundError
            row = payment_for_change(session, operation.payment_id)
            session.refresh(operation)
            if operation.state != order.state:
                return None
            now = self._context.now()
            done = result.outcome is OperationOutcome.DONE
            event = _book(row, operation, done)
            operation.state = "done" if done else "failed"
            operation.acquirer_reference = result.acquirer_reference
            operation.raw_code = result.raw_code
            operation.error = error
            operation.finished_at = now
            detail = {"amount_minor": operation.amount_minor, "error": error}
            if allows(PaymentState(row.state), event):
                move(session, row, event, now, detail=detail)
            else:  # a settlement that is taken back when some of it was refunded: people have to sort that out
                tell(session, row, event.value, now, detail=detail)
            return row.id

        payment_id = await self._context.write(record)
        if payment_id is not None:
            await self._context.show_payment(payment_id)
            self._captures.release(payment_id)


def most(row: PaymentRow, kind: str) -> int:
    """The most that can be settled, voided or refunded of a payment, in minor units."""
    return row.settled_minor - row.refunded_minor if kind == "refund" else row.amount_minor


def limits_minor(settings: PanelSettings, principal: Principal, currency: str) -> dict[str, int]:
    """The most of one payment that the site lets this one settle, void or refund; what is not there has no limit."""
    by_kind = {
        "settle": settings.settle_limits_minor,
        "void": settings.void_limits_minor,
        "refund": settings.refund_limits_minor,
    }
    found: dict[str, int] = {}
    for kind, limits in by_kind.items():
        limit = limits.get(principal.limit_name)
        if limit is not None:
            found[kind] = limit.get(currency, 0) if isinstance(limit, dict) else limit
    return found


def _book(row: PaymentRow, operation: OperationRow, done: bool) -> PaymentEvent:
    """Write the amount down in the payment; one that was done and is not is taken out again. What it is called."""
    sign = 1 if done else -1 if operation.state == "done" else 0
    if operation.kind == "settle":
        row.settled_minor += sign * operation.amount_minor
    if operation.kind == "refund":
        row.refunded_minor += sign * operation.amount_minor
        if done and row.refunded_minor < row.settled_minor:
            return PaymentEvent.PARTLY_REFUNDED
    return _DONE[operation.kind] if done else _FAILED[operation.kind]


def _order(session: Session, operation_id: str, state: str) -> _Order | None:
    row = session.get(OperationRow, operation_id)
    if row is None or row.state != state:
        return None
    money = Money(row.amount_minor, row.currency)
    return _Order(row.id, row.attempt_id, row.kind, money, state, by_itself=row.operator_id is None)
