"""docs/declines.md says what the tables say."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_is_made_from_the_tables() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "declines_doc.py"))
    stale = "docs/declines.md is stale: run scripts/declines_doc.py"
    assert (ROOT / "docs" / "declines.md").read_text("utf-8") == script["build"](), stale
