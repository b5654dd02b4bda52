"""What a process that holds digits does to itself: no core dump, no debugger, memory that is not swapped or kept.

``ENVIRONMENT`` has to be there when the interpreter starts (``process.restart_with``): what is freed is overwritten,
the digits' copies that the domain makes at every key included. CPython's allocator does it for Python's objects and
keeps them together, so that forked cells share more than with glibc's alone (the vault's); glibc's does it for the
rest.
"""

from __future__ import annotations

import ctypes
import resource
import signal
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

ENVIRONMENT: dict[str, str] = {
    "PYTHONMALLOC": "pymalloc_debug",
    # any byte but zero; and one heap for all threads of a cell, which seldom ask for memory at once
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165:glibc.malloc.arena_max=1",
}
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def harden() -> None:
    """No core dumps, no ptrace by the same user, and pages locked as they are touched, where that is allowed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        log.info("memory_not_locked", code=ctypes.get_errno())


def rss_mb() -> float:
    """Resident memory of this process, in MB, pages that it shares with its parent included."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[1])  # text would import its encoding
    return round(pages * resource.getpagesize() / 1e6, 1)


def pss_mb() -> float:
    """Memory of this process in MB, each shared page divided by those who share it; 0 where it can't be read."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0.0
    kb = next((int(line.split()[1]) for line in lines if line.startswith(b"Pss:")), 0)
    return round(kb * 1024 / 1e6, 1)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
