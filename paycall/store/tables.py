"""The panel's tables.

Rules: no column can hold a card number, an expiry keyed by the caller is stored only as the vault gave it out
(MM/YY), secrets of people (passwords, session and API keys) only as hashes. Times are UTC with their zone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from paycall.audit import AuditLog

# An amount: up to 10**11, more than four bytes hold.
Minor = Annotated[int, mapped_column(BigInteger)]


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone, so it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Only moments with a zone are accepted."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The zone is put back where the database forgot it."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of the tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        str: String(200),
    }


class OperatorRow(Base):
    """A person who may sign in."""

    __tablename__ = "operators"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)  # lower case: what is typed to sign in
    display_name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str | None]
    old_password_hashes: Mapped[list[str]] = mapped_column(default=list)
    must_change_password: Mapped[bool] = mapped_column(default=False)
    failed_tries: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]
    locked: Mapped[bool] = mapped_column(default=False)  # by an administrator, until reset
    language: Mapped[str] = mapped_column(default="en")
    theme: Mapped[str] = mapped_column(default="auto")
    agent_uri: Mapped[str] = mapped_column(String(300), default="")
    totp_sealed: Mapped[str | None] = mapped_column(String(500))
    totp_last_step: Mapped[int] = mapped_column(default=0)  # a code is good once
    created_at: Mapped[datetime]
    last_sign_in_at: Mapped[datetime | None]


class SessionRow(Base):
    """A signed-in browser. ``token_hash`` is the SHA-256 of the cookie."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[str] = mapped_column(ForeignKey("operators.id"), index=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    method: Mapped[str] = mapped_column(default="password")  # or passkey, oidc: how the person was recognised


class InvitationRow(Base):
    """A link with which a person sets a first password, once. Only the token's hash is kept."""

    __tablename__ = "invitations"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    operator_id: Mapped[str] = mapped_column(ForeignKey("operators.id"), index=True)
    expires_at: Mapped[datetime]


class CellRow(Base):
    """A cell or node that has said hello; another ``boot_id`` means that its calls are gone."""

    __tablename__ = "cells"

    id: Mapped[str] = mapped_column(primary_key=True)
    boot_id: Mapped[str]
    kind: Mapped[str]
    node_id: Mapped[str]
    last_seen_at: Mapped[datetime]


class CallRow(Base):
    """A call, past or present."""

    __tablename__ = "calls"
    __table_args__ = (Index("ix_calls_state_started", "state", "started_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    sender_id: Mapped[str] = mapped_column(index=True)
    direction: Mapped[str]
    state: Mapped[str]
    caller: Mapped[str] = mapped_column(index=True)
    called: Mapped[str]
    agent_uri: Mapped[str] = mapped_column(String(300))
    masked: Mapped[bool] = mapped_column(default=False)
    test_call_id: Mapped[str | None]
    operator_id: Mapped[str | None] = mapped_column(ForeignKey("operators.id"), index=True)
    alarm: Mapped[str | None]
    # off (it is not recorded), on, paused (silence is), or failed (nothing more could be written).
    recording: Mapped[str] = mapped_column(String(8), default="off")
    agent_leg_keys: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime] = mapped_column(index=True)
    connected_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]


class CustomerRow(Base):
    """Who calls from a number, as far as an operator wrote it down."""

    __tablename__ = "customers"

    number: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    note: Mapped[str] = mapped_column(String(500), default="")
    updated_at: Mapped[datetime]


