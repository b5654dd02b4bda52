"""The vault's tables. Moments are UTC in ISO 8601 text: the same in every database, sortable, and hashable."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from paycall.audit import AuditLog

metadata = sa.MetaData()


def _card_columns() -> tuple[sa.Column[Any], ...]:
    """What a card's row has, whoever it belongs to (``cards.StoredCard``)."""
    return (
        sa.Column("created_at", sa.String(32), nullable=False, index=True),
        sa.Column("kek_version", sa.Integer, nullable=False, index=True),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("brand", sa.String(16)),
        sa.Column("last4", sa.String(4)),
        sa.Column("fingerprint", sa.LargeBinary(32)),
        sa.Column("code_keyed", sa.Boolean, nullable=False),
        sa.Column("pan", sa.LargeBinary),
        sa.Column("expiry", sa.LargeBinary),
        sa.Column("postal_code", sa.LargeBinary),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.Column("origin", sa.String(32)),
    )


cards = sa.Table(
    "cards",
    metadata,
    sa.Column("token", sa.String(32), primary_key=True),
    sa.Column("payment_id", sa.String(32), key="owner", nullable=False, unique=True),
    *_card_columns(),
)

# Reusable tokens: cards that customers let be kept for later payments.
kept_cards = sa.Table(
    "kept_cards",
    metadata,
    sa.Column("token", sa.String(32), primary_key=True),
    sa.Column("customer", sa.String(32), key="owner", nullable=False, index=True),
    sa.Column("used_at", sa.String(32), nullable=False, index=True),
    *_card_columns(),
)

# Keys of the vault's own (the fingerprint key), wrapped like a card's.
own_keys = sa.Table(
    "own_keys",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("kek_version", sa.Integer, nullable=False),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
)

LIVE_STATES = ("sending", "unknown", "approved")

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("attempt_id", sa.String(32), primary_key=True),
    sa.Column("payment_id", sa.String(32), nullable=False),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("fingerprint", sa.LargeBinary(32), nullable=False, index=True),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("reference", sa.String(64), nullable=False),
    sa.Column("description", sa.String(256), nullable=False),
    sa.Column("acquirer", sa.String(32), nullable=False),
    sa.Column("carried_code", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reversal", sa.String(8)),
    sa.Column("acquirer_reference", sa.Text),
    sa.Column("authorization_code", sa.Text),
    sa.Column("avs_result", sa.Text),
    sa.Column("code_result", sa.Text),
    sa.Column("approved_minor", sa.BigInteger),
    sa.Column("decline", sa.Text),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.String(32)),
    sa.Column("keep_for", sa.String(32), nullable=False, server_default=""),
    sa.Column("on_file", sa.String(8)),
    sa.Column("first_reference", sa.Text),
)
# Spelled out in the query: with parameters in their place no planner could take the index below.
is_live = attempts.c.state.in_(sa.bindparam("live_states", LIVE_STATES, expanding=True, literal_execute=True))
_live = attempts.c.state.in_(LIVE_STATES)
# Two requests that race for one payment meet here: only one row can be live.
sa.Index(
    "one_live_authorization_a_payment",
    attempts.c.payment_id,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
sa.Index("attempts_to_resolve", attempts.c.next_try_at)
sa.Index("attempts_by_reference", attempts.c.acquirer_reference)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("operation_id", sa.String(32), primary_key=True),
    sa.Column("attempt_id", sa.String(32), sa.ForeignKey("attempts.attempt_id"), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("acquirer_reference", sa.Text),
    sa.Column("raw_code", sa.Text),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.String(32)),
)
_ends = sa.and_(
    operations.c.kind.in_(("settle", "void")),
    operations.c.state.in_(("sending", "unknown", "pending", "done")),
)
# A reservation is settled once or voided once, never both.
sa.Index(
    "one_end_a_reservation", operations.c.attempt_id, unique=True, sqlite_where=_ends, postgresql_where=_ends
)
sa.Index("operations_to_resolve", operations.c.next_try_at)

# Webhook events that were taken: a digest of the acquirer's name and the event's, so that each counts once.
webhook_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("event", sa.LargeBinary(32), primary_key=True),
    sa.Column("taken_at", sa.String(32), nullable=False, index=True),
)

audit = AuditLog(metadata)
