"""The panel's audit: who did what, when, to what, from where, with what result (PCI DSS 10.2)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from paycall.store.tables import AuditRow


def note(
    session: Session,
    now: datetime,
    operator_id: str | None,
    action: str,
    *,
    target: str = "",
    result: str = "done",
    address: str = "",
) -> None:
    """Write a line."""
    session.add(
        AuditRow(
            at=now, operator_id=operator_id, action=action, target=target, result=result, address=address
        )
    )
