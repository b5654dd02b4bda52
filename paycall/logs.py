"""Logs: JSON lines, an allow-list of fields, and no card number whatever happens.

Rules: a field that is not on the list is dropped and its name counted under ``dropped``; a value that could hold
a card number (twelve digits or more, separators apart) is replaced. Of a record that a library wrote only its
message template is kept, never its arguments; of an exception its type and the places it passed, never its text
and never frame locals, since both may hold anything.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

ALLOWED_FIELDS: frozenset[str] = frozenset(
    """acquirer address alarm attempt_id brand call_id calls cell_id cells code command count digits
    direction error event field head host key_version kind level logger masked method mode name node_id
    operation_id operator_id outcome page path payment_id pid port queue reason recording_id role route
    rss_mb seconds sender_id signal state status stdout timestamp token version where worker""".split()
)
REFUSED = "[refused: looks like a card number]"
_NUMBER_LIKE = re.compile(r"\d(?:[ \-_.]?\d){11,}")
_FREE = frozenset({"timestamp", "level", "logger"})


def looks_like_card_number(text: str) -> bool:
    """Whether there are twelve digits or more in a row, single separators apart."""
    return bool(_NUMBER_LIKE.search(text))


def _keep_allowed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    dropped = sorted(name for name in event if name not in ALLOWED_FIELDS and name != "exc_info")
    for name in dropped:
        del event[name]
    if dropped:
        event["dropped"] = [name for name in dropped if not looks_like_card_number(name)]
    return event


def _refuse_numbers(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name in _FREE or isinstance(value, bool | float | None):
            continue
        text = value if isinstance(value, str) else str(value)
        if looks_like_card_number(text):
            event[name] = REFUSED
        elif not isinstance(value, str | int | list):
            event[name] = text
    return event


def _exception_places(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the exception's type and the file, line and function it passed."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[0] is not None:
        event["error"] = info[0].__name__
        event["where"] = [
            f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(info[2])[-8:]
        ]
    return event


class _TemplateOnly(logging.Filter):
    """Takes the arguments away from every record of the standard library's logging."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.args = None
        record.exc_text = None
        record.stack_info = None
        return True


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records to ``stream`` (standard output) as JSON lines."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception_places,
        _keep_allowed,
        _refuse_numbers,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.addFilter(_TemplateOnly())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *shared,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries at WARNING: at DEBUG they write requests out. SQLAlchemy and httpx also at DEBUG of ours.
    root.setLevel(logging.WARNING)
