"""Single queries on the vault's database; who calls them puts them in order and owns the transaction.

What every field and every authorization asks is built once: to build a statement costs more than to run it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from paycall.audit import Entry
from paycall.vault.attempts import Attempt, Operation
from paycall.vault.cards import StoredCard
from paycall.vault.database import Database
from paycall.vault.tables import (
    attempts,
    audit,
    cards,
    is_live,
    kept_cards,
    operations,
    own_keys,
    webhook_events,
)

_Row = TypeVar("_Row")


def _select_cards(table: sa.Table) -> sa.Select[Any]:
    """Rows as ``StoredCard`` has them; the owner's column is named after whom it names."""
    return sa.select(*(table.c[field.name].label(field.name) for field in fields(StoredCard)))


_CARD_OF = _select_cards(cards).where(cards.c.owner == sa.bindparam("payment"))
_INSERT_CARD = cards.insert()
_DELETE_CARD = cards.delete().where(
    cards.c.token == sa.bindparam("this_token"), cards.c.seal == sa.bindparam("this_seal")
)
_KEPT = _select_cards(kept_cards).join(attempts, attempts.c.attempt_id == kept_cards.c.origin)
_ATTEMPT = sa.select(attempts).where(attempts.c.attempt_id == sa.bindparam("attempt"))
_LIVE_ATTEMPT_OF = sa.select(attempts).where(attempts.c.payment_id == sa.bindparam("payment"), is_live)
_INSERT_ATTEMPT = (
    attempts.insert()
    .from_select(
        attempts.c.keys(),
        sa.select(*(sa.bindparam(f"new_{column.name}", type_=column.type) for column in attempts.c)).where(
            sa.exists().where(
                cards.c.owner == sa.bindparam("card_payment"),
                cards.c.token == sa.bindparam("card_token"),
            )
        ),
    )
    .execution_options(preserve_rowcount=True)
)
_UPDATE_ATTEMPT = attempts.update().where(attempts.c.attempt_id == sa.bindparam("this_attempt"))
_UPDATE_OPEN_ATTEMPT = _UPDATE_ATTEMPT.where(attempts.c.next_try_at.is_not(None))


@dataclass(frozen=True)
class Figures:
    """How much there is: cards kept, authorizations whose outcome is not known, work that is open, audit entries."""

    cards: int
    unknown: int
    open: int
    audit_entries: int


