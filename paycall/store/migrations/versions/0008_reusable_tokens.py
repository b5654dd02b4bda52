"""Reusable tokens: whether a payment's card is to be kept, and the kept card's name

Revision: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("token_type", sa.String(length=16), nullable=False, server_default="one-time")
        )
        batch_op.add_column(sa.Column("kept_token", sa.String(length=32), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.drop_column("kept_token")
        batch_op.drop_column("token_type")
