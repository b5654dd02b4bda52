"""Deletes recordings that are older than the site keeps them; the node runs it, and tells the panel's audit."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable

import structlog

from paycall.control.messages import RecordingHandled
from paycall.media.recording import delete_older
from paycall.settings import RecordingSettings

log = structlog.get_logger(__name__)

EVERY_S = 600.0


def host_name() -> str:
    """This machine's name, as the audit names it."""
    return re.sub(r"[^A-Za-z0-9._-]", "", socket.gethostname())[:100]


async def delete_old_recordings(
    settings: RecordingSettings, send: Callable[[RecordingHandled], object]
) -> None:
    """Now and every ten minutes, until it is cancelled; ``send`` gets an event for each that was deleted."""
    while True:
        try:
            gone = await asyncio.to_thread(delete_older, settings.folder, settings.keep_days, time.time())
        except OSError as error:
            log.error("recordings_not_deleted", alarm=True, error=type(error).__name__)
        else:
            for recording_id in gone:
                send(
                    RecordingHandled(recording_id=recording_id, action="expired", by="node", host=host_name())
                )
            if gone:
                log.info("recordings_deleted", count=len(gone))
        await asyncio.sleep(EVERY_S)
