"""Nothing may leave a PJSIP callback: an exception that reaches the C++ side ends the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import structlog

log = structlog.get_logger(__name__)
_P = ParamSpec("_P")


def guarded(callback: Callable[_P, Any]) -> Callable[_P, None]:
    """Make a callback safe: what it raises is logged by its class name only (a text may hold input)."""

    @wraps(callback)
    def safe(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception as error:
            log.error("callback_failed", name=callback.__name__, error=type(error).__name__)

    return safe
