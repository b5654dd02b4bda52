"""Releases the phones of a cell that died: BYE, CANCEL or 503, from the cell's own SIP address.

Rules: the cell's port is used for ``FROM_PORT_S`` at most, then the new cell may have it; what is not answered by
then is repeated from a port of its own until ``GIVE_UP_S``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from paycall.media.dialogs import Dialog, call_id_of, is_final_answer, release
from paycall.media.sip_text import parse_message

log = structlog.get_logger(__name__)

FROM_PORT_S = 0.4
GIVE_UP_S = 8.0
_FIRST_REPEAT_S = 0.1


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, waiting: set[str]) -> None:
        self._waiting = waiting

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        text = data.decode("utf-8", "replace")
        if is_final_answer(parse_message(text)):
            self._waiting.discard(call_id_of(text))


async def release_dialogs(dialogs: Sequence[Dialog], address: str, port: int) -> set[str]:
    """End the dialogs from the dead cell's port; gives the Call-IDs that have not answered yet.

    Raises
    ------
    OSError
        If the port is not free.
    """
    return await _send(dialogs, address, port, FROM_PORT_S)


async def release_late(dialogs: Sequence[Dialog], unanswered: set[str], address: str, port: int) -> None:
    """Go on with the dialogs that have not answered, from another port."""
    left = await _send(
        [each for each in dialogs if each.call_id in unanswered], address, 0, GIVE_UP_S - FROM_PORT_S, port
    )
    if left:
        log.warning("phones_not_released", count=len(left))


async def _send(
    dialogs: Sequence[Dialog], address: str, port: int, seconds: float, named_port: int = 0
) -> set[str]:
    messages = [(each, release(each, address, named_port or port)) for each in dialogs]
    # a refusal of their INVITE is a response: nothing but an ACK comes back
    waiting = {each.call_id for each, message in messages if message and each.stage != "uas-early"}
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answers(waiting), local_addr=(address, port))
    try:
        give_up_at, pause_s, first = time.monotonic() + seconds, _FIRST_REPEAT_S, True
        while (waiting or first) and time.monotonic() < give_up_at:
            for each, message in messages:
                if message is not None and (first or each.call_id in waiting):
                    transport.sendto(message[0].encode(), message[1])
            first = False
            end_of_pause = min(time.monotonic() + pause_s, give_up_at)
            while waiting and time.monotonic() < end_of_pause:
                await asyncio.sleep(0.01)
            pause_s *= 2
    finally:
        transport.close()
    return waiting
