"""Webhooks: the events that were taken, and attempts by the acquirer's name."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table and the index."""
    op.create_table(
        "webhook_events",
        sa.Column("event", sa.LargeBinary(32), primary_key=True),
        sa.Column("taken_at", sa.String(32), nullable=False, index=True),
    )
    op.create_index("attempts_by_reference", "attempts", ["acquirer_reference"])
