"""The simulator's ledger: what it authorized, settled, voided, refunded and reversed, in SQLite.

Rules: the card number is never stored, only its last four digits and a keyed hash (the key is made from the API
key, which is not in the database). An idempotency key is answered with what it was answered before. The
reference is the client's own and need not be unique: as with a real acquirer, only the idempotency key protects
from a double charge. A reversal of a reference that is not there is remembered, and an authorization that
arrives after it is refused.
"""

from __future__ import annotations

import json
import secrets
import string
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, delete, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from gateway_adapters.sandbox.behaviour import Behaviour

LATE_CODE = "94"  # an authorization that its client has already reversed


class _Base(DeclarativeBase):
    pass


class Authorization(_Base):
    """An authorization that was answered, or tried to."""

    __tablename__ = "authorizations"

    id: Mapped[str] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(index=True)
    payment: Mapped[str] = mapped_column(index=True, default="")
    wire: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    state: Mapped[str]  # approved | declined | reversed | voided
    response_code: Mapped[str]
    advice_code: Mapped[str | None]
    authorization_code: Mapped[str | None]
    approved_minor: Mapped[int]
    settled_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)
    brand: Mapped[str]
    last4: Mapped[str]
    card_hash: Mapped[str]
    created_at: Mapped[str]

    @property
    def charged_minor(self) -> int:
        """What the cardholder has paid, or will once it is settled."""
        if self.state != "approved":
            return 0
        return (self.settled_minor or self.approved_minor) - self.refunded_minor


class Movement(_Base):
    """A settlement, void, refund or reversal."""

    __tablename__ = "movements"

    id: Mapped[str] = mapped_column(primary_key=True)
    authorization_id: Mapped[str | None] = mapped_column(index=True)
    reference: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    amount_minor: Mapped[int]
    done: Mapped[bool]
    response_code: Mapped[str]
    created_at: Mapped[str]


class Named(_Base):
    """Our client's name for a movement, and when (seconds since 1970) what became of it is told."""

    __tablename__ = "named_movements"

    movement_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    told_at: Mapped[float]


class Answered(_Base):
    """What an idempotency key was answered. ``answer`` is None where the row says only that a fault has happened."""

    __tablename__ = "answered"

    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int]
    answer: Mapped[str | None]


class Outgoing(_Base):
    """A webhook, as it is sent; ``delivered`` once somebody took it."""

    __tablename__ = "outgoing"

    id: Mapped[int] = mapped_column(primary_key=True)
    wire: Mapped[str] = mapped_column(index=True)
    headers: Mapped[str]
    body: Mapped[str]
    delivered: Mapped[bool] = mapped_column(default=False)


@dataclass(frozen=True)
class CardTrace:
    """All that the ledger keeps of a card."""

    brand: str
    last4: str
    card_hash: str


@dataclass(frozen=True)
class NamedMovement:
    """A movement, the client's own name for it, and whether it is only accepted still."""

    movement: Movement
    name: str
    pending: bool


@dataclass(frozen=True)
class Replay:
    """An answer given before."""

    status: int
    body: dict[str, Any]


class KeyReusedError(Exception):
    """The idempotency key was used for another request."""


