"""What nobody but people can find out, closed by hand after a look at the acquirer's own tool.

Rules: the vault decides whether something waits for people, and keeps what they say; the panel learns it from there
as it learns every outcome. Who said what is in the payment's story and in the audit.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from paycall.domain.errors import InputError, StateError
from paycall.panel.roles import Principal
from paycall.panel.services.authorizing import AuthorizationService
from paycall.panel.services.context import Context
from paycall.panel.services.operations import OperationService
from paycall.panel.services.records import tell
from paycall.panel.services.views import NEEDS_REVIEW
from paycall.panel.services.visibility import payment_for
from paycall.store.tables import AttemptRow, OperationRow

Verdict = Literal["approved", "reversed", "done", "failed"]


class ReviewService:
    """Closes by hand."""

    def __init__(
        self, context: Context, authorizations: AuthorizationService, operations: OperationService
    ) -> None:
        self._context = context
        self._authorizations = authorizations
        self._operations = operations

    async def close(
        self, payment_id: str, principal: Principal, verdict: Verdict, acquirer_reference: str | None
    ) -> None:
        """Write down what became of the payment's authorization or operation that waits for people.

        Parameters
        ----------
        verdict
            ``approved`` or ``reversed`` for an authorization, ``done`` or ``failed`` for an operation.
        acquirer_reference
            The acquirer's name of an authorization that it approved.

        Raises
        ------
        StateError
            If nothing of this payment waits for people.
        InputError
            If the verdict is none for what waits, or an approval has no name.
        """

        def waiting(session: Session) -> tuple[str | None, str | None]:
            payment_for(session, payment_id, principal)
            return _waiting(session, payment_id)

        attempt_id, operation_id = await self._context.read(waiting)
        subject = attempt_id or operation_id
        if subject is None:
            raise StateError("nothing of this payment waits for a person")
        fits = ("approved", "reversed") if attempt_id else ("done", "failed")
        if verdict not in fits or (verdict == "approved" and not acquirer_reference):
            raise InputError("this is no answer to what is asked")
        await self._context.deps.vault.close_by_hand(subject, verdict, acquirer_reference)

        def record(session: Session) -> None:
            row = payment_for(session, payment_id, principal, for_change=True)
            tell(session, row, "closed_by_hand", self._context.now(), by=principal.id, detail={})

        await self._context.write(record)
        if attempt_id:
            await self._authorizations.look_now(attempt_id)
        if operation_id:
            await self._operations.look_now(operation_id)


def _waiting(session: Session, payment_id: str) -> tuple[str | None, str | None]:
    """The attempt, or else the operation, that waits for people."""
    attempt = session.scalars(
        select(AttemptRow.id).where(
            AttemptRow.payment_id == payment_id,
            AttemptRow.state == "unknown",
            AttemptRow.error == NEEDS_REVIEW,
        )
    ).first()
    operation = session.scalars(
        select(OperationRow.id).where(
            OperationRow.payment_id == payment_id,
            OperationRow.state == "pending",
            OperationRow.error == NEEDS_REVIEW,
        )
    ).first()
    return attempt, None if attempt else operation
