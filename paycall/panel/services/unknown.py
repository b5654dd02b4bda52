"""What an operator can do while nobody knows what became of a charge: have it looked up now, or stop waiting.

Rules: neither charges anything, and neither decides what the outcome is. An enquiry is one look-up at the acquirer,
once in a while. A payment that is set aside is searched for as before, and its call is free; if it turns out approved
nobody was waiting for it, so it is kept by somebody's word within ten minutes or voided.
"""

from __future__ import annotations

import structlog
from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError, StateError, VaultError
from paycall.domain.payment import PaymentState
from paycall.panel.rate_limit import TooManyError
from paycall.panel.roles import Principal
from paycall.panel.services.authorizing import AuthorizationService
from paycall.panel.services.captures import CaptureService
from paycall.panel.services.context import Context
from paycall.panel.services.records import latest_attempt, tell
from paycall.panel.services.visibility import payment_for
from paycall.store.tables import PaymentRow

_log = structlog.get_logger(__name__)


class UnknownOutcomeService:
    """Enquires, and sets aside."""

    def __init__(
        self, context: Context, captures: CaptureService, authorizations: AuthorizationService
    ) -> None:
        self._context = context
        self._captures = captures
        self._authorizations = authorizations

    async def enquire(self, payment_id: str, principal: Principal) -> None:
        """Have the acquirer asked now what became of the charge; what it says follows as an event.

        Raises
        ------
        StateError
            If the outcome is known.
        TooManyError
            If it was asked a moment ago.
        """
        context = self._context
        await context.read(lambda session: _waiting(session, payment_id, principal))
        if not context.searches.begin_enquiry(payment_id, context.deps.clock.monotonic()):
            raise TooManyError

        def record(session: Session) -> str:
            row = _waiting(session, payment_id, principal, for_change=True)
            attempt = latest_attempt(session, payment_id)
            if attempt is None:
                raise StateError("nothing of this payment was sent")
            tell(session, row, "enquired", context.now(), by=principal.id)
            return attempt.id

        attempt_id = await context.write(record)
        await context.show_payment(payment_id, "payment.updated")
        context.tasks.start(self._ask(payment_id, attempt_id), f"enquire:{payment_id}", once=True)

    async def _ask(self, payment_id: str, attempt_id: str) -> None:
        try:
            result = await self._context.deps.vault.enquire(attempt_id)
            if result is not None:  # else it was never sent, as whoever follows it finds out
                await self._authorizations.answered(attempt_id, result)
        except (VaultError, NotFoundError) as error:
            _log.warning("enquiry_failed", payment_id=payment_id, code=error.code)
        finally:
            self._context.searches.end_enquiry(payment_id)
        await self._context.show_payment(payment_id, "payment.updated")

    async def set_aside(self, payment_id: str, principal: Principal) -> None:
        """Wait no longer: the line opens and the call is free; the search goes on.

        Raises
        ------
        StateError
            If the outcome is known.
        """

        def record(session: Session) -> None:
            row = _waiting(session, payment_id, principal, for_change=True)
            if row.set_aside_at is None:
                row.set_aside_at = self._context.now()
                tell(session, row, "set_aside", self._context.now(), by=principal.id)

        await self._context.write(record)
        await self._context.show_payment(payment_id, "payment.updated")
        self._captures.end_soon(payment_id)


def _waiting(
    session: Session, payment_id: str, principal: Principal, *, for_change: bool = False
) -> PaymentRow:
    """The payment, whose outcome is not known."""
    row = payment_for(session, payment_id, principal, for_change=for_change)
    if row.state != PaymentState.UNKNOWN.value:
        raise StateError("the outcome is known")
    return row
