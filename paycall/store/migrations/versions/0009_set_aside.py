"""Payments whose outcome nobody waits for any more

Revision: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from paycall.store.tables import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("set_aside_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.drop_column("set_aside_at")
