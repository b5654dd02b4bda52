"""Work that goes on after a request was answered: strong references, logged failures, a clean stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class BackgroundTasks:
    """Tasks of the panel. They never raise into anybody; what they must not lose is in the database."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._names: dict[str, asyncio.Task[None]] = {}

    def start(self, work: Coroutine[Any, Any, None], name: str, *, once: bool = False) -> None:
        """Run ``work``. With ``once``, work of this name that is still running is left to it."""
        if once and name in self._names:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        if once:
            self._names[name] = task
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._names.get(task.get_name()) is task:
            del self._names[task.get_name()]
        if not task.cancelled() and (failure := task.exception()) is not None:
            # the kind only: an exception's text is not ours to write down
            _log.error(
                "background_task_failed", name=task.get_name().split(":")[0], error=type(failure).__name__
            )

    async def stop(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
