"""What nobody but people can find out, closed by hand after a look at the acquirer's own tool.

Rules: the vault decides whether something waits for people, and keeps what they say; the panel learns it from there
as it learns every outcome. Who said what is in the payment's story and in the audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from paycall.domain.errors import InputError, StateError
from paycall.panel.roles import Principal
from paycall.panel.services.authorizing import AuthorizationService
from paycall.panel.services.context import Context
from paycall.panel.services.operations import OperationService
from paycall.panel.services.records import tell
from paycall.panel.services.reversals import ReversalService
from paycall.panel.services.views import NEEDS_REVIEW
from paycall.panel.services.visibility import payment_for
from paycall.store.tables import AttemptRow, OperationRow

Verdict = Literal["approved", "reversed", "done", "failed"]

_VERDICTS: dict[str, tuple[Verdict, ...]] = {
    "authorization": ("approved", "reversed"),
    "reversal": ("reversed",),
    "operation": ("done", "failed"),
}


@dataclass(frozen=True)
class _Waiting:
    what: Literal["authorization", "reversal", "operation"]
    id: str


class ReviewService:
    """Closes by hand."""

    def __init__(
        self,
        context: Context,
        authorizations: AuthorizationService,
        operations: OperationService,
        reversals: ReversalService,
    ) -> None:
        self._context = context
        self._reversals = reversals
        self._authorizations = authorizations
        self._operations = operations

    async def close(
        self, payment_id: str, principal: Principal, verdict: Verdict, acquirer_reference: str | None
    ) -> None:
        """Write down what became of the payment's authorization or operation that waits for people.

        Parameters
        ----------
        verdict
            ``approved`` or ``reversed`` for an authorization, ``reversed`` for a part that is being given back,
            ``done`` or ``failed`` for an operation.
        acquirer_reference
            The acquirer's name of an authorization that it approved.

        Raises
        ------
        StateError
            If nothing of this payment waits for people.
        InputError
            If the verdict is none for what waits, or an approval has no name.
        """

        def waiting(session: Session) -> _Waiting | None:
            payment_for(session, payment_id, principal)
            return _waiting(session, payment_id)

        found = await self._context.read(waiting)
        if found is None:
            raise StateError("nothing of this payment waits for a person")
        if verdict not in _VERDICTS[found.what] or (verdict == "approved" and not acquirer_reference):
            raise InputError("this is no answer to what is asked")
        await self._context.deps.vault.close_by_hand(found.id, verdict, acquirer_reference)

        def record(session: Session) -> None:
            row = payment_for(session, payment_id, principal, for_change=True)
            tell(session, row, "closed_by_hand", self._context.now(), by=principal.id, detail={})

        await self._context.write(record)
        look = {
            "authorization": self._authorizations.look_now,
            "reversal": self._reversals.look_at,
            "operation": self._operations.look_now,
        }
        await look[found.what](found.id)


def _waiting(session: Session, payment_id: str) -> _Waiting | None:
    """What waits for people."""
    attempt = session.scalars(
        select(AttemptRow).where(
            AttemptRow.payment_id == payment_id,
            AttemptRow.error == NEEDS_REVIEW,
            or_(AttemptRow.state == "unknown", AttemptRow.reversal_due),
        )
    ).first()
    if attempt is not None:
        return _Waiting("authorization" if attempt.state == "unknown" else "reversal", attempt.id)
    operation_id = session.scalars(
        select(OperationRow.id).where(
            OperationRow.payment_id == payment_id,
            OperationRow.state == "pending",
            OperationRow.error == NEEDS_REVIEW,
        )
    ).first()
    return _Waiting("operation", operation_id) if operation_id else None
