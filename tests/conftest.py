"""What every test may use: the repository's root on the path (``tests.fakes``), and PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.postgres import Cluster, cluster

# As Hypothesis itself does where CI is set: a machine that is busy is no finding.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """One private PostgreSQL for the whole run; a missing one fails the tests that ask for it."""
    with cluster() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    """An empty PostgreSQL database of its own, as a SQLAlchemy URL."""
    return postgres_cluster.create_database()
