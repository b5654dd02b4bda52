"""Charging a captured card, and finding out what became of it.

Rules: an attempt is in the database before it is sent and keeps its id for ever; the vault answers the same id
the same. Where the vault gave no answer, it is asked what it knows of the attempt until it says: no outcome is
guessed. All of it starts again from the database when the panel was restarted in the middle.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from paycall.domain.authorization import AuthorizationRequest, AuthorizationResult, CardSummary, Outcome
from paycall.domain.declines import decline_to_json
from paycall.domain.errors import (
    AcquirerFault,
    NoAnswerError,
    NotFoundError,
    SecurityCodeGoneError,
    StateError,
    VaultError,
    VaultUnavailableError,
)
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.payment import PaymentEvent, PaymentState, allows
from paycall.panel.roles import Principal
from paycall.panel.services.captures import CaptureService
from paycall.panel.services.cards import CardService, expire_code
from paycall.panel.services.context import Context
from paycall.panel.services.duplicates import check_card
from paycall.panel.services.kept_cards import REUSABLE, KeptCardService, customer_of
from paycall.panel.services.operations import OperationService
from paycall.panel.services.records import call_of, latest_attempt, move, payment_for_change, tell
from paycall.panel.services.views import NEEDS_REVIEW, may_authorize
from paycall.panel.services.visibility import payment_for
from paycall.store.tables import AttemptRow, PaymentRow

_log = structlog.get_logger(__name__)
DECISION_WINDOW = timedelta(minutes=10)
_POLL_FIRST_S = 0.25
_POLL_LAST_S = 5.0
_EVENTS = {
    Outcome.APPROVED: PaymentEvent.APPROVED,
    Outcome.DECLINED: PaymentEvent.DECLINED,
    Outcome.REVERSED: PaymentEvent.REVERSED,
    Outcome.UNKNOWN: PaymentEvent.NO_ANSWER,
}


@dataclass(frozen=True)
class _Begun:
    request: AuthorizationRequest
    token: str


class AuthorizationService:
    """Authorizes, and follows every attempt until its outcome is known."""

    def __init__(
        self,
        context: Context,
        captures: CaptureService,
        cards: CardService,
        kept_cards: KeptCardService,
        operations: OperationService,
    ) -> None:
        self._context = context
        self._cards = cards
        self._kept_cards = kept_cards
        self._captures = captures
        self._operations = operations

    async def authorize(
        self, payment_id: str, principal: Principal, *, confirm_duplicate: bool = False
    ) -> None:
        """Charge the captured card. Returns when the attempt is written down; the outcome follows as events."""
        if not confirm_duplicate:
            await self._cards.known_for(payment_id, principal)
        begun = await self._context.write(
            lambda session: self._begin(session, payment_id, principal, confirm_duplicate)
        )
        await self._context.show_payment(payment_id)
        self._context.tasks.start(self._carry_out(begun), f"authorize:{begun.request.attempt_id}", once=True)

    def _begin(
        self, session: Session, payment_id: str, principal: Principal, confirm_duplicate: bool
    ) -> _Begun:
        row = payment_for(session, payment_id, principal, for_change=True)
        previous = latest_attempt(session, payment_id)
        now = self._context.now()
        if row.token is None or not may_authorize(row, previous, call_of(session, row), now):
            raise StateError("the card is not ready to be charged")
        if not confirm_duplicate:
            check_card(session, row, now)
        row.set_aside_at = None
        attempt = AttemptRow(
            id=new_id("att"),
            payment_id=row.id,
            number=previous.number + 1 if previous else 1,
            state="authorizing",
            amount_minor=row.amount_minor,
            currency=row.currency,
            started_at=now,
        )
        session.add(attempt)
        move(
            session, row, PaymentEvent.AUTHORIZE_REQUESTED, now, by=principal.id,
            detail={"attempt": attempt.number},
        )  # fmt: skip
        keep_for = customer_of(call_of(session, row)) if row.token_type == REUSABLE else ""
        return _Begun(_request(row, attempt, keep_for), row.token)

    async def _carry_out(self, begun: _Begun) -> None:
        attempt_id = begun.request.attempt_id
        try:
            result = await self._context.deps.vault.authorize(begun.request, begun.token)
        except (VaultUnavailableError, NoAnswerError):
            await self._follow(attempt_id)
            return
        except (VaultError, AcquirerFault, StateError, NotFoundError) as error:
            await self._not_sent(attempt_id, error.code, code_gone=isinstance(error, SecurityCodeGoneError))
            return
        await self.answered(attempt_id, result)
        if result.outcome is Outcome.UNKNOWN:
            await self._follow(attempt_id)

    def follow_soon(self, attempt_id: str) -> None:
        """Find out in the background what became of an attempt (after a restart of the panel)."""
        self._context.tasks.start(self._follow(attempt_id), f"authorize:{attempt_id}", once=True)

    async def look_now(self, attempt_id: str) -> None:
        """Take over what the vault knows of an attempt at this moment."""
        result = await self._context.deps.vault.attempt(attempt_id)
        if result is not None:
            await self.answered(attempt_id, result)

    async def _follow(self, attempt_id: str) -> None:
        """Ask the vault until it knows the attempt's outcome."""
        payment_id = await self._payment_of(attempt_id)
        try:
            await self._ask_until_known(attempt_id, payment_id)
        finally:
            self._context.searches.forget(payment_id)

    async def _ask_until_known(self, attempt_id: str, payment_id: str) -> None:
        pause_s = _POLL_FIRST_S
        while True:
            try:
                result = await self._context.deps.vault.abandon(attempt_id)
            except VaultError:
                result = AuthorizationResult(Outcome.UNKNOWN, acquirer="")
            else:
                if result is None:
                    # Not only not seen: our request may be on its way still, and is refused when it arrives.
                    await self._not_sent(attempt_id, "not-sent")
                    return
                await self.answered(attempt_id, result)
                if result.outcome is not Outcome.UNKNOWN:
                    return
            if self._context.searches.tell(payment_id, result.search, self._context.deps.clock.monotonic()):
                await self._context.show_payment(payment_id, "payment.updated")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _POLL_LAST_S)

    async def _payment_of(self, attempt_id: str) -> str:
        return await self._context.read(lambda session: session.get_one(AttemptRow, attempt_id).payment_id)

    async def answered(self, attempt_id: str, result: AuthorizationResult) -> None:
        """Write the answer down, show it, and do what follows from it.

        Whether a declined card may be tried again is asked for first: the operator learns both at once.
        """
        declined = result.outcome is Outcome.DECLINED
        card = await self._card_after_decline(attempt_id) if declined else None
        changed = await self._context.write(lambda session: self._record(session, attempt_id, result, card))
        if changed is None:
            return
        payment_id, settle = changed
        await self._context.show_payment(payment_id)
        if result.outcome is Outcome.APPROVED:
            self._captures.end_soon(payment_id)
            self._kept_cards.remember_soon(payment_id)
            if settle:
                await self._operations.settle_by_itself(payment_id)

    def _record(
        self, session: Session, attempt_id: str, result: AuthorizationResult, card: CardSummary | None
    ) -> tuple[str, bool] | None:
        """Returns the payment's id and whether to settle now, or None if nothing changed."""
        attempt = session.get(AttemptRow, attempt_id)
        if attempt is None:
            raise NotFoundError
        row = payment_for_change(session, attempt.payment_id)
        session.refresh(attempt)
        unanswered = attempt.state in ("authorizing", Outcome.UNKNOWN.value)
        now = self._context.now()
        if unanswered and result.needs_review and attempt.error != NEEDS_REVIEW:
            attempt.error = NEEDS_REVIEW
            tell(session, row, "needs_review", now)
            if attempt.state == result.outcome.value:
                return row.id, False
        if not unanswered or attempt.state == result.outcome.value:
            return None
        was_reversed = row.state == PaymentState.AUTHORIZING.value and result.outcome is Outcome.REVERSED
        if was_reversed:  # the table knows "reversed" from "unknown" only
            move(session, row, PaymentEvent.NO_ANSWER, now)
        attempt.state = result.outcome.value
        attempt.acquirer = result.acquirer
        attempt.acquirer_reference = result.acquirer_reference
        attempt.authorization_code = result.authorization_code
        attempt.avs_result = result.avs_result
        attempt.code_result = result.code_result
        attempt.settles_part, attempt.reversal_due = result.settles_part, result.reversal_due
        attempt.decline = decline_to_json(result.decline) if result.decline else None
        if result.outcome is not Outcome.UNKNOWN:
            attempt.error, attempt.answered_at = None, now
            row.stored = [name for name in row.stored if name != Field.SECURITY_CODE.value]
            row.code_expires_at = None
        if card is not None and card.retry is not None and row.token == card.token:
            row.card_retry = asdict(card.retry)
        detail = {"attempt": attempt.number, "reason": result.decline.reason if result.decline else None}
        move(session, row, _EVENTS[result.outcome], now, detail=detail)
        settle = result.outcome is Outcome.APPROVED and self._after_approval(session, row, attempt)
        return row.id, settle

    def _after_approval(self, session: Session, row: PaymentRow, attempt: AttemptRow) -> bool:
        """Plan what happens to the approved amount; whether to settle it now.

        An approval that came after the call was lost in the middle of the authorization, or after the operator had
        stopped waiting, is for people to keep or to void; nobody's word within ten minutes voids it.
        """
        now = self._context.now()
        settings = self._context.deps.settings
        ended_at = call_of(session, row).ended_at
        if row.set_aside_at is not None or (ended_at is not None and ended_at > attempt.started_at):
            row.decision_deadline = now + DECISION_WINDOW
            return False
        if settings.settlement == "delayed":
            row.settle_at = now + timedelta(hours=settings.settlement_delay_hours)
        return settings.settlement == "immediate"

    async def _card_after_decline(self, attempt_id: str) -> CardSummary | None:
        try:
            return await self._context.deps.vault.card(await self._payment_of(attempt_id))
        except VaultError:
            return None  # the vault refuses what its network does not allow in any case

    async def _not_sent(self, attempt_id: str, code: str, *, code_gone: bool = False) -> None:
        """Certainly not charged: the operator may try again, unless they have stopped waiting."""

        def record(session: Session) -> tuple[str, bool] | None:
            attempt = session.get(AttemptRow, attempt_id)
            if attempt is None:
                raise NotFoundError
            row = payment_for_change(session, attempt.payment_id)
            session.refresh(attempt)
            unanswered = attempt.state in ("authorizing", Outcome.UNKNOWN.value)
            if not unanswered or not allows(PaymentState(row.state), PaymentEvent.NOT_SENT):
                return None
            now = self._context.now()
            attempt.state, attempt.error, attempt.answered_at = "not_sent", code, now
            move(session, row, PaymentEvent.NOT_SENT, now, detail={"attempt": attempt.number, "error": code})
            if row.set_aside_at is not None:  # nobody waits for it: the card is not kept for a later idea
                move(session, row, PaymentEvent.CANCELLED, now)
            elif code_gone:
                expire_code(session, row, self._context)
            return row.id, row.set_aside_at is not None

        done = await self._context.write(record)
        if done is not None:
            payment_id, cancelled = done
            await self._context.show_payment(payment_id)
            if cancelled:
                self._captures.release(payment_id)


def _request(row: PaymentRow, attempt: AttemptRow, keep_for: str) -> AuthorizationRequest:
    return AuthorizationRequest(
        attempt_id=attempt.id,
        payment_id=row.id,
        money=Money(attempt.amount_minor, attempt.currency),
        reference=row.reference,
        description=row.description,
        keep_for=keep_for,
    )
