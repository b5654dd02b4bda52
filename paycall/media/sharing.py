"""What a parent does so that its forked children go on sharing its memory.

Rules: called once, in a process of one thread that has imported what its children need and makes nothing after it.
A page is shared until somebody writes to it, and CPython writes to an object to count a reference on it. From 3.12 on
some objects are immortal (PEP 683): their references are not counted. ``None`` is one; here all that was imported
becomes it too. Earlier versions know no such thing, so there children copy what they use. And what children make
themselves must not be strewn over pages that they share.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import sys
import types
from collections.abc import Iterator

# What code consists of. Not lists, nor instances: they may stand for something that is closed when it is freed.
_LASTING = frozenset(
    {
        bytes,
        classmethod,
        dict,
        float,
        frozenset,
        int,
        property,
        staticmethod,
        str,
        tuple,
        types.BuiltinFunctionType,
        types.CellType,
        types.ClassMethodDescriptorType,
        types.CodeType,
        types.FunctionType,
        types.GetSetDescriptorType,
        types.MappingProxyType,
        types.MemberDescriptorType,
        types.MethodDescriptorType,
        types.ModuleType,
        types.WrapperDescriptorType,
    }
)
_IMMORTAL_BIT = 1 << 31  # 3.12: the count's lower half is negative
_Count = ctypes.c_uint32  # that half; an object begins with it
# A row of the allocator's report: class, size of its blocks, pools, blocks in use, blocks that are free
_REPORT_ROW = re.compile(rb"^ +\d+ +(\d+) +\d+ +\d+ +(\d+)$", re.MULTILINE)
_DEBUG_BYTES = 24  # what PYTHONMALLOC=pymalloc_debug adds to each block
_filling: list[bytes] = []


def share_with_children() -> bool:
    """Leave as little to write to as can be; gives whether references are counted no more.

    What is reachable now is never freed, and the collector leaves it alone.
    """
    gc.collect()
    # What imports have left there would be thrown out by children, which writes to each name's page: a megabyte.
    sys._clear_type_cache()
    _fill_gaps()
    immortal = _has_immortals()
    if immortal:
        _make_immortal(_Count.from_address(id(None)).value)
    gc.freeze()
    return immortal


def _fill_gaps() -> None:
    """Take what is free between the objects of now; the allocator then gives children pages of their own.

    Half a megabyte, in a thousand places. Where the report reads otherwise than expected, less is taken, or nothing.
    """
    beside = sys.getsizeof(b"") + (_DEBUG_BYTES if "debug" in os.environ.get("PYTHONMALLOC", "") else 0)
    for size, free in _REPORT_ROW.findall(_allocator_report()):
        if int(size) > beside:
            _filling.extend(bytes(int(size) - beside) for _ in range(int(free)))


def _allocator_report() -> bytes:
    """What CPython tells of its small objects' memory; it writes to the standard error's descriptor only."""
    with os.fdopen(os.memfd_create("report"), "w+b") as report, _standard_error_to(report.fileno()):
        sys._debugmallocstats()
        return os.pread(report.fileno(), os.fstat(report.fileno()).st_size, 0)


@contextlib.contextmanager
def _standard_error_to(descriptor: int) -> Iterator[None]:
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _has_immortals() -> bool:
    """Whether ``None`` is immortal, and its count lies where it is looked for."""
    count = _Count.from_address(id(None)).value
    return sys.version_info[:2] == (3, 12) and bool(count & _IMMORTAL_BIT) and count == sys.getrefcount(None)


def _make_immortal(count: int) -> None:
    """Give everything of the lasting kinds the count that the interpreter gave ``None``.

    The collector knows containers; what it does not track, such as names and code, hangs on one that it does.
    """
    for container in gc.get_objects():
        waiting = [container]
        while waiting:
            each = waiting.pop()
            tracked = gc.is_tracked(each)
            if type(each) in _LASTING or isinstance(each, type):
                field = _Count.from_address(id(each))
                if field.value & _IMMORTAL_BIT and not tracked:
                    continue  # been here
                field.value = count
            waiting += [other for other in gc.get_referents(each) if not gc.is_tracked(other)]