class Ledger:
    """The ledger's operations; each is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(path)
        _Base.metadata.create_all(self._engine)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def replay(self, key: str, fingerprint: str) -> Replay | None:
        """The earlier answer to this key, if there is one.

        Raises
        ------
        KeyReusedError
            If the key came with another request.
        """
        with Session(self._engine) as session:
            seen = session.get(Answered, key)
            if seen is None:
                return None
            if seen.fingerprint != fingerprint:
                raise KeyReusedError
            return Replay(seen.status, json.loads(seen.answer)) if seen.answer is not None else None

    def first_fault(self, key: str, fingerprint: str) -> bool:
        """Whether no fault has happened to this key yet; from now on one has. The key stays free."""
        key = f"fault {key}"
        with Session(self._engine) as session, session.begin():
            if session.get(Answered, key) is not None:
                return False
            session.add(Answered(key=key, fingerprint=fingerprint, status=0, answer=None))
            return True

    def answer(self, key: str, fingerprint: str, status: int, body: dict[str, Any]) -> None:
        """Remember what this key was answered."""
        with Session(self._engine) as session, session.begin():
            session.merge(Answered(key=key, fingerprint=fingerprint, status=status, answer=json.dumps(body)))

    def forget_answer(self, key: str) -> None:
        """Take the request under this key anew, as after an error that is not kept."""
        with Session(self._engine) as session, session.begin():
            seen = session.get(Answered, key)
            if seen is not None:
                session.delete(seen)

    def forget_keys(self) -> None:
        """Drop all idempotency keys, as an acquirer does when their time is over."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(Answered))

    def authorize(
        self,
        *,
        reference: str,
        payment: str,
        wire: str,
        amount_minor: int,
        currency: str,
        card: CardTrace,
        behaviour: Behaviour,
        booking_id: str | None = None,
    ) -> Authorization:
        """Book an authorization with the outcome that the behaviour gives it."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            late = session.scalar(
                select(func.count()).where(Movement.reference == reference, Movement.kind == "reverse")
            )
            code = LATE_CODE if late else behaviour.code
            approved_minor = 0 if late else behaviour.approved_minor(amount_minor)
            row = Authorization(
                id=booking_id or new_reference(wire, "authorization"),
                reference=reference,
                payment=payment,
                wire=wire,
                amount_minor=amount_minor,
                currency=currency,
                state="approved" if approved_minor else "declined",
                response_code=code,
                advice_code=behaviour.advice,
                authorization_code=f"{secrets.randbelow(10**6):06d}" if approved_minor else None,
                approved_minor=approved_minor,
                brand=card.brand,
                last4=card.last4,
                card_hash=card.card_hash,
                settled_minor=0,
                refunded_minor=0,
                created_at=_now(),
            )
            session.add(row)
            return row

    def draft(
        self, *, reference: str, payment: str, wire: str, amount_minor: int, currency: str
    ) -> Authorization:
        """Book an authorization that nobody has confirmed: no card, no charge."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            row = Authorization(
                id=new_reference(wire, "authorization"),
                reference=reference,
                payment=payment,
                wire=wire,
                amount_minor=amount_minor,
                currency=currency,
                state="draft",
                response_code="",
                approved_minor=0,
                brand="",
                last4="",
                card_hash="",
                settled_minor=0,
                refunded_minor=0,
                created_at=_now(),
            )
            session.add(row)
            return row

    def find(self, reference: str) -> Authorization | None:
        """The newest authorization with this reference."""
        with Session(self._engine) as session:
            return session.scalars(
                select(Authorization)
                .where(Authorization.reference == reference)
                .order_by(Authorization.created_at.desc())
            ).first()

    def find_all(self, reference: str) -> list[Authorization]:
        """All authorizations with this reference, the newest first."""
        with Session(self._engine) as session:
            return list(
                session.scalars(
                    select(Authorization)
                    .where(Authorization.reference == reference)
                    .order_by(Authorization.created_at.desc())
                )
            )

    def get(self, authorization_id: str) -> Authorization | None:
        """An authorization by the simulator's own name for it."""
        with Session(self._engine) as session:
            return session.get(Authorization, authorization_id)

    def settle(self, authorization_id: str, amount_minor: int) -> Movement | None:
        """Take the amount; None if there is no such authorization."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            row = session.get(Authorization, authorization_id)
            if row is None:
                return None
            fits = row.state == "approved" and not row.settled_minor and amount_minor <= row.approved_minor
            if fits:
                row.settled_minor = amount_minor
            return _moved(session, row, "settle", amount_minor, fits)

    def void(self, authorization_id: str) -> Movement | None:
        """Release an authorization that is not settled; None if there is no such authorization."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            row = session.get(Authorization, authorization_id)
            if row is None:
                return None
            fits = row.state in ("approved", "voided", "draft") and not row.settled_minor
            if fits:
                row.state = "voided"
            return _moved(session, row, "void", row.approved_minor, fits)

    def refund(self, authorization_id: str, amount_minor: int) -> Movement | None:
        """Give back a part of what was settled; None if there is no such authorization."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            row = session.get(Authorization, authorization_id)
            if row is None:
                return None
            fits = row.state == "approved" and amount_minor <= row.settled_minor - row.refunded_minor
            if fits:
                row.refunded_minor += amount_minor
            return _moved(session, row, "refund", amount_minor, fits)

    def reverse(self, reference: str, *, holds_back: bool = True) -> Movement:
        """Undo every authorization with this reference, and (``holds_back``) refuse those that arrive later."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            found = session.scalars(
                select(Authorization).where(
                    Authorization.reference == reference, Authorization.state == "approved"
                )
            ).all()
            for row in found:
                if row.settled_minor:
                    row.refunded_minor = row.settled_minor
                row.state = "reversed"
            movement = Movement(
                id=new_reference(found[0].wire if found else "native", "movement"),
                authorization_id=found[0].id if found else None,
                reference=reference,
                kind="reverse" if holds_back else "cancel",
                amount_minor=sum(row.approved_minor for row in found),
                done=True,
                response_code="00" if found else "25",
                created_at=_now(),
            )
            session.add(movement)
            return movement

    def send_webhook(self, wire: str, headers: dict[str, str], body: str) -> None:
        """Put a webhook into the outbox."""
        with Session(self._engine) as session, session.begin():
            session.add(Outgoing(wire=wire, headers=json.dumps(headers), body=body, delivered=False))

    def webhooks(self, wire: str, *, undelivered_only: bool = False) -> list[Outgoing]:
        """The webhooks of a wire, the oldest first."""
        query = select(Outgoing).where(Outgoing.wire == wire).order_by(Outgoing.id)
        if undelivered_only:
            query = query.where(Outgoing.delivered.is_(False))
        with Session(self._engine) as session:
            return list(session.scalars(query))

    def webhook_delivered(self, webhook_id: int) -> None:
        """Somebody took it."""
        with Session(self._engine) as session, session.begin():
            webhook = session.get(Outgoing, webhook_id)
            if webhook is not None:
                webhook.delivered = True

    def name(self, movement: Movement, name: str, pending_s: float) -> None:
        """Note the client's name for a movement; what became of it is told after so many seconds."""
        with Session(self._engine) as session, session.begin():
            session.add(Named(movement_id=movement.id, name=name, told_at=time.time() + pending_s))

    def named(self, name: str) -> NamedMovement | None:
        """The movement that the client calls so."""
        with Session(self._engine) as session:
            row = session.scalars(select(Named).where(Named.name == name)).first()
            movement = session.get(Movement, row.movement_id) if row else None
            return _named(movement, row) if movement else None

    def movements_of(self, authorization_id: str) -> list[NamedMovement]:
        """The movements of an authorization, the newest first."""
        query = (
            select(Movement, Named)
            .outerjoin(Named, Named.movement_id == Movement.id)
            .where(Movement.authorization_id == authorization_id)
            .order_by(Movement.created_at.desc())
        )
        with Session(self._engine) as session:
            return [_named(movement, row) for movement, row in session.execute(query)]

    def authorizations(self, limit: int = 100_000) -> list[Authorization]:
        """All authorizations, the newest first."""
        with Session(self._engine) as session:
            return list(
                session.scalars(select(Authorization).order_by(Authorization.created_at.desc()).limit(limit))
            )

    def movements(self, limit: int = 100_000) -> list[Movement]:
        """All movements, the newest first."""
        with Session(self._engine) as session:
            return list(session.scalars(select(Movement).order_by(Movement.created_at.desc()).limit(limit)))


