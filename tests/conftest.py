"""What every test may use: the repository's root on the path (``tests.fakes``), and PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.postgres import Cluster, cluster


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """One private PostgreSQL for the whole run; a missing one fails the tests that ask for it."""
    with cluster() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    """An empty PostgreSQL database of its own, as a SQLAlchemy URL."""
    return postgres_cluster.create_database()
