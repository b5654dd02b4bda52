"""In which language a payment's caller is told what to key

Revision: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("caller_language", sa.String(length=8), nullable=False, server_default="")
        )


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.drop_column("caller_language")
