"""Figures of a node: what died keeps counting, and nothing that is not foreseen gets a label."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from paycall.control import messages
from paycall.domain.call import EndReason
from paycall.domain.ids import new_id
from paycall.media.counts import CELL_COUNTS, Counts
from paycall.media.metrics import NodeMetrics
from paycall.media.pipes import CellReport
from paycall.media.status import CellStatus, NodeStatus
from paycall.metrics import metrics_port

CELLS = ("cell_a", "cell_b")


def cell(cell_id: str, state: str, calls: int) -> CellStatus:
    return CellStatus(
        cell_id=cell_id, sip_port=5060, pid=1, state=state, calls=calls, served=9, rss_mb=30.0, restarts=0
    )


@pytest.fixture
def node() -> NodeMetrics:
    status = NodeStatus(
        new_id("node"), False, True, (cell("cell_a", "ready", 1), cell("cell_b", "draining", 1))
    )
    return NodeMetrics(lambda: status, calls_per_cell=2)


@pytest.fixture
def registry(node: NodeMetrics) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(node)
    return made


def test_no_figure_goes_back_when_a_cell_is_replaced(node: NodeMetrics, registry: CollectorRegistry) -> None:
    def calls() -> float | None:
        return registry.get_sample_value("paycall_media_calls_total")

    node.heard("cell_a", {"calls": 5, "calls_ended:caller-hung-up": 4}, 12.0)
    node.heard("cell_b", {"calls": 2}, 10.0)
    assert calls() == 7
    node.cell_ended("cell_a", "lost")
    assert calls() == 7
    node.heard("cell_a", {"calls": 1}, 9.0)
    assert calls() == 8
    ended = registry.get_sample_value("paycall_media_calls_ended_total", {"reason": "caller-hung-up"})
    assert ended == 4
    assert registry.get_sample_value("paycall_media_cells_ended_total", {"how": "lost"}) == 1
    assert registry.get_sample_value("paycall_media_cells_pss_bytes") == 19e6


def test_the_delay_of_keys_is_a_histogram_over_all_cells(
    node: NodeMetrics, registry: CollectorRegistry
) -> None:
    for cell_id, delays in (("cell_a", (0.01, 0.04)), ("cell_b", (0.09, 7.0))):
        counts = Counts()
        for delay_s in delays:
            counts.key_told(delay_s)
        node.heard(cell_id, counts.all(), 10.0)
    name = "paycall_media_key_told_seconds"
    found = [registry.get_sample_value(f"{name}_bucket", {"le": limit}) for limit in ("0.02", "0.1", "+Inf")]
    assert found == [1, 3, 4]
    assert registry.get_sample_value(f"{name}_count") == 4
    assert registry.get_sample_value(f"{name}_sum") == pytest.approx(7.14)


def test_only_cells_that_are_ready_have_free_places(registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("paycall_media_free_calls") == 1
    assert registry.get_sample_value("paycall_media_calls_now") == 2
    assert registry.get_sample_value("paycall_media_cells", {"state": "draining"}) == 1


def test_everything_that_can_be_counted_is_shown_from_the_start(registry: CollectorRegistry) -> None:
    for name, count in CELL_COUNTS.items():
        for value in count.values or ("",):
            labels = {count.label: value} if count.label else {}
            assert registry.get_sample_value(f"paycall_media_{name}_total", labels) == 0, (name, value)


@pytest.mark.parametrize(("name", "label"), [("keys", "4111"), ("calls", "4111"), ("caller", "")])
def test_what_is_not_foreseen_is_not_counted(name: str, label: str) -> None:
    counts = Counts()
    with pytest.raises((ValueError, KeyError)):
        counts.add(name, label)
    assert counts.all() == {}


def test_events_are_counted_and_travel_in_a_report() -> None:
    counts = Counts()
    call_id = new_id("call")
    counts.note(messages.CallEnded(call_id=call_id, reason=EndReason.BUSY, agent_leg_keys=2))
    counts.note(messages.SecurityAlarm(call_id=call_id, kind="bridge-connection"))
    report = CellReport.decode(CellReport(counts=counts.all(), pss_mb=11.5).encode())
    assert report.counts == {"calls_ended:busy": 1, "agent_leg_keys": 2, "mask_alarms:bridge-connection": 1}
    assert report.pss_mb == 11.5


@pytest.mark.parametrize(
    ("configured", "supervised", "port"),
    [(None, True, 9472), (None, False, 0), (0, True, 0), (9999, False, 9999)],
    ids=["serve", "alone", "off", "set"],
)
def test_figures_are_shown_under_serve_or_where_a_port_is_set(
    configured: int | None, supervised: bool, port: int
) -> None:
    assert metrics_port("media", configured, supervised=supervised) == port
