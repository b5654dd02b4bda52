"""Tells the panel one event, for a command that has no link of its own.

Rules: when ``tell`` returns, what the event says is in the panel's database; else nothing may be taken for told. The
way is the cells', with their certificate where it leaves the machine.
"""

from __future__ import annotations

import asyncio
import ssl

from paycall.control.frames import dial, encode, read_frame
from paycall.control.messages import Event
from paycall.domain.errors import LinkError
from paycall.domain.ids import new_id

TELL_S = 5.0


async def tell(address: str, event: Event, tls: ssl.SSLContext | None = None) -> None:
    """Tell it, and wait until it is written down.

    Parameters
    ----------
    address
        ``unix:PATH`` or ``tls:HOST:PORT``.
    tls
        For ``tls:`` addresses: a context with our certificate and the site's CA.

    Raises
    ------
    LinkError
        The panel is not there, or did not say so in time.
    """
    try:
        async with asyncio.timeout(TELL_S):
            reader, writer = await dial(address, tls)
            try:
                writer.write(encode({"from": new_id("node"), "boot": new_id("boot")}))
                writer.write(encode({"seq": 1, "event": event.model_dump(mode="json")}))
                await writer.drain()
                while (frame := await read_frame(reader)) is not None:
                    if frame.get("ack") == 1:
                        return
            finally:
                writer.close()
    except (OSError, TimeoutError):
        pass
    raise LinkError("the panel cannot be told of it")