class PaymentRow(Base):
    """A payment. ``fields`` are those that it needs, ``stored`` those that the vault has."""

    __tablename__ = "payments"
    __table_args__ = (Index("ix_payments_state_updated", "state", "updated_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    operator_id: Mapped[str | None] = mapped_column(ForeignKey("operators.id"), index=True)
    state: Mapped[str]
    amount_minor: Mapped[Minor]
    currency: Mapped[str]
    reference: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    fields: Mapped[list[str]]
    stored: Mapped[list[str]] = mapped_column(default=list)
    token: Mapped[str | None]
    brand: Mapped[str | None]
    last4: Mapped[str | None]
    expiry: Mapped[str | None]
    code_expires_at: Mapped[datetime | None]
    # Of what the caller is told; empty: the site's.
    caller_language: Mapped[str] = mapped_column(String(8), default="")
    token_type: Mapped[str] = mapped_column(String(16), default="one-time")
    kept_token: Mapped[str | None] = mapped_column(String(32))
    card_retry: Mapped[dict[str, Any] | None]
    decision_deadline: Mapped[datetime | None]
    # When its operator stopped waiting for an outcome that nobody knew.
    set_aside_at: Mapped[datetime | None]
    settle_at: Mapped[datetime | None]
    # What was taken of the approved amount; what is given back is taken from it.
    settled_minor: Mapped[Minor] = mapped_column(default=0)
    refunded_minor: Mapped[Minor] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(index=True)
    updated_at: Mapped[datetime]


class AttemptRow(Base):
    """One authorization of a payment, written before it is sent. ``state``: authorizing, not_sent or an outcome."""

    __tablename__ = "attempts"

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    number: Mapped[int]
    state: Mapped[str] = mapped_column(index=True)
    amount_minor: Mapped[Minor]
    currency: Mapped[str]
    acquirer: Mapped[str | None]
    acquirer_reference: Mapped[str | None]
    authorization_code: Mapped[str | None]
    avs_result: Mapped[str | None]
    code_result: Mapped[str | None]
    decline: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # Whether its acquirer settles less than was approved, and releases the rest.
    settles_part: Mapped[bool] = mapped_column(default=False)
    # A part was approved, which is a decline here: that part is being given back.
    reversal_due: Mapped[bool] = mapped_column(default=False, index=True)
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class OperationRow(Base):
    """A settle, void or refund, written before it is sent. ``state``: pending, done or failed."""

    __tablename__ = "operations"

    id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    attempt_id: Mapped[str] = mapped_column(ForeignKey("attempts.id"))
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    amount_minor: Mapped[Minor]
    currency: Mapped[str]
    operator_id: Mapped[str | None]
    acquirer_reference: Mapped[str | None]
    raw_code: Mapped[str | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class StoryRow(Base):
    """One line of a payment's story. ``detail`` holds names and counts only."""

    __tablename__ = "story"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    payment_id: Mapped[str] = mapped_column(ForeignKey("payments.id"), index=True)
    at: Mapped[datetime]
    what: Mapped[str]
    operator_id: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


class IdempotencyRow(Base):
    """An Idempotency-Key that was used: the same request again gives the same payment."""

    __tablename__ = "idempotency"

    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    payment_id: Mapped[str]
    created_at: Mapped[datetime]


AUDIT = AuditLog(Base.metadata)
"""Who did what to which thing, from where, with what result. ``database.audit`` writes into it."""


class PasskeyRow(Base):
    """A passkey (WebAuthn). ``id`` and ``public_key`` are base64url, as the authenticator gave them."""

    __tablename__ = "passkeys"

    id: Mapped[str] = mapped_column(String(1400), primary_key=True)
    operator_id: Mapped[str] = mapped_column(ForeignKey("operators.id"), index=True)
    public_key: Mapped[str] = mapped_column(String(2000))
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class SignInStepRow(Base):
    """A sign-in that was begun: a passkey's challenge or a visit to the identity provider. Good once, minutes long.

    ``id`` is the SHA-256 of what the browser brings back, ``sealed`` what only the panel may know meanwhile.
    """

    __tablename__ = "sign_in_steps"

    id: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    operator_id: Mapped[str | None]
    sealed: Mapped[str | None] = mapped_column(String(2000))
    expires_at: Mapped[datetime]


class ApiKeyRow(Base):
    """A program's key. ``key_hash`` is the SHA-256 of the key, ``start`` its first letters to recognise it by."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    start: Mapped[str]
    scopes: Mapped[list[str]]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class WebhookRow(Base):
    """Where events are sent. The secret is sealed: it is needed in clear to sign. For a while after another was
    made, the former one signs too."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(String(500))
    events: Mapped[list[str]]
    secret_sealed: Mapped[str] = mapped_column(String(500))
    former_secret_sealed: Mapped[str | None] = mapped_column(String(500))
    former_secret_until: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(default=True)
    failing_since: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime]


class DeliveryRow(Base):
    """An event on its way to a webhook, written in the transaction that it tells of. ``state``: pending,
    delivered or failed."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("ix_webhook_deliveries_due", "state", "next_try_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"), index=True)
    event: Mapped[str]
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str]
    tries: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
