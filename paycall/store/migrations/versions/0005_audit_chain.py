"""The audit becomes a hash chain; what was in it is chained as it stands

Revision: 0005
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from paycall.audit import AuditLog, Entry
from paycall.store.tables import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BEFORE = sa.table(
    "audit",
    sa.column("id"),
    sa.column("at", UtcDateTime()),
    sa.column("operator_id"),
    sa.column("action"),
    sa.column("target"),
    sa.column("result"),
    sa.column("address"),
)


def upgrade() -> None:
    """Forward."""
    connection = op.get_bind()
    rows = connection.execute(sa.select(_BEFORE).order_by(_BEFORE.c.id)).all()
    op.drop_table("audit")  # its index goes with it
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("result", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    log = AuditLog(sa.MetaData())
    for row in rows:
        entry = Entry(row.operator_id or "nobody", row.action, row.target, row.result, row.address)
        log.append(connection, entry, row.at)


def downgrade() -> None:
    """Back."""
    connection = op.get_bind()
    log = AuditLog(sa.MetaData())
    rows = connection.execute(sa.select(log.table).order_by(log.table.c.seq)).all()
    op.drop_table("audit_head")
    op.drop_table("audit")
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("operator_id", sa.String(length=200), nullable=True),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("result", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_at"), ["at"], unique=False)
    for row in rows:
        connection.execute(
            sa.insert(_BEFORE).values(
                id=row.seq,
                at=datetime.fromisoformat(row.at),
                operator_id=None if row.actor == "nobody" else row.actor,
                action=row.action,
                target=row.subject,
                result=row.result,
                address=row.source,
            )
        )