class Store(Database):
    """The queries."""

    def note(self, connection: sa.Connection, entry: Entry, now: datetime) -> None:
        """Add to the audit log."""
        audit.append(connection, entry, now)

    # cards

    def card_of(self, connection: sa.Connection, payment_id: str) -> StoredCard | None:
        """The payment's card."""
        return _one(connection, _CARD_OF, StoredCard, payment=payment_id)

    def insert_card(self, connection: sa.Connection, card: StoredCard) -> None:
        """Add a card; ``IntegrityError`` if the payment has one."""
        connection.execute(_INSERT_CARD, vars(card))

    def delete_card(self, connection: sa.Connection, card: StoredCard) -> bool:
        """Remove this very row; False if it is no longer what was read."""
        this = {"this_token": card.token, "this_seal": card.seal}
        return connection.execute(_DELETE_CARD, this).rowcount == 1

    def cards_before(self, connection: sa.Connection, moment: str, limit: int) -> list[StoredCard]:
        """Cards stored before a moment that no open attempt needs, oldest first."""
        needed = sa.exists().where(attempts.c.token == cards.c.token, attempts.c.next_try_at.is_not(None))
        query = _select_cards(cards).where(cards.c.created_at < moment, ~needed).order_by(cards.c.created_at)
        return _all(connection, query.limit(limit), StoredCard)

    def cards_not_under(self, connection: sa.Connection, version: int, limit: int) -> list[StoredCard]:
        """Cards whose data key another version wrapped."""
        query = (
            _select_cards(cards).where(cards.c.kek_version != version).order_by(cards.c.token).limit(limit)
        )
        return _all(connection, query, StoredCard)

    def versions_in_use(self, connection: sa.Connection) -> dict[int, int]:
        """How many rows each key version holds."""
        counts: dict[int, int] = {}
        for table in (cards, kept_cards, own_keys):
            query = sa.select(table.c.kek_version, sa.func.count()).group_by(table.c.kek_version)
            for version, count in connection.execute(query):
                counts[version] = counts.get(version, 0) + count
        return counts

    # kept cards; a card counts as kept once the attempt that keeps it is approved

    def kept_card(self, connection: sa.Connection, token: str) -> StoredCard | None:
        """A kept card."""
        query = _KEPT.where(kept_cards.c.token == token, attempts.c.state == "approved")
        return _one(connection, query, StoredCard)

    def kept_cards_of(self, connection: sa.Connection, customer: str) -> list[tuple[StoredCard, str]]:
        """A customer's kept cards and when each was used last, the newest use first."""
        query = _KEPT.add_columns(kept_cards.c.used_at)
        query = query.where(kept_cards.c.owner == customer, attempts.c.state == "approved")
        rows = connection.execute(query.order_by(kept_cards.c.used_at.desc(), kept_cards.c.token))
        return [(StoredCard(*row[:-1]), row[-1]) for row in rows]

    def kept_again(self, connection: sa.Connection, kept: StoredCard) -> list[str]:
        """The tokens under which a customer's card is kept; it may have been keyed and kept more than once."""
        same = sa.and_(kept_cards.c.owner == kept.owner, kept_cards.c.fingerprint == kept.fingerprint)
        return list(connection.scalars(sa.select(kept_cards.c.token).where(same)))

    def kept_by(self, connection: sa.Connection, attempt_id: str) -> list[str]:
        """The tokens of what an attempt keeps."""
        return list(
            connection.scalars(sa.select(kept_cards.c.token).where(kept_cards.c.origin == attempt_id))
        )

    def insert_kept_card(self, connection: sa.Connection, card: StoredCard) -> None:
        """Add a kept card."""
        connection.execute(kept_cards.insert(), vars(card) | {"used_at": card.created_at})

    def replace_kept_card(self, connection: sa.Connection, old: StoredCard, new: StoredCard) -> None:
        """Write a kept card anew, if it is still what was read."""
        same = sa.and_(kept_cards.c.token == old.token, kept_cards.c.seal == old.seal)
        connection.execute(kept_cards.update().where(same), dict(vars(new)))

    def note_use(self, connection: sa.Connection, token: str, now: str) -> None:
        """A kept card is charged now."""
        connection.execute(kept_cards.update().where(kept_cards.c.token == token).values(used_at=now))

    def delete_kept_card(self, connection: sa.Connection, token: str) -> None:
        """Remove a kept card."""
        connection.execute(kept_cards.delete().where(kept_cards.c.token == token))

    def copies_of(self, connection: sa.Connection, token: str) -> list[StoredCard]:
        """What payments have of a kept card, unless an open attempt needs it."""
        needed = sa.exists().where(attempts.c.token == cards.c.token, attempts.c.next_try_at.is_not(None))
        return _all(connection, _select_cards(cards).where(cards.c.origin == token, ~needed), StoredCard)

    def kept_cards_to_delete(self, connection: sa.Connection, before: str, limit: int) -> list[str]:
        """Kept cards that were not used since then, and those whose attempt is over without an approval."""
        hoped = sa.or_(attempts.c.state.in_(("sending", "unknown")), attempts.c.state == "approved")
        hope = sa.exists().where(attempts.c.attempt_id == kept_cards.c.origin, hoped)
        over = sa.or_(kept_cards.c.used_at < before, ~hope)
        return list(connection.scalars(sa.select(kept_cards.c.token).where(over).limit(limit)))

    def kept_cards_not_under(self, connection: sa.Connection, version: int, limit: int) -> list[StoredCard]:
        """Kept cards whose data key another version wrapped."""
        query = _select_cards(kept_cards).where(kept_cards.c.kek_version != version).limit(limit)
        return _all(connection, query, StoredCard)

    # keys of the vault's own

    def own_key(self, connection: sa.Connection, name: str) -> tuple[int, bytes] | None:
        """Version and wrapped form of a key of the vault's own."""
        row = connection.execute(sa.select(own_keys).where(own_keys.c.name == name)).first()
        return (row.kek_version, bytes(row.wrapped_key)) if row else None

    def insert_own_key(self, connection: sa.Connection, name: str, version: int, wrapped: bytes) -> None:
        """Write a key of the vault's own; ``IntegrityError`` if it is there."""
        connection.execute(own_keys.insert().values(name=name, kek_version=version, wrapped_key=wrapped))

    def renew_own_key(self, connection: sa.Connection, name: str, version: int, wrapped: bytes) -> None:
        """Write another wrapped form of a key of the vault's own."""
        same = own_keys.c.name == name
        connection.execute(own_keys.update().where(same).values(kek_version=version, wrapped_key=wrapped))

    # attempts

    def attempt(self, connection: sa.Connection, attempt_id: str) -> Attempt | None:
        """One attempt."""
        return _one(connection, _ATTEMPT, Attempt, attempt=attempt_id)

    def live_attempt_of(self, connection: sa.Connection, payment_id: str) -> Attempt | None:
        """The payment's attempt that is on its way, unknown or approved."""
        return _one(connection, _LIVE_ATTEMPT_OF, Attempt, payment=payment_id)

    def put_attempt(self, connection: sa.Connection, attempt: Attempt) -> bool:
        """Write an attempt anew; False if its payment's card is not this one any more.

        Raises
        ------
        IntegrityError
            If there is such an attempt, or another is live for the payment.
        """
        values = {f"new_{name}": value for name, value in vars(attempt).items()}
        card = {"card_payment": attempt.payment_id, "card_token": attempt.token}
        return connection.execute(_INSERT_ATTEMPT, values | card).rowcount == 1

    def forbid_attempt(self, connection: sa.Connection, attempt_id: str, now: str) -> None:
        """Take an attempt's id, so that nobody can use it; ``IntegrityError`` if somebody has."""
        forbidden = Attempt(
            attempt_id=attempt_id,
            payment_id="",
            token="",
            fingerprint=b"",
            amount_minor=0,
            currency="",
            reference="",
            description="",
            acquirer="",
            carried_code=False,
            created_at=now,
            state="refused",
        )
        connection.execute(attempts.insert(), vars(forbidden))

    def update_attempt(
        self, connection: sa.Connection, attempt: Attempt, *, even_closed: bool = False
    ) -> bool:
        """Write what became of an attempt; False if it was closed: then it stays, a webhook may have been faster."""
        statement = _UPDATE_ATTEMPT if even_closed else _UPDATE_OPEN_ATTEMPT
        this = {"this_attempt": attempt.attempt_id}
        return connection.execute(statement, vars(attempt) | this).rowcount == 1

    def attempt_by_reference(
        self, connection: sa.Connection, acquirer: str, reference: str
    ) -> Attempt | None:
        """The attempt that the acquirer knows by this name."""
        same = sa.and_(attempts.c.acquirer_reference == reference, attempts.c.acquirer == acquirer)
        return _one(connection, sa.select(attempts).where(same), Attempt)

    def declines_of(self, connection: sa.Connection, fingerprint: bytes, since: str) -> list[tuple[str, str]]:
        """When this card was declined since then or for ever, and how (JSON), over all payments."""
        query = sa.select(attempts.c.created_at, attempts.c.decline).where(
            attempts.c.fingerprint == fingerprint,
            sa.or_(attempts.c.created_at > since, attempts.c.decline.contains('"final": true')),
            attempts.c.decline.is_not(None),
        )
        return [(row.created_at, row.decline) for row in connection.execute(query)]

    def attempts_under_way(self, connection: sa.Connection, fingerprint: bytes, but: str | None) -> int:
        """How many attempts with this card have no answer yet, over all payments; ``but`` this one."""
        query = sa.select(sa.func.count()).where(
            attempts.c.fingerprint == fingerprint,
            attempts.c.attempt_id != (but or ""),
            attempts.c.state.in_(("sending", "unknown")),
            attempts.c.next_try_at.is_not(None),
        )
        return int(connection.execute(query).scalar_one())

    def lock_fingerprint(self, connection: sa.Connection, fingerprint: bytes) -> None:
        """Make other transactions on this card, whatever their payment, wait until this one ends."""
        same = cards.c.fingerprint == fingerprint
        connection.execute(sa.select(cards.c.token).where(same).order_by(cards.c.token).with_for_update())

    def delete_attempt(self, connection: sa.Connection, attempt_id: str) -> None:
        """Remove an attempt that was certainly never sent, so that its key is free again."""
        same = sa.and_(attempts.c.attempt_id == attempt_id, attempts.c.next_try_at.is_not(None))
        connection.execute(attempts.delete().where(same))

    def anything_due(self, connection: sa.Connection, now: str) -> bool:
        """Whether ``attempts_due`` or ``operations_due`` has anything: cheap, as it is asked four times a second."""
        return bool(connection.scalar(_ANYTHING_DUE, {"now": now}))

    def attempts_due(self, connection: sa.Connection, now: str, limit: int) -> list[Attempt]:
        """Attempts with something to find out or undo whose time has come, at most ``limit`` of each acquirer."""
        place = sa.func.row_number().over(
            partition_by=attempts.c.acquirer, order_by=(attempts.c.next_try_at, attempts.c.attempt_id)
        )
        due = sa.select(attempts.c.attempt_id, place.label("place")).where(attempts.c.next_try_at <= now)
        first = due.subquery()
        query = sa.select(attempts).join(first, first.c.attempt_id == attempts.c.attempt_id)
        query = query.where(first.c.place <= limit).order_by(attempts.c.next_try_at)
        return _all(connection, query, Attempt)

    def open_attempts(self, connection: sa.Connection) -> list[Attempt]:
        """All attempts with something to find out or undo."""
        return _all(connection, sa.select(attempts).where(attempts.c.next_try_at.is_not(None)), Attempt)

    def claim_attempt(self, connection: sa.Connection, attempt: Attempt, seen: str | None) -> bool:
        """Write an attempt if its ``next_try_at`` is still as seen; False if somebody else was faster."""
        same = sa.and_(attempts.c.attempt_id == attempt.attempt_id, attempts.c.next_try_at == seen)
        return connection.execute(attempts.update().where(same), dict(vars(attempt))).rowcount == 1

    # operations

    def operation(self, connection: sa.Connection, operation_id: str) -> Operation | None:
        """One operation."""
        same = operations.c.operation_id == operation_id
        return _one(connection, sa.select(operations).where(same), Operation)

    def operations_of(self, connection: sa.Connection, attempt_id: str) -> list[Operation]:
        """All operations on an authorization, the first one first."""
        same = operations.c.attempt_id == attempt_id
        query = sa.select(operations).where(same).order_by(operations.c.created_at)
        return _all(connection, query, Operation)

    def lock_attempt(self, connection: sa.Connection, attempt_id: str) -> None:
        """Make other transactions on this attempt wait until this one ends."""
        same = attempts.c.attempt_id == attempt_id
        connection.execute(sa.select(attempts.c.attempt_id).where(same).with_for_update())

    def put_operation(self, connection: sa.Connection, operation: Operation) -> None:
        """Write an operation anew; ``IntegrityError`` for a second settle or void."""
        connection.execute(operations.insert().values(**asdict(operation)))

    def update_operation(
        self, connection: sa.Connection, operation: Operation, *, even_closed: bool = False
    ) -> None:
        """Write what became of an operation; one that is closed stays as it is, unless told otherwise."""
        same: sa.ColumnElement[bool] = operations.c.operation_id == operation.operation_id
        if not even_closed:
            same = sa.and_(same, operations.c.next_try_at.is_not(None))
        connection.execute(operations.update().where(same).values(**asdict(operation)))

    def delete_operation(self, connection: sa.Connection, operation_id: str) -> None:
        """Remove an operation that was certainly never sent, so that its key is free again."""
        same = sa.and_(operations.c.operation_id == operation_id, operations.c.next_try_at.is_not(None))
        connection.execute(operations.delete().where(same))

    def operations_due(
        self, connection: sa.Connection, now: str, limit: int
    ) -> list[tuple[Operation, Attempt]]:
        """Operations without a final answer whose time has come, at most ``limit`` of each acquirer."""
        place = sa.func.row_number().over(
            partition_by=attempts.c.acquirer, order_by=(operations.c.next_try_at, operations.c.operation_id)
        )
        due = sa.select(operations.c.operation_id, place.label("place")).join(attempts)
        first = due.where(operations.c.next_try_at <= now).subquery()
        query = sa.select(operations).join(first, first.c.operation_id == operations.c.operation_id)
        query = query.where(first.c.place <= limit).order_by(operations.c.next_try_at)
        return self._with_attempts(connection, query)

    def open_operations(self, connection: sa.Connection) -> list[tuple[Operation, Attempt]]:
        """All operations without a final answer."""
        return self._with_attempts(
            connection, sa.select(operations).where(operations.c.next_try_at.is_not(None))
        )

    def claim_operation(self, connection: sa.Connection, operation: Operation, seen: str | None) -> bool:
        """Write an operation if its ``next_try_at`` is still as seen; False if somebody else was faster."""
        same = sa.and_(operations.c.operation_id == operation.operation_id, operations.c.next_try_at == seen)
        return connection.execute(operations.update().where(same).values(**asdict(operation))).rowcount == 1

    def _with_attempts(
        self, connection: sa.Connection, query: sa.Select[Any]
    ) -> list[tuple[Operation, Attempt]]:
        found = _all(connection, query, Operation)
        ids = {operation.attempt_id for operation in found}
        of_these = sa.select(attempts).where(attempts.c.attempt_id.in_(ids))
        by_id = {attempt.attempt_id: attempt for attempt in _all(connection, of_these, Attempt)}
        return [(operation, by_id[operation.attempt_id]) for operation in found]

    # figures

    def figures(self, connection: sa.Connection) -> Figures:
        """How much there is."""
        open_attempts, open_operations = (
            sa.select(sa.func.count()).where(table.c.next_try_at.is_not(None))
            for table in (attempts, operations)
        )
        return Figures(
            cards=_count(connection, sa.select(sa.func.count()).select_from(cards)),
            unknown=_count(connection, open_attempts.where(attempts.c.state == "unknown")),
            open=_count(connection, open_attempts) + _count(connection, open_operations),
            audit_entries=_count(connection, sa.select(sa.func.max(audit.head.c.seq))),
        )

    # webhooks

    def first_delivery(self, connection: sa.Connection, event: bytes, now: str) -> bool:
        """Note a webhook's event; False if it was taken before."""
        if connection.execute(sa.select(webhook_events).where(webhook_events.c.event == event)).first():
            return False
        connection.execute(webhook_events.insert().values(event=event, taken_at=now))
        return True

    def delete_deliveries_before(self, connection: sa.Connection, moment: str, limit: int) -> int:
        """Forget a batch of old events; gives how many."""
        old = sa.select(webhook_events.c.event).where(webhook_events.c.taken_at < moment).limit(limit)
        return connection.execute(webhook_events.delete().where(webhook_events.c.event.in_(old))).rowcount


def _count(connection: sa.Connection, query: sa.Select[Any]) -> int:
    return int(connection.execute(query).scalar() or 0)


def _one(
    connection: sa.Connection, query: sa.Select[Any], kind: type[_Row], **parameters: object
) -> _Row | None:
    row = connection.execute(query, parameters).first()
    return kind(**row._mapping) if row else None


_ANYTHING_DUE = sa.select(
    sa.or_(
        *(sa.exists().where(table.c.next_try_at <= sa.bindparam("now")) for table in (attempts, operations))
    )
)


def _all(connection: sa.Connection, query: sa.Select[Any], kind: type[_Row]) -> list[_Row]:
    return [kind(**row._mapping) for row in connection.execute(query)]
