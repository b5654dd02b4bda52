"""What the panel may know of a keyed card - brand, last four, expiry, the code's time -, asked of the vault.

Rules: a summary that a later field overtook is not taken. Nobody waits long for one but a charge: without it, the
same card could be charged the same amount twice with no warning.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy.orm import Session

from paycall.domain.authorization import CardSummary
from paycall.domain.call import CallState
from paycall.domain.errors import VaultError, VaultUnavailableError
from paycall.domain.fields import Field
from paycall.domain.payment import PaymentEvent, PaymentState
from paycall.panel.roles import Principal
from paycall.panel.services.context import Context
from paycall.panel.services.records import call_of, move, payment_for_change
from paycall.panel.services.visibility import payment_for
from paycall.store.tables import PaymentRow

_log = structlog.get_logger(__name__)
_CODE = Field.SECURITY_CODE.value
_WAIT_S = 0.5
_PAUSES_S = (0.0, 0.0, 0.3, 1.0, 2.0, 5.0)


class CardService:
    """Asks for summaries of cards and keeps them with their payments."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def read_soon(self, payment_id: str) -> None:
        """Ask in the background, and show what is answered."""
        self._context.tasks.start(self._read(payment_id), f"card:{payment_id}")

    async def read_first(self, payment_id: str) -> None:
        """Ask before the operator may charge.

        A vault that does not answer does not hold the call's events up: the summary is then read later.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                await self._read(payment_id, show=False)

    async def known_for(self, payment_id: str, principal: Principal) -> None:
        """See to it that the summary of a card that is ready to be charged is there.

        Raises
        ------
        NotFoundError
            If there is no such payment for this principal.
        VaultUnavailableError
            If the vault does not tell.
        """

        def due(session: Session) -> bool:
            row = payment_for(session, payment_id, principal)
            return row.state == PaymentState.READY.value and _is_due(row)

        if not await self._context.read(due):
            return
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._read_once(payment_id)
        except (VaultError, TimeoutError):
            raise VaultUnavailableError from None

    async def _read(self, payment_id: str, *, show: bool = True) -> None:
        for pause_s in _PAUSES_S:
            await asyncio.sleep(pause_s)
            try:
                if await self._read_once(payment_id):
                    break
            except VaultError:
                continue
        else:
            _log.warning("card_summary_not_read", payment_id=payment_id)
            return
        if show:
            await self._context.show_payment(payment_id, "payment.updated")

    async def _read_once(self, payment_id: str) -> bool:
        """False if a field came or went while the vault answered: such a summary is worth nothing."""
        before = await self._context.read(lambda session: _captured(session, payment_id))
        card = await self._context.deps.vault.card(payment_id)
        return card is None or await self._context.write(
            partial(self._record, payment_id=payment_id, before=before, card=card)
        )

    def _record(self, session: Session, payment_id: str, before: tuple[str, ...], card: CardSummary) -> bool:
        row = payment_for_change(session, payment_id)
        if _captured(session, payment_id) != before:
            return False
        row.brand, row.last4, row.expiry = card.brand, card.last4, card.expiry
        row.card_retry = asdict(card.retry) if card.retry else None
        row.code_expires_at = None
        if card.security_code_seconds_left is not None:
            row.code_expires_at = self._context.now() + timedelta(seconds=card.security_code_seconds_left)
        gone = _CODE in row.stored and not card.has_security_code
        if gone and row.state == PaymentState.READY.value:
            expire_code(session, row, self._context)
        return True


def forget_summary(row: PaymentRow, field: Field) -> None:
    """What was known before this field was keyed (again) is another card's."""
    if field is Field.CARD_NUMBER:
        row.brand = row.last4 = None
    elif field is Field.EXPIRY:
        row.expiry = None


def expire_code(session: Session, row: PaymentRow, context: Context) -> None:
    """The security code is gone: only it has to be keyed again."""
    row.stored = [name for name in row.stored if name != _CODE]
    row.code_expires_at = None
    move(session, row, PaymentEvent.CODE_EXPIRED, context.now())
    if call_of(session, row).state == CallState.ENDED.value:  # nobody is left to key it
        move(session, row, PaymentEvent.CANCELLED, context.now())


def _is_due(row: PaymentRow) -> bool:
    return row.last4 is None or (row.expiry is None and Field.EXPIRY.value in row.stored)


def _captured(session: Session, payment_id: str) -> tuple[str, ...]:
    """What the vault should have of the payment's card: another value means that a field came or went."""
    row = session.get(PaymentRow, payment_id)
    return () if row is None else (row.state, row.token or "", *row.stored)
