"""What processes use, as the kernel accounts for it: CPU and wake-ups of each thread, memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Use:
    """CPU seconds, and how often a thread slept and woke (``waited``) or was pushed aside (``pushed``)."""

    cpu_s: float = 0.0
    waited: int = 0
    pushed: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(self.cpu_s + other.cpu_s, self.waited + other.waited, self.pushed + other.pushed)

    def __sub__(self, other: Use) -> Use:
        return Use(self.cpu_s - other.cpu_s, self.waited - other.waited, self.pushed - other.pushed)


def of_threads(pids: Iterable[int]) -> dict[tuple[int, int, str], Use]:
    """Each thread's use since its start, by process, thread and name; a process's first thread is named ``main``."""
    found = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            name = "main" if int(task.name) == pid else (task / "comm").read_text("utf-8").strip()
            status = dict(line.split(":", 1) for line in (task / "status").read_text("utf-8").splitlines())
            found[pid, int(task.name), name] = Use(
                int((task / "schedstat").read_text("ascii").split()[0]) / 1e9,
                int(status["voluntary_ctxt_switches"]),
                int(status["nonvoluntary_ctxt_switches"]),
            )
    return found


def between(
    before: dict[tuple[int, int, str], Use], after: dict[tuple[int, int, str], Use]
) -> dict[str, Use]:
    """What was used between two moments, by the thread's name."""
    total: dict[str, Use] = {}
    for (pid, task, name), use in after.items():
        total[name] = total.get(name, Use()) + use - before.get((pid, task, name), Use())
    return total


def memory_mb(pids: Iterable[int]) -> tuple[float, float]:
    """Medians over the processes: PSS (shared pages divided by those who share them), and what is theirs alone."""
    pss, private = [], []
    for pid in pids:
        lines = [
            line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
        ]
        kb = {name: int(value) for name, value, *_ in lines}
        pss.append(kb["Pss:"] / 1000)
        private.append((kb["Private_Clean:"] + kb["Private_Dirty:"]) / 1000)
    return statistics.median(pss), statistics.median(private)
