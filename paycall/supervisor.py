"""Keeps the processes of ``paycall serve`` running: starts, watches, restarts, stops them.

Rules: each process writes to its own log file; one that dies is started again, after a growing pause if it dies
young; stopping asks (SIGTERM) in reverse order of the start, waits, and only then kills.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

log = structlog.get_logger(__name__)

STOP_S = 10.0
YOUNG_S = 5.0
_WRONG_SETTING = 2  # the exit code of paycall.cli for it
_COMPLAINT = "paycall: "  # how a process that refuses to start begins its one line (paycall.cli)
MAX_PAUSE_S = 10.0


@dataclass
class Child:
    """One process: what starts it, how to know that it is ready."""

    name: str
    command: list[str]
    log_path: Path
    ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)  # beside the supervisor's own
    outlives: bool = False  # stopped only when the others have ended: they still speak through it
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float | None = None
    _log: IO[bytes] | None = field(default=None, repr=False)
    _log_start: int = field(default=0, repr=False)

    def start(self) -> None:
        """Start the process, its output appended to its log file."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        if self._log is None:
            self._log = self.log_path.open("ab")
        self._log_start = self.log_path.stat().st_size
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **self.environment},
            # Ctrl-C is the supervisor's to hear. In a session of its own each process would be given as much of the
            # processor as the cells together (sched(7), autogroup), and their low and high priorities mean nothing.
            process_group=0,
        )
        self.started_at = time.monotonic()
        self.restart_at = None

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def complaint(self) -> str | None:
        """What this run said on its way out: its own fixed text, and nothing else of the log."""
        with self.log_path.open("rb") as written:
            written.seek(self._log_start)
            lines = written.read().decode("utf-8", "replace").splitlines()
        said = [line.removeprefix(_COMPLAINT) for line in lines if line.startswith(_COMPLAINT)]
        return said[-1] if said else None

    def kill_group(self) -> None:
        """End what a dead process has left of its group: its workers would keep its ports."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Release the log file."""
        if self._log is not None:
            self._log.close()
            self._log = None


class Supervisor:
    """Runs children in the given order."""

    def __init__(self, children: list[Child]) -> None:
        self.children = children
        self._stopping = False

    def start(self, timeout_s: float, progress: Callable[[str], None]) -> int:
        """Start all side by side and wait until each is ready.

        Returns
        -------
        int
            0 if all are; 2 if one of them refused its settings; 1 if one did not come up for another reason.
        """
        deadline = time.monotonic() + timeout_s
        for child in self.children:
            child.start()
        for child in self.children:
            progress(f"starting {child.name}")
            # Alive first: somebody else may answer in the place of one that died.
            while not (ready := child.alive() and child.ready()):
                if self._stopping:
                    return 1
                if not child.alive() or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            if not ready:
                return self._failed(child, progress)
        for child in self.children:
            if not child.alive():
                return self._failed(child, progress)
        return 0

    @staticmethod
    def _failed(child: Child, progress: Callable[[str], None]) -> int:
        refused = child.process is not None and child.process.poll() == _WRONG_SETTING
        complaint = child.complaint()
        why = f": {complaint}" if complaint else ""
        progress(f"{child.name} did not start{why} (its log is {child.log_path})")
        return _WRONG_SETTING if refused else 1

    def watch(self) -> None:
        """Restart what dies, until ``request_stop``."""
        while not self._stopping:
            for child in self.children:
                self._look_after(child)
            time.sleep(0.1)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.alive():
            if child.failures and now - child.started_at > YOUNG_S:
                child.failures = 0
            return
        if child.restart_at is None:
            status = child.process.returncode if child.process else None
            pause_s = min(0.1 * 2**child.failures, MAX_PAUSE_S) if child.failures else 0.0
            log.error("process_died", name=child.name, status=status, seconds=pause_s)
            child.kill_group()
            child.restart_at = now + pause_s
            child.failures += 1
        if now >= child.restart_at:
            child.start()
            log.info("process_started", name=child.name, pid=child.process.pid if child.process else None)

    def request_stop(self) -> None:
        """End ``watch``; callable from a signal handler."""
        self._stopping = True

    def stop(self) -> None:
        """Ask every process to stop, last started first, and kill what does not listen."""
        self._stopping = True
        self._stop([child for child in reversed(self.children) if not child.outlives])
        self._stop([child for child in reversed(self.children) if child.outlives])

    @staticmethod
    def _stop(children: list[Child]) -> None:
        for child in children:
            if child.alive() and child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for child in children:
            if child.process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, deadline - time.monotonic()))
            if child.alive():
                log.error("process_killed", name=child.name)
                child.kill_group()
                child.process.wait()
            child.close()