def _moved(session: Session, row: Authorization, kind: str, amount_minor: int, done: bool) -> Movement:
    movement = Movement(
        id=new_reference(row.wire, "movement"),
        authorization_id=row.id,
        reference=row.reference,
        kind=kind,
        amount_minor=amount_minor,
        done=done,
        response_code="00" if done else "12",
        created_at=_now(),
    )
    session.add(movement)
    return movement


def _named(movement: Movement, row: Named | None) -> NamedMovement:
    return NamedMovement(movement, row.name if row else "", row is not None and row.told_at > time.time())


def new_reference(wire: str, kind: str) -> str:
    """A name for something booked, in the shape that the wire's real acquirer gives it."""
    shapes = {
        ("stripe", "authorization"): ("pi_", 24),
        ("stripe", "movement"): ("re_", 24),
        ("adyen", "authorization"): ("", 16),
        ("adyen", "movement"): ("", 16),
        ("checkout_com", "authorization"): ("pay_", 26),
        ("checkout_com", "movement"): ("act_", 26),
    }
    prefix, length = shapes.get((wire, kind), ("sim_" if kind == "authorization" else "mov_", 24))
    alphabet = string.ascii_uppercase if wire == "adyen" else string.ascii_lowercase
    return prefix + "".join(secrets.choice(alphabet) for _ in range(length))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    return engine
