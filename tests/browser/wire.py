"""The wire between a browser and the panel, which can be cut and mended: a TCP relay on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

from tests.phones.rtp import free_port


class Wire:
    """Relays to ``port``. Cut, it closes what is open and takes nobody; deaf, it loses what the panel answers."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._port = free_port()
        self._cut = self._deaf = False
        self._relays: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire")

    @property
    def url(self) -> str:
        """What the browser is told."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Wire:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._relay, "127.0.0.1", self._port))
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Nothing passes any more, and the browser notices."""
        self._do(self._hang_up())

    def deafen(self) -> None:
        """What the browser sends still arrives; what the panel answers is lost on the way."""
        self._deaf = True

    def mend(self) -> None:
        """As if nothing had been."""
        self._cut = self._deaf = False

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _hang_up(self) -> None:
        self._cut = True
        for relay in tuple(self._relays):
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _close(self) -> None:
        self._server.close()
        await self._hang_up()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        others: list[asyncio.StreamWriter] = [writer]
        try:
            if self._cut:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            others.append(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, back, answers=False))
                both.create_task(self._pass_on(there, writer, answers=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._relays.discard(task)
            for end in others:
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        while data := await reader.read(65536):
            if answers and self._deaf:
                continue
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
