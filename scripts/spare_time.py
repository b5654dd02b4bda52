"""Run a command in the time that the processor has to spare, and print what it said when it is done.

``python scripts/spare_time.py COMMAND…``: `make test` runs so what has no phones in it, beside what has. A phone that
gets a core 20 ms too late is heard; a test that only computes is not. Linux shares processors between sessions first
(sched_autogroup in sched(7)), so a low priority counts only in a session of the command's own: Ctrl-C is passed on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

NICENESS = 13


def run(command: list[str]) -> int:
    """The command's exit code; its output comes in one piece."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        with contextlib.suppress(OSError):  # there is none where the kernel is built or set so
            Path(f"/proc/{child.pid}/autogroup").write_text(str(NICENESS), encoding="ascii")
        os.setpriority(os.PRIO_PGRP, child.pid, NICENESS)
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, lambda number, _: sys.exit(128 + number))
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGINT)
                child.wait()
            said.seek(0)
            sys.stdout.flush()
            sys.stdout.buffer.write(said.read())
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
