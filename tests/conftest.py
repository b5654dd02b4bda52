"""What every test may use: the repository's root on the path (``tests.fakes``), and PostgreSQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent.parent))

from paycall import startup
from tests.postgres import Cluster, cluster

startup.begin()

# Processes that tests start have what they have where paycall is installed: structlog and httpx change with rich,
# which is here only because tools for testing want it. Those run in this process and keep it.
_AS_INSTALLED = str(Path(__file__).parent / "as_installed")
_PATHS = os.environ.get("PYTHONPATH", "").split(os.pathsep)
os.environ["PYTHONPATH"] = os.pathsep.join(
    [_AS_INSTALLED, *(p for p in _PATHS if p not in ("", _AS_INSTALLED))]
)
sys.path[:] = [path for path in sys.path if path != _AS_INSTALLED]

# As Hypothesis itself does where CI is set: a machine that is busy is no finding.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Files that take about a minute or more, longest first: no worker shall begin with one when the others are done. A
# worker is given the next file while it has two tests left, so files of one or two do not come last either. After the
# longest two, the browser's are in an order with which both workers end at about the same time.
LONGEST = (
    "demo_whole", "media_node", "leak_payment", "media_capture", "demo_test_calls", "serve", "kill", "foreign_phones",
    "fault_storm", "many_machines", "vault_process", "kamailio_site", "media_interop", "kamailio_lost",
    "vault_at_acquirers", "recording_calls",
    "browser_pages", "browser_stories", "browser_unknown", "browser_payment", "browser_steps", "browser_money",
    "browser_calls", "browser_oidc", "browser_people", "browser_sign_in", "browser_phone",
)  # fmt: skip
_TURN = {f"test_{name}.py": turn for turn, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the order within a file stays."""
    items.sort(key=lambda item: _TURN.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Thousands of tests are there and stay: they are not searched for garbage."""
    startup.done()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """One private PostgreSQL for the whole run; a missing one fails the tests that ask for it."""
    with cluster() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    """An empty PostgreSQL database of its own, as a SQLAlchemy URL."""
    return postgres_cluster.create_database()
