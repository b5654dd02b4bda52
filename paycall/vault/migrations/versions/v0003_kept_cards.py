"""Reusable tokens: cards that are kept, and authorizations that keep or use one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table and the columns."""
    op.create_table(
        "kept_cards",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("customer", sa.String(32), nullable=False, index=True),
        sa.Column("used_at", sa.String(32), nullable=False, index=True),
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
    op.add_column("cards", sa.Column("origin", sa.String(32)))
    op.add_column("attempts", sa.Column("keep_for", sa.String(32), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("on_file", sa.String(8)))
    op.add_column("attempts", sa.Column("first_reference", sa.Text))
