"""The vault's figures for Prometheus.

Rules: labels are the acquirers' names in the settings, operations, outcomes and fields: closed sets. What the
database knows is asked when the figures are read; a database that does not answer leaves those figures out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from paycall.domain.errors import PaycallError
from paycall.vault.store import Store

log = structlog.get_logger(__name__)

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


class VaultMetrics:
    """What the vault counts while it works. ``registry`` is what is to be served."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "paycall_vault_acquirer_requests",
            "Requests to acquirers, by what became of them; no-answer includes those that took too long.",
            ["acquirer", "operation", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "paycall_vault_acquirer_seconds",
            "How long an acquirer took to answer, or not to.",
            ["acquirer", "operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._fields = Counter(
            "paycall_vault_fields",
            "Fields that cells handed over, by what became of them.",
            ["field", "outcome"],
            registry=registry,
        )
        self._refused = Counter(
            "paycall_vault_refused_peers",
            "Peers that were turned away at a door.",
            ["role"],
            registry=registry,
        )
        for role in ("cell", "panel"):
            self._refused.labels(role)  # shown from the start, so that an alert sees the first one

    def asked(self, acquirer: str, operation: str, outcome: str, seconds: float) -> None:
        """An acquirer was asked (or, ``held-back``, was not)."""
        self._requests.labels(acquirer, operation, outcome).inc()
        if outcome != "held-back":
            self._seconds.labels(acquirer, operation).observe(seconds)

    def field(self, field: str, outcome: str) -> None:
        """A field came: ``stored``, or the error's code."""
        self._fields.labels(field, outcome).inc()

    def refused(self, role: str) -> None:
        """Somebody was turned away at a role's door."""
        self._refused.labels(role).inc()


class VaultState(Collector):
    """What the vault's database, keys and breakers say when they are asked.

    Parameters
    ----------
    key_version
        The version of the key-encrypting key that encrypts now.
    breakers
        By acquirer, which operations are held back now.
    waiting
        How many authorizations and operations wait for people.
    """

    def __init__(
        self,
        store: Store,
        key_version: Callable[[], int],
        breakers: Callable[[], Mapping[str, Mapping[str, bool]]],
        waiting: Callable[[], int],
    ) -> None:
        self._store = store
        self._key_version = key_version
        self._breakers = breakers
        self._waiting = waiting

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database is not open yet when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        states = GaugeMetricFamily(
            "paycall_vault_breaker_open",
            "1 while an acquirer is left alone for an operation.",
            labels=["acquirer", "operation"],
        )
        for acquirer, operations in self._breakers().items():
            for operation, is_open in operations.items():
                states.add_metric([acquirer, operation], float(is_open))
        yield states
        try:
            yield GaugeMetricFamily(
                "paycall_vault_key_version",
                "Version of the key that encrypts now.",
                value=self._key_version(),
            )
            yield from self._stored()
            yield GaugeMetricFamily(
                "paycall_vault_needs_review",
                "Authorizations and operations that nobody but people can find out.",
                value=self._waiting(),
            )
        except (SQLAlchemyError, PaycallError) as error:
            log.warning("figures_left_out", error=type(error).__name__)

    def _stored(self) -> Iterable[Metric]:
        with self._store.reading() as connection:
            figures = self._store.figures(connection)
        for name, text, value in (
            ("cards", "Cards that are kept.", figures.cards),
            ("unknown_authorizations", "Authorizations whose outcome is not known.", figures.unknown),
            (
                "open_work",
                "Authorizations and operations that are still to be settled with acquirers.",
                figures.open,
            ),
            ("audit_entries", "Entries of the audit log.", figures.audit_entries),
        ):
            yield GaugeMetricFamily(f"paycall_vault_{name}", text, value=value)
