"""Alembic's environment: it runs on the connection that ``database.migrate`` hands in."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from paycall.store.tables import Base, UtcDateTime


def _render(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    return "UtcDateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
    compare_type=True,
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
