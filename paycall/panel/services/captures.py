"""Asking the caller for fields: starting a payment on a call, taking fields again, ending the capture.

Rules: what an operator wants is in the database before the cell hears of it; a refusal by the cell is put right
there. The mask is the cell's: nothing here takes it off but ``end``, which is called when the payment is
cancelled or final, or on the operator's own word.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from paycall.domain.call import CallState
from paycall.domain.errors import (
    CaptureSequenceError,
    InputError,
    LinkError,
    NotFoundError,
    PaycallError,
    StateError,
    VaultError,
)
from paycall.domain.fields import DEFAULT_FIELDS, Field
from paycall.domain.ids import new_id
from paycall.domain.money import Money
from paycall.domain.payment import FINAL_FOR_CAPTURE, PaymentEvent, PaymentState, next_state
from paycall.domain.ports import CaptureRules
from paycall.panel.roles import Principal
from paycall.panel.services.context import Context
from paycall.panel.services.duplicates import check_start
from paycall.panel.services.kept_cards import REUSABLE, KeptCardService, customer_of
from paycall.panel.services.owners import hand_over, show_change_of_owner
from paycall.panel.services.records import (
    call_of,
    in_order,
    missing_fields,
    move,
    payment_for_change,
    tell,
)
from paycall.panel.services.views import fields_to_take
from paycall.panel.services.visibility import call_for, payment_for
from paycall.store.tables import CallRow, IdempotencyRow, PaymentRow

_log = structlog.get_logger(__name__)
_END_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class KeyReusedError(InputError):
    """The same Idempotency-Key with another request."""

    code = "idempotency-key-reused"
    text = "this Idempotency-Key was used for another request"


@dataclass(frozen=True)
class NewPayment:
    """What an operator asks for."""

    money: Money
    reference: str = ""
    description: str = ""
    fields: Sequence[Field] = DEFAULT_FIELDS
    caller_language: str = ""
    token_type: str = "one-time"  # noqa: S105 - a kind of token
    kept_card: str | None = None
    confirm_duplicate: bool = False

    def digest(self, call_id: str) -> str:
        """A fingerprint, to tell the same request from another one under the same key."""
        text = json.dumps(
            [
                call_id,
                self.money.amount_minor,
                self.money.currency,
                self.reference,
                self.description,
                [*self.fields],
                *filter(None, [self.caller_language, self.kept_card]),
                *([REUSABLE] if self.token_type == REUSABLE else []),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()


class CaptureService:
    """Starts, repeats and ends captures."""

    def __init__(self, context: Context, kept_cards: KeptCardService) -> None:
        self._context = context
        self._kept_cards = kept_cards

    async def create(self, call_id: str, new: NewPayment, key: str, principal: Principal) -> tuple[str, bool]:
        """Make a payment on a call and ask the caller for its fields.

        Returns
        -------
        tuple
            The payment's id, and whether it is new (False: the key was used for it before).
        """
        if not new.fields and new.kept_card is None:
            raise InputError("a payment needs at least one field")
        _check_sequence([*new.fields], stored=())
        if new.kept_card is not None or new.token_type == REUSABLE:
            self._kept_cards.check(principal)
        insert = partial(self._insert, call_id=call_id, new=new, key=key, principal=principal)
        try:
            payment_id, fresh, claimed = await self._context.write(insert)
        except IntegrityError:  # the same key at the same moment: the other request was first
            payment_id, fresh, claimed = await self._context.write(insert)
        if not fresh:
            return payment_id, False
        if claimed:
            await show_change_of_owner(self._context, call_id, "call.claimed", None)
        else:
            await self._context.show_call(call_id, "call.claimed")
        await self._context.show_payment(payment_id)
        try:
            if new.kept_card is not None:
                await self._kept_cards.charge_from(payment_id, new.kept_card, principal)
            else:
                await self._command(payment_id, call_id, in_order([*new.fields]), new.caller_language)
        except PaycallError as error:
            await self._give_up(payment_id, key, principal, error)
            raise
        return payment_id, True

    def _insert(
        self, session: Session, call_id: str, new: NewPayment, key: str, principal: Principal
    ) -> tuple[str, bool, bool]:
        """The payment's id, whether it is new, and whether the call became this operator's with it."""
        used = session.get(IdempotencyRow, (principal.id, key))
        if used is not None:
            if used.request_hash != new.digest(call_id):
                raise KeyReusedError
            return used.payment_id, False, False
        call = call_for(session, call_id, principal, for_change=True)
        if call.state != CallState.CONNECTED.value:
            raise StateError("the call is not connected")
        if not new.confirm_duplicate:
            check_start(session, call, new.money)
        if new.token_type == REUSABLE:
            customer_of(call)  # a withheld number keeps none
        now = self._context.now()
        claimed = False
        if call.operator_id is None and principal.operator_id is not None:
            claimed = hand_over(session, call, principal.operator_id, now)  # with what a program began on it
        row = PaymentRow(
            id=new_id("pay"),
            call_id=call_id,
            operator_id=principal.operator_id or call.operator_id,
            state=PaymentState.CREATED.value,
            amount_minor=new.money.amount_minor,
            currency=new.money.currency,
            reference=new.reference,
            description=new.description,
            fields=in_order([*new.fields]),
            stored=[],
            caller_language=new.caller_language,
            token_type=new.token_type,
            settled_minor=0,
            refunded_minor=0,
            created_at=now,
            updated_at=now,
        )
        session.add(row)
        session.flush()
        tell(session, row, "created", now, by=principal.id)
        session.add(
            IdempotencyRow(
                owner=principal.id,
                key=key,
                request_hash=new.digest(call_id),
                payment_id=row.id,
                created_at=now,
            )
        )
        return row.id, True, claimed

    async def take(self, payment_id: str, fields: Sequence[Field], principal: Principal) -> None:
        """Ask the caller for these fields (again); the others are kept."""
        if not fields:
            raise InputError("name at least one field")
        wanted = [field.value for field in fields]

        def prepare(session: Session) -> tuple[str, list[str], list[str], str]:
            row = payment_for(session, payment_id, principal, for_change=True)
            if call_of(session, row).state == CallState.ENDED.value:
                raise StateError("the call is over")
            before = list(row.stored)
            taking = fields_to_take(row, wanted)
            _check_sequence(taking, stored=row.stored)
            if row.state != PaymentState.CAPTURING.value:
                move(
                    session, row, PaymentEvent.CAPTURE_STARTED, self._context.now(), by=principal.id,
                    detail={"fields": taking},
                )  # fmt: skip
            row.set_aside_at = None
            row.fields = in_order([*row.fields, *taking])
            row.stored = [name for name in row.stored if name not in taking]
            return row.call_id, taking, before, row.caller_language

        call_id, taking, before, language = await self._context.write(prepare)
        await self._context.show_payment(payment_id)
        try:
            await self._command(payment_id, call_id, taking, language)
        except PaycallError:
            await self._restore(payment_id, before)
            raise

    async def _restore(self, payment_id: str, stored: list[str]) -> None:
        """The cell refused: the vault still has what it had."""

        def put_back(session: Session) -> None:
            row = payment_for_change(session, payment_id)
            if row.state == PaymentState.CAPTURING.value:
                row.stored = in_order([*row.stored, *stored])
                if not missing_fields(row):
                    move(session, row, PaymentEvent.CAPTURE_COMPLETED, self._context.now())

        await self._context.write(put_back)
        await self._context.show_payment(payment_id)

    async def _command(self, payment_id: str, call_id: str, names: Sequence[str], language: str) -> None:
        """Tell the cell, and the scripted caller of a test call."""
        calls = self._context.deps.calls
        fields = tuple(Field(name) for name in names)
        live = self._context.live.get(payment_id)
        if live is not None:
            try:
                await calls.capture_fields(call_id, payment_id, fields)
            except StateError:  # the cell ended the capture a moment ago
                await calls.start_capture(call_id, payment_id, fields, self._rules(language))
        else:
            await calls.start_capture(call_id, payment_id, fields, self._rules(language))
        await self._ask_scripted_caller(call_id, fields)

    def _rules(self, language: str) -> CaptureRules:
        settings = self._context.deps.settings
        return CaptureRules(
            first_key_s=settings.first_key_s,
            between_keys_s=settings.between_keys_s,
            attempts=settings.field_attempts,
            brands=settings.brands,
            language=language,
        )

    async def _ask_scripted_caller(self, call_id: str, fields: Sequence[Field]) -> None:
        test_calls = self._context.deps.test_calls
        if test_calls is None:
            return
        test_call_id = await self._context.read(lambda session: _test_call_id(session, call_id))
        if test_call_id is not None:
            try:
                await test_calls.asked(test_call_id, fields)
            except PaycallError as error:
                _log.warning("test_caller_not_asked", call_id=call_id, code=error.code)

    async def _give_up(self, payment_id: str, key: str, principal: Principal, error: PaycallError) -> None:
        """The capture could not start: no payment, and the key is free for another try."""

        def cancel(session: Session) -> None:
            row = payment_for_change(session, payment_id)
            if row.state in (PaymentState.CREATED.value, PaymentState.CAPTURING.value):
                move(session, row, PaymentEvent.CANCELLED, self._context.now(), detail={"error": error.code})
            used = session.get(IdempotencyRow, (principal.id, key))
            if used is not None:
                session.delete(used)

        await self._context.write(cancel)
        await self._context.show_payment(payment_id)
        if isinstance(error, LinkError):  # the cell may have heard it all the same
            self.end_soon(payment_id)

    async def cancel(self, payment_id: str, principal: Principal) -> None:
        """The payment is off: end its capture and let the vault forget."""

        def off(session: Session) -> None:
            row = payment_for(session, payment_id, principal, for_change=True)
            move(session, row, PaymentEvent.CANCELLED, self._context.now(), by=principal.id)
            row.code_expires_at = None

        await self._context.write(off)
        await self._context.show_payment(payment_id)
        self.release(payment_id)

    async def end(self, payment_id: str, principal: Principal) -> None:
        """End the capture on the operator's own word; the payment stays as it is."""

        def load(session: Session) -> str:
            row = payment_for(session, payment_id, principal, for_change=True)
            tell(session, row, "end_capture_requested", self._context.now(), by=principal.id)
            return row.call_id

        call_id = await self._context.write(load)
        await self._context.deps.calls.end_capture(call_id, payment_id)

    def release(self, payment_id: str) -> None:
        """The payment needs no card any more: unmask when due, and drop it in the vault."""
        self.end_soon(payment_id)
        self._context.tasks.start(self._drop(payment_id), f"drop:{payment_id}", once=True)

    def end_soon(self, payment_id: str) -> None:
        """End the capture in the background, until the cell has heard it or the call is over."""
        self._context.tasks.start(self._end_until_heard(payment_id), f"end-capture:{payment_id}", once=True)

    async def _end_until_heard(self, payment_id: str) -> None:
        for pause_s in (*_END_RETRY_S, *[5.0] * 600):
            call_id = await self._context.read(lambda session: _call_to_unmask(session, payment_id))
            if call_id is None:
                return
            try:
                await self._context.deps.calls.end_capture(call_id, payment_id)
                return
            except (StateError, NotFoundError):
                return  # there is no such capture (any more)
            except LinkError:
                await asyncio.sleep(pause_s)

    async def _drop(self, payment_id: str) -> None:
        for pause_s in (0.5, 2.0, 10.0, 60.0, 300.0):
            try:
                await self._context.deps.vault.drop(payment_id)
                return
            except NotFoundError:
                return
            except VaultError:
                await asyncio.sleep(pause_s)
        _log.warning("vault_drop_failed", payment_id=payment_id)


def _check_sequence(taking: Sequence[str], stored: Sequence[str]) -> None:
    """The vault keeps a security code only beside its card number.

    Raises
    ------
    CaptureSequenceError
        The code would come before the number.
    """
    if Field.SECURITY_CODE in taking and Field.CARD_NUMBER not in (*taking, *stored):
        raise CaptureSequenceError


def _test_call_id(session: Session, call_id: str) -> str | None:
    row = session.get(CallRow, call_id)
    return row.test_call_id if row else None


def _call_to_unmask(session: Session, payment_id: str) -> str | None:
    """The call whose capture is to be ended, or None if that is not wanted any more."""
    row = session.get(PaymentRow, payment_id)
    if row is None or call_of(session, row).state == CallState.ENDED.value:
        return None
    state = PaymentState(row.state)
    over = state in FINAL_FOR_CAPTURE or state is PaymentState.CANCELLED
    return row.call_id if over or row.set_aside_at is not None else None


def capture_may_start(row: PaymentRow) -> bool:
    """Whether a capture event still fits the payment."""
    try:
        next_state(PaymentState(row.state), PaymentEvent.CAPTURE_STARTED)
    except StateError:
        return False
    return True
