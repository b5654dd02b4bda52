"""What every PJSIP callback goes through.

Rules: nothing may leave it, for an exception that reaches the C++ side ends the process; and the thread that it
runs in, PJSIP's own, keeps its Python state between two of them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import structlog

log = structlog.get_logger(__name__)
_P = ParamSpec("_P")
_thread = threading.local()


def _stay_attached() -> None:
    """Keep Python's state of the calling thread, once and for all.

    Each callback in a thread that is not Python's would make a thread state and its stack anew, by system calls, and
    throw them away. A second ``PyGILState_Ensure`` without its release keeps it, and holds no lock.
    """
    if not getattr(_thread, "attached", False):
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.attached = True


def guarded(callback: Callable[_P, Any]) -> Callable[_P, None]:
    """Make a callback safe: what it raises is logged by its class name only (a text may hold input)."""

    @wraps(callback)
    def safe(*args: _P.args, **kwargs: _P.kwargs) -> None:
        _stay_attached()
        try:
            callback(*args, **kwargs)
        except Exception as error:
            log.error("callback_failed", name=callback.__name__, error=type(error).__name__)

    return safe
