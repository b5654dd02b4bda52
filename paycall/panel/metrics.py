"""The panel's figures for Prometheus.

Rules: labels are states and reasons, closed sets: no operator, no caller, no payment. What the database knows is
asked when the figures are read; a database that does not answer leaves those figures out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from paycall.domain.payment import PaymentState
from paycall.panel.stream import EventStream
from paycall.store.database import reading
from paycall.store.tables import PaymentRow

_log = structlog.get_logger(__name__)

COUNTED_FOR = timedelta(hours=24)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class PanelMetrics:
    """What the panel counts while it works. ``registry`` is what is to be served."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._sign_ins = Counter(
            "paycall_panel_sign_ins",
            "Tries to sign in, by result: done, refused, locked.",
            ["result"],
            registry=registry,
        )
        for result in ("done", "refused", "locked"):
            self._sign_ins.labels(result)  # shown from the start, so that an alert sees the first one
        self._dots = Histogram(
            "paycall_panel_key_to_dot_seconds",
            "From a cell's word on a key until a browser's connection has taken it.",
            buckets=_SECONDS,
            registry=registry,
        )

    def signed_in(self, result: str) -> None:
        """Somebody tried to sign in: ``done``, ``refused``, ``locked``."""
        self._sign_ins.labels(result).inc()

    def dot_shown(self, seconds: float) -> None:
        """A key's progress has been handed to a browser's connection."""
        self._dots.observe(seconds)


class PanelState(Collector):
    """What stream and database say when they are asked."""

    def __init__(self, stream: EventStream, database: Engine, now: Callable[[], datetime]) -> None:
        self._stream = stream
        self._database = database
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database is asked only for figures."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        streams, operators = self._stream.followers()
        yield GaugeMetricFamily("paycall_panel_streams", "Event streams that are open.", value=streams)
        yield GaugeMetricFamily(
            "paycall_panel_operators", "Operators who have an event stream open.", value=operators
        )
        try:
            yield self._payments()
        except SQLAlchemyError as error:
            _log.warning("figures_left_out", error=type(error).__name__)

    def _payments(self) -> Metric:
        """By state: those that were changed in the last day, and every one whose outcome is not known."""
        recent = PaymentRow.updated_at > self._now() - COUNTED_FOR
        unknown = PaymentRow.state == PaymentState.UNKNOWN.value
        query = select(PaymentRow.state, func.count()).where(recent | unknown).group_by(PaymentRow.state)
        with reading(self._database) as session:
            found: dict[str, int] = {row[0]: row[1] for row in session.execute(query)}
        family = GaugeMetricFamily(
            "paycall_panel_payments",
            "Payments by state: those changed in the last 24 hours, and every unknown one.",
            labels=["state"],
        )
        for state in PaymentState:
            family.add_metric([state.value], found.get(state.value, 0))
        return family
