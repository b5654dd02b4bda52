"""Deletes recordings that are older than the site keeps them; the node runs it."""

from __future__ import annotations

import asyncio
import time

import structlog

from paycall.media.recording import delete_older
from paycall.settings import RecordingSettings

log = structlog.get_logger(__name__)

EVERY_S = 600.0


async def delete_old_recordings(settings: RecordingSettings) -> None:
    """Now and every ten minutes, until it is cancelled."""
    while True:
        try:
            count = await asyncio.to_thread(delete_older, settings.folder, settings.keep_days, time.time())
        except OSError as error:
            log.error("recordings_not_deleted", alarm=True, error=type(error).__name__)
        else:
            if count:
                log.info("recordings_deleted", count=count)
        await asyncio.sleep(EVERY_S)
