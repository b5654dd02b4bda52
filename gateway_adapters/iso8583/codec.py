"""Bytes on the line: a two-byte length, then the message as pyiso8583 packs it."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, Literal

import iso8583
import iso8583.specs

from gateway_adapters.iso8583.wire import Message

Encoding = Literal["ascii", "binary"]
LONGEST = 4096


class MalformedError(Exception):
    """The bytes are not a message. Carries nothing of them."""


class Codec:
    """Packs and unpacks messages: ``ascii`` has text bitmaps and lengths, ``binary`` bytes and BCD."""

    def __init__(self, encoding: Encoding) -> None:
        spec: dict[str, Any] = copy.deepcopy(
            iso8583.specs.default_ascii if encoding == "ascii" else iso8583.specs.default
        )
        spec["h"]["max_len"] = 0
        self._spec = spec

    def pack(self, message: Message) -> bytes:
        """The frame of a message.

        Raises
        ------
        MalformedError
            If a data element does not fit its format.
        """
        try:
            data, _ = iso8583.encode(dict(message), self._spec)
        except iso8583.EncodeError:
            data = None  # the error holds the message, and with it the card: do not chain it
        if data is None:
            raise MalformedError
        return len(data).to_bytes(2) + bytes(data)

    def unpack(self, data: bytes) -> Message:
        """The message in a frame, without its length.

        Raises
        ------
        MalformedError
            If it is none.
        """
        try:
            decoded, _ = iso8583.decode(data, self._spec)
        except iso8583.DecodeError:
            decoded = None
        if decoded is None:
            raise MalformedError
        return {name: str(value) for name, value in decoded.items()}


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame's content.

    Raises
    ------
    MalformedError
        If it is absurdly long.
    asyncio.IncompleteReadError
        If the connection ends.
    """
    length = int.from_bytes(await reader.readexactly(2))
    if not 0 < length <= LONGEST:
        raise MalformedError
    return await reader.readexactly(length)
