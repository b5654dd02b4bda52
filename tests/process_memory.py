"""Looking into another process: its memory, its open files, what it was started with.

A process that refuses to be traced shows its memory to root alone. Without the right to look there is no test:
under CI that is a failure, elsewhere the test says why it did not run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

_BLOCK_BYTES = 8 << 20
_PAGE_BYTES = 4096
_OURS = {"dd", "wf"}  # not dumped, wiped on fork: only the block for security codes is both


def need_rights(pid: int) -> None:
    """Fail (CI) or skip (elsewhere) where the process's memory may not be read."""
    try:
        Path(f"/proc/{pid}/mem").open("rb").close()
    except PermissionError:
        reason = "reading the memory of a process that refuses to be traced needs root"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def blocks(pid: int) -> Iterator[bytes]:
    """The process's memory, region by region, in blocks that overlap by a page; empty pages are left out.

    All but what is a file's own unchanged content (programs, libraries), which cannot hold data of the process.
    """
    maps = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace")
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps.splitlines():
            where, permissions, _, _, inode = line.split()[:5]
            if "r" not in permissions or "[v" in line or ("w" not in permissions and inode != "0"):
                continue  # [vvar], [vdso], [vsyscall] are the kernel's
            start, end = (int(part, 16) for part in where.split("-"))
            yield from _region(memory.fileno(), start, end)


def _region(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        try:
            block = os.pread(descriptor, min(_BLOCK_BYTES, end - start), start)
        except OSError:
            return  # gone meanwhile, or a device
        if not block:
            return
        yield _without_empty_pages(block)
        start += len(block) if start + len(block) >= end else max(_PAGE_BYTES, len(block) - _PAGE_BYTES)


def _without_empty_pages(block: bytes) -> bytes:
    """Stacks and arenas are mostly pages that were never written."""
    pages = np.frombuffer(block, dtype=np.uint64).reshape(-1, _PAGE_BYTES // 8)
    return pages[pages.any(axis=1)].tobytes()


def around(content: bytes, what: bytes, before: int, after: int) -> Iterator[bytes]:
    """Each place with these bytes, and its neighbours: for patterns that would take long in all of it."""
    at = content.find(what)
    while at >= 0:
        yield content[max(0, at - before) : at + len(what) + after]
        at = content.find(what, at + 1)


def code_block(pid: int) -> bytes:
    """The vault's locked block for security codes, found by its flags in the kernel's list."""
    where = ""
    for line in Path(f"/proc/{pid}/smaps").read_text("utf-8", "replace").splitlines():
        if "-" in line.split()[0]:
            where = line.split()[0]
        elif line.startswith("VmFlags:") and set(line.split()) >= _OURS:
            start, end = (int(part, 16) for part in where.split("-"))
            with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
                return os.pread(memory.fileno(), end - start, start)
    raise AssertionError("the process has no block that is kept out of dumps and children")


def open_files(pid: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file that the process has open, deleted ones included."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = str(link.readlink())
            if name.startswith("/") and not name.startswith(("/dev/", "/proc/", "/sys/")) and link.is_file():
                yield name, link.read_bytes()
        except OSError:
            continue  # closed meanwhile, or write-only for a device


def started_with(pid: int) -> bytes:
    """Command line and environment."""
    return b"\n".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
