"""Reusable tokens: cards that customers let be kept, and charge again without keying them.

Rules: a card is kept by an approved authorization that asked for it, never otherwise, and belongs to one customer of
this site. To charge it, a payment gets a copy of its own, good for that payment only; everything else is as for a
card that was keyed. There is no security code. A kept card goes when it was not used for the site's time, when it is
deleted (with every copy), and when its authorization was not approved; each with an entry in the audit log.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from paycall.audit import Entry
from paycall.domain.authorization import KeptCard
from paycall.domain.card import Expiry
from paycall.domain.errors import CardExpiredError, NotFoundError, StateError
from paycall.domain.ids import new_id
from paycall.domain.ports import Clock
from paycall.vault.attempts import Attempt
from paycall.vault.cards import PlainCard, StoredCard
from paycall.vault.codes import SecurityCodes
from paycall.vault.store import Store
from paycall.vault.tokenizer import Actor, Tokenizer

_BATCH = 100
_DAYS_A_MONTH = 31


class KeptCards:
    """The owner of the kept cards. Blocking. ``months`` 0: none is kept, and none is charged."""

    def __init__(
        self, store: Store, tokenizer: Tokenizer, codes: SecurityCodes, clock: Clock, months: int
    ) -> None:
        self._store = store
        self._tokenizer = tokenizer
        self._codes = codes
        self._clock = clock
        self._months = months

    def made_of(self, plain: PlainCard, attempt_id: str, customer: str) -> StoredCard:
        """The row that keeps a card, once its attempt is approved.

        Raises
        ------
        StateError
            If this site keeps no cards.
        """
        self._check_on()
        kept = PlainCard(plain.pan, plain.expiry, plain.postal_code, origin=attempt_id)
        return self._tokenizer.lock(new_id("tok"), customer, self._now(), kept)

    def first_of(self, connection: Connection, token: str) -> Attempt:
        """The attempt with which a card was kept, noting that it is used now; ``NotFoundError`` if it is gone."""
        kept = self._store.kept_card(connection, token)
        first = self._store.attempt(connection, kept.origin or "") if kept else None
        if first is None:
            raise NotFoundError("the kept card was deleted")
        self._store.note_use(connection, token, self._now())
        return first

    def of(self, customer: str) -> list[KeptCard]:
        """The customer's cards, the one that was used last first; a card that was kept twice once."""
        if not self._months:
            return []
        with self._store.reading() as connection:
            rows = self._store.kept_cards_of(connection, customer)
        newest = {row.fingerprint: (row, used_at) for row, used_at in reversed(rows)}
        return [self._told(row, used_at) for row, used_at in reversed(newest.values())]

    def use(self, payment_id: str, token: str, customer: str, actor: Actor) -> None:
        """Give a payment a customer's card, as if it had been keyed without a code. The same again changes nothing.

        Raises
        ------
        NotFoundError
            If the customer has no such card.
        CardExpiredError
            If its expiry date is over.
        StateError
            If the payment is being authorized, or this site keeps no cards.
        """
        self._check_on()
        with self._store.reading() as connection:
            kept = self._store.kept_card(connection, token)
            current = self._store.card_of(connection, payment_id)
            live = self._store.live_attempt_of(connection, payment_id)
        if kept is None or kept.owner != customer:
            raise NotFoundError("the customer has no such card")
        if live is not None:
            raise StateError("the payment has an authorization already")
        if current is not None and current.origin == token:
            return
        plain = self._tokenizer.unlock(kept)
        if self._expired(plain.expiry):
            raise CardExpiredError
        copy = PlainCard(plain.pan, plain.expiry, plain.postal_code, origin=token)
        row = self._tokenizer.lock(new_id("tok"), payment_id, self._now(), copy)
        try:
            with self._store.begin() as connection:
                if current is not None:
                    self._store.delete_card(connection, current)
                self._store.insert_card(connection, row)
                self._note(connection, actor, "use kept card", token, f"for {payment_id}")
        except IntegrityError:
            raise StateError("the payment has a card already") from None
        if current is not None:
            self._codes.wipe(current.token)

    def delete(self, customer: str, token: str, actor: Actor) -> None:
        """Forget a customer's card, and what payments have of it; ``NotFoundError`` if there is no such card."""
        with self._store.begin() as connection:
            kept = self._store.kept_card(connection, token)
            if kept is None or kept.owner != customer:
                raise NotFoundError("the customer has no such card")
            for same in self._store.kept_again(connection, kept):
                for copy in self._store.copies_of(connection, same):
                    self._codes.wipe(copy.token)
                    self._store.delete_card(connection, copy)
                    self._note(connection, actor, "delete card", copy.token, "deleted")
                self._store.delete_kept_card(connection, same)
                self._note(connection, actor, "delete kept card", same, "deleted")

    def delete_of(self, connection: Connection, attempt_id: str) -> None:
        """Forget what an attempt would have kept: it was not approved."""
        for token in self._store.kept_by(connection, attempt_id):
            self._store.delete_kept_card(connection, token)
            self._note(connection, Actor("vault"), "delete kept card", token, "not approved")

    def delete_old(self) -> int:
        """Forget a batch of what was not used for too long, or whose authorization was not approved; how many."""
        before = (self._clock.now() - timedelta(days=_DAYS_A_MONTH * self._months)).isoformat()
        with self._store.begin() as connection:
            tokens = self._store.kept_cards_to_delete(connection, before, _BATCH)
            for token in tokens:
                self._store.delete_kept_card(connection, token)
                self._note(connection, Actor("vault", "retention"), "delete kept card", token, "expired")
        return len(tokens)

    def renew_keys(self, version: int) -> int:
        """Put up to a batch of rows under this key version; gives how many were not yet."""
        with self._store.reading() as connection:
            rows = self._store.kept_cards_not_under(connection, version, _BATCH)
        for row in rows:
            card = self._tokenizer.unlock(row)
            renewed = self._tokenizer.lock(row.token, row.owner, row.created_at, card)
            with self._store.begin() as connection:
                self._store.replace_kept_card(connection, row, renewed)
        return len(rows)

    def _told(self, row: StoredCard, used_at: str) -> KeptCard:
        expiry = self._tokenizer.unlock(row).expiry
        return KeptCard(
            token=row.token,
            brand=row.brand,
            last4=row.last4,
            expiry=str(expiry) if expiry else None,
            expired=self._expired(expiry),
            created_at=row.created_at,
            used_at=used_at,
        )

    def _expired(self, expiry: Expiry | None) -> bool:
        today = self._clock.now()
        return expiry is not None and not expiry.good_in(today.year, today.month)

    def _check_on(self) -> None:
        if not self._months:
            raise StateError("cards are not kept here")

    def _note(self, connection: Connection, actor: Actor, action: str, subject: str, result: str) -> None:
        self._store.note(
            connection, Entry(actor.role, action, subject, result, actor.source), self._clock.now()
        )

    def _now(self) -> str:
        return self._clock.now().isoformat()
