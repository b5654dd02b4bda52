"""The approval of a part of the amount is a decline, and that part is given back: what became of that.

Rules: the vault gives it back and goes on until it is done; the panel only looks. What the vault cannot find out
waits for people, as authorizations and operations do.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.authorization import AuthorizationResult
from paycall.domain.errors import VaultError
from paycall.panel.services.context import Context
from paycall.panel.services.records import payment_for_change, tell
from paycall.panel.services.views import NEEDS_REVIEW
from paycall.store.tables import AttemptRow


class ReversalService:
    """Looks after parts that are being given back."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def look_at_all(self) -> None:
        """Ask the vault about each."""
        due = select(AttemptRow.id).where(AttemptRow.reversal_due)
        for attempt_id in await self._context.read(lambda session: [*session.scalars(due)]):
            try:
                await self.look_at(attempt_id)
            except VaultError:
                return  # it is away; the next round asks again

    async def look_at(self, attempt_id: str) -> None:
        """Take over what the vault knows of one at this moment.

        Raises
        ------
        VaultError
            If the vault cannot say it now.
        """
        result = await self._context.deps.vault.attempt(attempt_id)
        if result is None:
            return
        payment_id = await self._context.write(lambda session: self._record(session, attempt_id, result))
        if payment_id is not None:
            await self._context.show_payment(payment_id)

    def _record(self, session: Session, attempt_id: str, result: AuthorizationResult) -> str | None:
        """The payment's id if something changed."""
        attempt = session.get_one(AttemptRow, attempt_id)
        row = payment_for_change(session, attempt.payment_id)
        session.refresh(attempt)
        if not attempt.reversal_due:
            return None
        now = self._context.now()
        if not result.reversal_due:
            attempt.reversal_due, attempt.error = False, None
            tell(session, row, "part_reversed", now, detail={"attempt": attempt.number})
            return row.id
        if result.needs_review and attempt.error != NEEDS_REVIEW:
            attempt.error = NEEDS_REVIEW
            tell(session, row, "needs_review", now)
            return row.id
        return None
