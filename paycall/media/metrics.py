"""How a media node shows its cells and itself to Prometheus.

Rules: the counts of the living and the dead are added up, so that a figure never goes back when a cell is replaced.
The node imports this after it has forked the process that its cells come from: they need no Prometheus.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from paycall.media.counts import CELL_COUNTS, KEY_DELAY, KEY_DELAY_LIMITS_S, KEY_DELAY_SUM
from paycall.media.status import NodeStatus

_STATES = ("starting", "ready", "draining", "gone")


class NodeMetrics(Collector):
    """All cells' counts, and the node's own.

    Parameters
    ----------
    status
        The node's state now.
    calls_per_cell
        How many calls a cell takes.
    """

    def __init__(self, status: Callable[[], NodeStatus], calls_per_cell: int) -> None:
        self._status = status
        self._calls_per_cell = calls_per_cell
        self._finished: defaultdict[str, float] = defaultdict(float)
        self._present: dict[str, Mapping[str, float]] = {}
        self._pss_mb: dict[str, float] = {}
        self._ends: defaultdict[str, int] = defaultdict(int)

    def heard(self, cell_id: str, counts: Mapping[str, float], pss_mb: float) -> None:
        """A cell's report."""
        self._present[cell_id] = counts
        self._pss_mb[cell_id] = pss_mb

    def cell_ended(self, cell_id: str, how: str) -> None:
        """A cell is no more: ``retired`` by itself or ``lost``. What it counted stays."""
        self._ends[how] += 1
        self._pss_mb.pop(cell_id, None)
        for key, value in self._present.pop(cell_id, {}).items():
            self._finished[key] += value

    def totals(self) -> dict[str, float]:
        """Every count over all cells that lived."""
        totals = dict(self._finished)
        for counts in list(self._present.values()):
            for key, value in counts.items():
                totals[key] = totals.get(key, 0) + value
        return totals

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        yield from self._counters()
        yield from self._gauges()

    def _counters(self) -> Iterable[Metric]:
        totals = self.totals()
        for name, count in CELL_COUNTS.items():
            labels = [count.label] if count.label else []
            family = CounterMetricFamily(f"paycall_media_{name}", count.text, labels=labels)
            for value in count.values:
                family.add_metric([value], totals.get(f"{name}:{value}", 0))
            if not count.label:
                family.add_metric([], totals.get(name, 0))
            yield family
        yield _key_delays(totals)
        ends = CounterMetricFamily("paycall_media_cells_ended", "Cells that ended.", labels=["how"])
        for how in ("retired", "lost"):
            ends.add_metric([how], self._ends[how])
        yield ends

    def _gauges(self) -> Iterable[Metric]:
        status = self._status()
        states = GaugeMetricFamily("paycall_media_cells", "Cells by state.", labels=["state"])
        for state in _STATES:
            states.add_metric([state], sum(cell.state == state for cell in status.cells))
        yield states
        ready = [cell for cell in status.cells if cell.state == "ready"]
        calls = sum(cell.calls for cell in status.cells)
        free = sum(max(0, self._calls_per_cell - cell.calls) for cell in ready)
        rss_bytes = max((cell.rss_mb for cell in status.cells), default=0.0) * 1e6
        for name, text, value in (
            ("calls_now", "Calls in progress.", calls),
            ("free_calls", "Calls that the cells that are ready can still take.", free),
            ("panel_connected", "Whether the node reaches the panel.", float(status.panel_connected)),
            ("draining", "Whether the node takes no new calls.", float(status.draining)),
            ("cell_rss_bytes_max", "Resident memory of the largest cell, shared pages included.", rss_bytes),
            (
                "cells_pss_bytes",
                "Memory of all cells, shared pages divided.",
                sum(self._pss_mb.values()) * 1e6,
            ),
        ):
            yield GaugeMetricFamily(f"paycall_media_{name}", text, value=value)


def _key_delays(totals: Mapping[str, float]) -> Metric:
    """The histogram: Prometheus counts everything up to a limit, a cell what lies between two."""
    buckets, so_far = [], 0.0
    for limit in KEY_DELAY_LIMITS_S:
        so_far += totals.get(f"{KEY_DELAY}:{limit}", 0)
        buckets.append((limit, so_far))
    return HistogramMetricFamily(
        "paycall_media_key_told_seconds",
        "From the end of a captured key's sound, or its event's arrival, to the word on it to the panel.",
        buckets=buckets,
        sum_value=totals.get(KEY_DELAY_SUM, 0),
    )
