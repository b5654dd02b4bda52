"""The vault on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.vault_harness import VaultHarness


@pytest.fixture
def vault(tmp_path: Path, postgres_url: str) -> VaultHarness:
    return VaultHarness(tmp_path, database_url=postgres_url)
