"""The first tables: cards, the vault's own keys, attempts, operations, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "cards",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("payment_id", sa.String(32), nullable=False, unique=True),
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
    )
    op.create_table(
        "own_keys",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("kek_version", sa.Integer, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "attempts",
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
    )
    live = sa.text("state IN ('sending', 'unknown', 'approved')")
    op.create_index(
        "one_live_authorization_a_payment",
        "attempts",
        ["payment_id"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index("attempts_to_resolve", "attempts", ["next_try_at"])
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.String(32), primary_key=True),
        sa.Column(
            "attempt_id", sa.String(32), sa.ForeignKey("attempts.attempt_id"), nullable=False, index=True
        ),
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
    ends = sa.text("kind IN ('settle', 'void') AND state IN ('sending', 'unknown', 'pending', 'done')")
    op.create_index(
        "one_end_a_reservation",
        "operations",
        ["attempt_id"],
        unique=True,
        sqlite_where=ends,
        postgresql_where=ends,
    )
    op.create_index("operations_to_resolve", "operations", ["next_try_at"])
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("result", sa.String(64), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
