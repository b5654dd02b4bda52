"""What a hostile or broken acquirer may answer: too much of it, or packed, is no answer."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from gateway_adapters.http import MAX_ANSWER_BYTES, Answer, HttpExchange
from paycall.domain.errors import NoAnswerError

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


def ask(reply: Reply) -> tuple[Answer, bytes]:
    """What the exchange makes of the reply, and the request that it sent."""

    async def main() -> tuple[Answer, bytes]:
        heard = b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal heard
            heard = await reader.readuntil(b"\r\n\r\n")
            try:
                await reply(writer)
                await writer.drain()
            except ConnectionError:
                pass
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        exchange = HttpExchange(
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", headers={}, read_s=5.0
        )
        try:
            return await exchange.send("GET", "/"), heard
        finally:
            await exchange.aclose()
            server.close()

    return asyncio.run(main())


def test_an_answer_without_end_is_given_up() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        part = b"0" * 65536
        for _ in range(4 * MAX_ANSWER_BYTES // len(part)):
            writer.write(b"%x\r\n" % len(part) + part + b"\r\n")
            await writer.drain()

    with pytest.raises(NoAnswerError):
        ask(endless)


def test_nothing_packed_is_asked_for_and_nothing_is_unpacked() -> None:
    async def packed(writer: asyncio.StreamWriter) -> None:
        body = gzip.compress(b'{"id": "pi_1"}')
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    answer, heard = ask(packed)
    assert answer == Answer(200)
    assert b"accept-encoding: identity" in heard.lower()
