"""What a benchmark leaves: its part of docs/benchmarks.md with day and machine, and build/bench/NAME.json."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


class BenchPage:
    """Made before the run: it notes how busy the machine is by then."""

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title
        self.load_before = round(os.getloadavg()[0], 1)

    def circumstances(self) -> str:
        """The command, the day, the machine."""
        return (
            f"`make bench-{self.name}` on {datetime.now(UTC):%Y-%m-%d}: {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}; "
            f"load of the machine before the run {self.load_before}."
        )

    def publish(self, lines: Iterable[str], figures: Mapping[str, object]) -> None:
        """Replace this benchmark's part of the page, or add it, and write the figures."""
        out = ROOT / "build" / "bench" / f"{self.name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
        marker = f"<!-- bench-{self.name} -->"
        part = "\n".join([marker, f"## {self.title}", "", self.circumstances(), "", *lines, marker])
        text = PAGE.read_text("utf-8") if PAGE.exists() else "# Benchmarks\n"
        before, found, rest = text.partition(marker)
        after = rest.partition(marker)[2].strip() if found else ""
        PAGE.write_text(f"{before.rstrip()}\n\n{part}\n" + (f"\n{after}\n" if after else ""), "utf-8")
