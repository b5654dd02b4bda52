"""What every service shares: the dependencies, the stream, the live view, background work, the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from paycall.domain.errors import NotFoundError
from paycall.domain.payment import PaymentState
from paycall.panel.dependencies import PanelDependencies
from paycall.panel.live import LiveCaptures, LiveSearches
from paycall.panel.metrics import PanelMetrics
from paycall.panel.services.sealed import Sealer
from paycall.panel.services.views import call_view, payment_view
from paycall.panel.services.webhook_events import write_deliveries
from paycall.panel.stream import EventStream
from paycall.panel.tasks import BackgroundTasks
from paycall.store.database import reading, writing
from paycall.store.tables import CallRow, PaymentRow

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """Shared by the services of one panel."""

    deps: PanelDependencies
    stream: EventStream
    live: LiveCaptures
    tasks: BackgroundTasks
    sealer: Sealer
    metrics: PanelMetrics
    deliveries_written: asyncio.Event = field(default_factory=asyncio.Event)
    searches: LiveSearches = field(default_factory=LiveSearches)
    # Whose the open captures are: a cache, emptied when a call has changed hands.
    capture_owners: dict[str, str | None] = field(default_factory=dict)

    def now(self) -> datetime:
        """The present moment."""
        return self.deps.clock.now()

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a thread and a transaction; committed when this returns, webhooks' events with it."""

        def run() -> tuple[T, bool]:
            with writing(self.deps.database) as session:
                done = work(session)
                return done, write_deliveries(session, self.now())

        done, written = await asyncio.to_thread(run)
        if written:
            self.deliveries_written.set()
        return done

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a thread with a session that only reads."""

        def run() -> T:
            with reading(self.deps.database) as session:
                return work(session)

        return await asyncio.to_thread(run)

    def view_of_payment(self, session: Session, row: PaymentRow) -> dict[str, Any]:
        """The payment as the API shows it, language-neutral."""
        now_s = self.deps.clock.monotonic()
        unknown = row.state == PaymentState.UNKNOWN.value
        return payment_view(session, row, self.live.get(row.id), self.now(), now_s) | {
            "search": self.searches.view(row.id, now_s) if unknown else None
        }

    async def show_payment(self, payment_id: str, name: str | None = None) -> None:
        """Publish the payment as it is in the database now, by default as ``payment.<state>``."""

        def load(session: Session) -> tuple[dict[str, Any], str | None]:
            row = session.get(PaymentRow, payment_id)
            if row is None:
                raise NotFoundError
            return self.view_of_payment(session, row), row.operator_id

        view, owner_id = await self.read(load)
        self.stream.publish(name or f"payment.{view['state']}", {"payment": view}, owner_id)

    async def show_call(self, call_id: str, name: str) -> None:
        """Publish the call as it is in the database now."""

        def load(session: Session) -> tuple[dict[str, Any], str | None]:
            row = session.get(CallRow, call_id)
            if row is None:
                raise NotFoundError
            return call_view(session, row), row.operator_id

        view, owner_id = await self.read(load)
        self.stream.publish(name, {"call": view}, owner_id)
