"""What the vault's process refuses: to dump core, to be traced, to swap a secret out, to keep freed memory.

``ENVIRONMENT`` has to be there when the interpreter starts (``process.restart_with``): with it glibc's allocator
serves every object and overwrites what is freed, so that a copy of a digit that a library made goes when the library
lets go of it. Linux only, as the rest of paycall; each measure that the system refuses is reported by name, never
ignored.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import resource

ENVIRONMENT: dict[str, str] = {
    "PYTHONMALLOC": "malloc",
    # tcache keeps freed blocks without overwriting them; perturb fills every freed block.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165",  # any byte but zero
}

_PR_SET_DUMPABLE = 4
_MADV_WIPEONFORK = 18
_libc = ctypes.CDLL(None, use_errno=True)


def harden() -> tuple[str, ...]:
    """Apply what can be applied to this process.

    Returns
    -------
    tuple of str
        The names of the measures that the system refused; empty is as it should be.
    """
    refused = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        refused.append("no-core-dump")
    if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:  # no core, no ptrace, /proc/PID/mem for root alone
        refused.append("not-dumpable")
    return tuple(refused)


class Forgetting:
    """Lets go of what libraries keep in reference cycles (httpx: a response and its request's body).

    ``settle`` once after the start: what is there then is never looked at again, so ``collect`` takes about a
    millisecond. ``touched`` whenever card data was handled; ``collect`` does nothing otherwise.
    """

    def __init__(self) -> None:
        self._touched = False

    def settle(self) -> None:
        """The start is over."""
        gc.collect()
        gc.freeze()

    def touched(self) -> None:
        """Card data was in this process's memory just now."""
        self._touched = True

    def collect(self) -> None:
        """Free every cycle, if there may be card data in one."""
        if self._touched:
            self._touched = False
            gc.collect()


def locked_memory(size: int) -> tuple[mmap.mmap, bool]:
    """A block of memory that is not swapped, dumped or given to a child.

    Returns
    -------
    tuple
        The block, zeroed, and whether the system locked it (``RLIMIT_MEMLOCK`` may not allow it).
    """
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    locked = _libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0
    for advice in (mmap.MADV_DONTDUMP, _MADV_WIPEONFORK):
        with contextlib.suppress(OSError):  # an old kernel: the process-wide measures still hold
            block.madvise(advice)
    return block, locked
