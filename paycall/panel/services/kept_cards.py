"""Cards that callers let be kept for later payments, as far as the panel knows of them: tokens of the vault's.

Rules: off unless the site names the role (``reusable_token_roles``) and the vault keeps cards. A kept card is the
caller's number's: a withheld number keeps none. A payment with a kept card asks the caller for no keys; all that
follows - the charge, its warnings, another card after a decline - is as for a keyed one.
"""

from __future__ import annotations

import hashlib

import structlog
from sqlalchemy import update
from sqlalchemy.orm import Session

from paycall.domain.authorization import KeptCard
from paycall.domain.errors import NotAllowedError, NotFoundError, StateError, VaultError
from paycall.domain.payment import PaymentEvent
from paycall.panel.roles import Permission, Principal
from paycall.panel.services.audit import note
from paycall.panel.services.context import Context
from paycall.panel.services.records import call_of, has_number, move, payment_for_change, tell
from paycall.panel.services.visibility import call_for
from paycall.store.tables import CallRow, PaymentRow

REUSABLE = "reusable"
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_log = structlog.get_logger(__name__)


class WithheldNumberError(StateError):
    """Whoever calls without a number cannot be told from others who do."""

    code = "number-withheld"
    text = "the caller's number is withheld; no card can be kept for it"


def customer_of(call: CallRow) -> str:
    """The vault's name for the customer on a call: an identifier made of the number.

    Raises
    ------
    WithheldNumberError
        If there is no number.
    """
    if not has_number(call):
        raise WithheldNumberError
    digest = hashlib.sha256(f"paycall-customer-1:{call.caller}".encode()).hexdigest()
    return "cus_" + digest.translate(_LETTERS)[:22]


class KeptCardService:
    """Lists, charges and forgets kept cards."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def may(self, principal: Principal) -> bool:
        """Whether this one may keep cards and charge kept ones."""
        allowed = principal.limit_name in self._context.deps.settings.reusable_token_roles
        return allowed and principal.may(Permission.TAKE_PAYMENTS)

    def check(self, principal: Principal) -> None:
        """``NotAllowedError`` unless this one may."""
        if not self.may(principal):
            raise NotAllowedError("reusable tokens are not allowed here")

    async def of_call(self, call_id: str, principal: Principal) -> list[KeptCard]:
        """The caller's kept cards, the one that was used last first; none of a withheld number."""
        try:
            customer = await self._context.read(lambda s: customer_of(call_for(s, call_id, principal)))
        except WithheldNumberError:
            return []
        return await self._context.deps.vault.kept_cards(customer)

    async def charge_from(self, payment_id: str, token: str, principal: Principal) -> None:
        """Take a kept card for a payment that was just made: it is ready to be charged."""
        customer = await self._context.read(lambda session: _customer_of_payment(session, payment_id))
        try:
            await self._context.deps.vault.use_kept_card(payment_id, token, customer)
        except NotFoundError:
            await self._context.write(lambda session: _forgotten(session, token))
            raise
        card = await self._context.deps.vault.card(payment_id)
        if card is None:
            raise NotFoundError

        def ready(session: Session) -> None:
            row = payment_for_change(session, payment_id)
            now = self._context.now()
            move(session, row, PaymentEvent.CAPTURE_STARTED, now, by=principal.id, detail={"fields": []})
            row.token, row.brand, row.last4, row.expiry = card.token, card.brand, card.last4, card.expiry
            tell(session, row, "kept_card_taken", now, by=principal.id)
            move(session, row, PaymentEvent.CAPTURE_COMPLETED, now)

        await self._context.write(ready)
        await self._context.show_payment(payment_id)

    def remember_soon(self, payment_id: str) -> None:
        """The payment was approved: if its card was to be kept, have the payment name it."""
        self._context.tasks.start(self._remember(payment_id), f"kept-card:{payment_id}", once=True)

    async def delete(self, call_id: str, token: str, principal: Principal, address: str) -> None:
        """Forget a kept card, in the vault and here."""
        customer = await self._context.read(lambda s: customer_of(call_for(s, call_id, principal)))
        await self._context.deps.vault.delete_kept_card(customer, token)

        def forgotten(session: Session) -> None:
            _forgotten(session, token)
            now = self._context.now()
            note(session, now, principal.id, "kept-card-deleted", target=token, address=address)

        await self._context.write(forgotten)
        await self._context.show_call(call_id, "call.updated")

    async def _remember(self, payment_id: str) -> None:
        def wanted(session: Session) -> str | None:
            row = session.get_one(PaymentRow, payment_id)
            return _customer_of_payment(session, payment_id) if row.token_type == REUSABLE else None

        customer = await self._context.read(wanted)
        if customer is None:
            return
        try:
            cards = await self._context.deps.vault.kept_cards(customer)
        except VaultError as error:  # the list of the call has it all the same
            _log.warning("kept_card_not_read", payment_id=payment_id, code=error.code)
            return

        def named(session: Session) -> None:
            row = payment_for_change(session, payment_id)
            same = (row.brand, row.last4, row.expiry)
            row.kept_token = next(
                (card.token for card in cards if (card.brand, card.last4, card.expiry) == same), None
            )
            if row.kept_token is not None:
                tell(session, row, "card_kept", self._context.now())

        await self._context.write(named)
        await self._context.show_payment(payment_id)


def _customer_of_payment(session: Session, payment_id: str) -> str:
    return customer_of(call_of(session, session.get_one(PaymentRow, payment_id)))


def _forgotten(session: Session, token: str) -> None:
    session.execute(update(PaymentRow).where(PaymentRow.kept_token == token).values(kept_token=None))
