"""Doing without a field that the caller cannot key: a code that is worn off, a postal code that nobody remembers.

Rules: the card number and the expiry date are never dropped - that is another payment, or none - and nothing that the
vault has already. The mask stays on.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from paycall.domain.errors import StateError
from paycall.domain.fields import Field
from paycall.domain.payment import PaymentEvent
from paycall.panel.roles import Principal
from paycall.panel.services.cards import CardService
from paycall.panel.services.context import Context
from paycall.panel.services.records import missing_fields, move, tell
from paycall.panel.services.views import may_drop
from paycall.panel.services.visibility import payment_for
from paycall.store.tables import PaymentRow


class DroppingService:
    """Drops fields of a payment."""

    def __init__(self, context: Context, cards: CardService) -> None:
        self._context = context
        self._cards = cards

    async def drop(self, payment_id: str, field: Field, principal: Principal) -> None:
        """Do without a field that is not there yet; if nothing else is missing, the card is ready.

        Raises
        ------
        StateError
            If the payment cannot do without it, or the vault has it, or it is on its way there.
        """
        context = self._context
        call_id = await context.read(
            lambda session: _droppable(session, payment_id, field, principal).call_id
        )
        live = context.live.get(payment_id)
        if live is not None:
            await context.deps.calls.drop_field(call_id, payment_id, field)

        def record(session: Session) -> None:
            row = _droppable(session, payment_id, field, principal, for_change=True)
            row.fields = [name for name in row.fields if name != field.value]
            tell(session, row, "field_dropped", context.now(), by=principal.id, detail={"field": field.value})
            if not missing_fields(row) and row.token is not None:
                move(session, row, PaymentEvent.CAPTURE_COMPLETED, context.now())

        await context.write(record)
        if live is not None:
            live.fields.pop(field, None)
            if live.collecting is field:
                live.collecting = None
        await self._cards.read_first(payment_id)
        await context.show_payment(payment_id)


def _droppable(
    session: Session, payment_id: str, field: Field, principal: Principal, *, for_change: bool = False
) -> PaymentRow:
    row = payment_for(session, payment_id, principal, for_change=for_change)
    if not may_drop(row, field.value):
        raise StateError("the payment cannot do without this field")
    return row
