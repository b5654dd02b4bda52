"""Takes the fields of a card, hands out tokens, and gives the card to an authorization inside the vault.

Rules: one card a payment. A new number is another card: it gets a new token, takes expiry and postal code over
and wipes the security code. The same field again changes nothing. Cryptography and key providers run outside
of transactions; a row that changed meanwhile is read again. Every change is in the audit log with it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from paycall.audit import Entry
from paycall.domain.authorization import CardSummary
from paycall.domain.card import Brand, Expiry, check_number, code_length
from paycall.domain.errors import CardDataError, NotFoundError, StateError, VaultUnavailableError
from paycall.domain.fields import CaptureError, Field
from paycall.domain.ids import new_id
from paycall.domain.ports import Clock
from paycall.domain.secret import Pan, SecurityCode
from paycall.vault.cards import CardCipher, PlainCard, StoredCard
from paycall.vault.codes import SecurityCodes
from paycall.vault.keys import KeyRing
from paycall.vault.providers.base import WrappedKey
from paycall.vault.sandbox_cards import is_test_number
from paycall.vault.store import Store

FINGERPRINT_KEY = "fingerprint"
_POSTAL_CODE_DIGITS = range(3, 11)
_RACES = 8
_BATCH = 100


@dataclass(frozen=True)
class Actor:
    """Who asks: a role (``cell``, ``panel``, ``vault``) and where from (a peer's credentials or address)."""

    role: str
    source: str = ""


@dataclass(frozen=True)
class TokenizerRules:
    """What the tokenizer accepts and how long it keeps it. ``brands`` None accepts all."""

    live: bool
    keep_s: float
    brands: frozenset[Brand] | None = None


class Tokenizer:
    """The card table's owner. Blocking: call it from worker threads."""

    def __init__(
        self,
        store: Store,
        ring: KeyRing,
        site: str,
        codes: SecurityCodes,
        clock: Clock,
        rules: TokenizerRules,
    ) -> None:
        self._store = store
        self._ring = ring
        self._cipher = CardCipher(site, ring)
        self._codes = codes
        self._clock = clock
        self._rules = rules
        self._fingerprint_key: bytes | None = None
        self._fingerprint_lock = threading.Lock()

    def store_field(self, payment_id: str, field: Field, value: str, actor: Actor) -> str:
        """Keep a field of the payment's card.

        Returns
        -------
        str
            The token of the payment's card.

        Raises
        ------
        CardDataError
            If the value is not one for this field, or the payment has an authorization on its way.
        VaultUnavailableError
            If the key provider can't be reached.
        """
        for _ in range(_RACES):
            try:
                token = self._store_once(payment_id, field, value, actor)
            except IntegrityError:
                continue  # another writer made the payment's first row meanwhile
            if token is not None:
                return token
        raise VaultUnavailableError("the card is being changed by somebody else")

    def summary(self, payment_id: str) -> CardSummary:
        """What a panel may know of the payment's card; ``NotFoundError`` if it has none."""
        row, card = self._read(payment_id)
        seconds_left = self._codes.seconds_left(row.token)
        return CardSummary(
            token=row.token,
            brand=row.brand,
            last4=row.last4,
            expiry=str(card.expiry) if card.expiry else None,
            has_security_code=seconds_left is not None,
            security_code_seconds_left=seconds_left,
        )

    def card_for(self, payment_id: str, token: str) -> tuple[StoredCard, PlainCard]:
        """The card for one authorization.

        Raises
        ------
        NotFoundError
            If the payment has no such card.
        StateError
            If it has no number, or its token is too old.
        TamperedError
            If the stored row is not what was written.
        """
        row, card = self._read(payment_id)
        if row.token != token:
            raise NotFoundError("the payment has no such card")
        if card.pan is None:
            raise StateError("the card number has not been keyed")
        if row.created_at < self._oldest():
            raise StateError("the token is too old; the card has to be keyed again")
        return row, card

    def drop(self, payment_id: str, actor: Actor) -> None:
        """Forget the payment's security code, and its card unless an open attempt needs it."""
        with self._store.begin() as connection:
            row = self._store.card_of(connection, payment_id)
            if row is None:
                return
            self._codes.wipe(row.token)
            live = self._store.live_attempt_of(connection, payment_id)
            if live is None or not live.open:
                self._delete(connection, row, actor, "dropped")

    def delete_expired(self) -> int:
        """Delete cards that are older than they may become; gives how many."""
        with self._store.begin() as connection:
            rows = self._store.cards_before(connection, self._oldest(), _BATCH)
            for row in rows:
                self._codes.wipe(row.token)
                self._delete(connection, row, Actor("vault", "retention"), "expired")
        return len(rows)

    def renew_keys(self) -> int:
        """Put up to a batch of rows under the active key version; gives how many were not yet."""
        version = self._ring.active_version
        self._renew_fingerprint_key(version)
        with self._store.reading() as connection:
            rows = self._store.cards_not_under(connection, version, _BATCH)
        for row in rows:
            card = self._cipher.unlock(row)
            renewed = self.lock(row.token, row.owner, row.created_at, card)
            with self._store.begin() as connection:
                if self._store.delete_card(connection, row):  # else it was changed, under the new key
                    self._store.insert_card(connection, renewed)
        return len(rows)

    def _store_once(self, payment_id: str, field: Field, value: str, actor: Actor) -> str | None:
        with self._store.reading() as connection:
            row = self._store.card_of(connection, payment_id)
            live = self._store.live_attempt_of(connection, payment_id)
        if live is not None:
            raise CardDataError(CaptureError.SESSION_IN_PROGRESS)
        before = self._cipher.unlock(row) if row else PlainCard()
        after, code = self._changed(before, field, value)
        token = row.token if row else new_id("tok")
        if row is None or after != before:
            created_at = row.created_at if row else self._now()
            if row is not None and after.pan != before.pan:
                token, created_at = new_id("tok"), self._now()
            if not self._replace(row, self.lock(token, payment_id, created_at, after), field, actor):
                return None
        if row is not None and row.token != token:
            self._codes.wipe(row.token)
        if code is not None:
            self._codes.put(token, code)
            code.wipe()
        return token

    def _changed(self, card: PlainCard, field: Field, value: str) -> tuple[PlainCard, SecurityCode | None]:
        """The card with the field, and the security code if that is the field."""
        if field is Field.CARD_NUMBER:
            pan = self._accepted(value)
            same = card.pan == pan
            if not same:  # another card: nothing of it was kept before
                card = replace(card, code_keyed=False, origin=None)
            return replace(card, pan=pan), None
        if field is Field.EXPIRY:
            expiry = Expiry.parse(value)
            today = self._clock.now()
            if not expiry.good_in(today.year, today.month):
                raise CardDataError(CaptureError.INVALID_DATE)
            return replace(card, expiry=expiry), None
        if field is Field.POSTAL_CODE:
            if not (value.isascii() and value.isdigit() and len(value) in _POSTAL_CODE_DIGITS):
                raise CardDataError(CaptureError.INVALID_POSTAL_CODE)
            return replace(card, postal_code=value), None
        if card.pan is None:
            raise CardDataError(CaptureError.CODE_BEFORE_NUMBER)
        if len(value) != (code_length(card.pan.brand) or len(value)):
            raise CardDataError(CaptureError.INVALID_SECURITY_CODE)
        return replace(card, code_keyed=True), SecurityCode(value)

    def _accepted(self, value: str) -> Pan:
        pan = Pan(value)
        wrong = check_number(value, self._rules.brands)
        if wrong is not None:
            raise CardDataError(wrong)
        if is_test_number(value) == self._rules.live:
            raise CardDataError(CaptureError.INVALID_CARD_TYPE)
        return pan

    def _replace(self, old: StoredCard | None, new: StoredCard, field: Field, actor: Actor) -> bool:
        with self._store.begin() as connection:
            if old is not None and not self._store.delete_card(connection, old):
                return False
            self._store.insert_card(connection, new)
            entry = Entry(actor.role, f"store {field.value}", new.token, "stored", actor.source)
            self._store.note(connection, entry, self._clock.now())
        return True

    def _delete(self, connection: Connection, row: StoredCard, actor: Actor, result: str) -> None:
        if self._store.delete_card(connection, row):
            entry = Entry(actor.role, "delete card", row.token, result, actor.source)
            self._store.note(connection, entry, self._clock.now())

    def _read(self, payment_id: str) -> tuple[StoredCard, PlainCard]:
        with self._store.reading() as connection:
            row = self._store.card_of(connection, payment_id)
        if row is None:
            raise NotFoundError("the payment has no card")
        return row, self._cipher.unlock(row)

    def lock(self, token: str, owner: str, created_at: str, card: PlainCard) -> StoredCard:
        """The row of a card, encrypted for its token and owner."""
        return self._cipher.lock(token, owner, created_at, card, self.fingerprint_key())

    def unlock(self, row: StoredCard) -> PlainCard:
        """The card of a row; ``TamperedError`` if any column is not what was written."""
        return self._cipher.unlock(row)

    def fingerprint_key(self) -> bytes:
        """The key of the fingerprints; made at the first use, kept in the database in wrapped form."""
        with self._fingerprint_lock:
            if self._fingerprint_key is None:
                self._fingerprint_key = self._load_fingerprint_key()
            return self._fingerprint_key

    def _load_fingerprint_key(self) -> bytes:
        stored = self._stored_fingerprint_key()
        if stored is None:
            fresh = self._ring.new(FINGERPRINT_KEY).wrapped
            with suppress(IntegrityError), self._store.begin() as connection:  # else another process made it
                self._store.insert_own_key(connection, FINGERPRINT_KEY, fresh.version, fresh.blob)
            stored = self._stored_fingerprint_key()
        if stored is None:
            raise VaultUnavailableError("the fingerprint key could not be stored")
        return self._ring.open(WrappedKey(*stored), FINGERPRINT_KEY)

    def _renew_fingerprint_key(self, version: int) -> None:
        key = self.fingerprint_key()
        stored = self._stored_fingerprint_key()
        if stored is None or stored[0] != version:
            wrapped = self._ring.wrap(key, FINGERPRINT_KEY).wrapped
            with self._store.begin() as connection:
                self._store.renew_own_key(connection, FINGERPRINT_KEY, wrapped.version, wrapped.blob)

    def _stored_fingerprint_key(self) -> tuple[int, bytes] | None:
        with self._store.reading() as connection:
            return self._store.own_key(connection, FINGERPRINT_KEY)

    def _now(self) -> str:
        return self._clock.now().isoformat()

    def _oldest(self) -> str:
        return (self._clock.now() - timedelta(seconds=self._rules.keep_s)).isoformat()
