"""How much was settled, reversals of partial approvals, webhooks' former secrets, whether a call is recorded

Revision: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from paycall.store.tables import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SETTLED = ("settled", "refunding", "refunded", "partly_refunded", "refund_failed")


def upgrade() -> None:
    """Forward. Until now a settlement was of the whole amount."""
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("settled_minor", sa.BigInteger(), nullable=False, server_default="0"))
    payments = sa.table("payments", sa.column("settled_minor"), sa.column("amount_minor"), sa.column("state"))
    op.execute(
        payments.update().where(payments.c.state.in_(_SETTLED)).values(settled_minor=payments.c.amount_minor)
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("settles_part", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.add_column(
            sa.Column("reversal_due", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.create_index("ix_attempts_reversal_due", ["reversal_due"])
    with op.batch_alter_table("webhooks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("former_secret_sealed", sa.String(length=500), nullable=True))
        batch_op.add_column(sa.Column("former_secret_until", UtcDateTime(), nullable=True))
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.add_column(sa.Column("recording", sa.String(length=8), nullable=False, server_default="off"))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_column("recording")
    with op.batch_alter_table("webhooks", schema=None) as batch_op:
        batch_op.drop_column("former_secret_until")
        batch_op.drop_column("former_secret_sealed")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index("ix_attempts_reversal_due")
        batch_op.drop_column("reversal_due")
        batch_op.drop_column("settles_part")
    with op.batch_alter_table("payments", schema=None) as batch_op:
        batch_op.drop_column("settled_minor")
