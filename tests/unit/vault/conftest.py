"""A vault on SQLite in a temporary directory, with a working acquirer in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.vault_harness import VaultHarness


@pytest.fixture
def vault(tmp_path: Path) -> VaultHarness:
    return VaultHarness(tmp_path)
