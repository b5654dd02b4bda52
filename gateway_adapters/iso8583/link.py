"""The connection to a host: dialled when needed, signed on, kept alive with echoes, shared by all requests.

Rules: what fails before a request's bytes are written was not sent; what fails after is without an answer. An
answer is matched by type, trace number and retrieval reference; one that nobody waits for (a duplicate, or one
that came too late) is dropped. Bytes that are no message end the connection: nothing after them can be trusted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from gateway_adapters.iso8583 import wire
from gateway_adapters.iso8583.codec import Codec, MalformedError, read_frame
from gateway_adapters.iso8583.wire import Message, Terminal
from paycall.domain.errors import NoAnswerError, NotSentError, RefusedRequestError

Key = tuple[str, str, str]


class HostLink:
    """One connection to one host.

    Parameters
    ----------
    host, port, tls
        Where the host listens; ``tls`` None speaks plain TCP.
    connect_s, read_s, echo_s
        How long to wait for a connection and for an answer, and how often to send an echo.
    """

    def __init__(
        self,
        host: str,
        port: int,
        codec: Codec,
        terminal: Terminal,
        *,
        tls: ssl.SSLContext | None = None,
        connect_s: float = 5.0,
        read_s: float = 20.0,
        echo_s: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._address = (host, port)
        self._codec = codec
        self._terminal = terminal
        self._tls = tls
        self._connect_s, self._read_s, self._echo_s = connect_s, read_s, echo_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[Key, asyncio.Future[Message]] = {}
        self._stan = 0

    def now(self) -> datetime:
        """The time that messages carry, in UTC."""
        return self._clock()

    async def ask(self, message: Message) -> Message:
        """Send a message and wait for its answer.

        Raises
        ------
        NotSentError
            If there is no connection, or the message cannot be packed.
        RefusedRequestError
            If the host refuses our sign-on.
        NoAnswerError
            If no answer came in time, or the connection broke.
        """
        writer = await self._connected()
        return await self._exchange(writer, message)

    async def aclose(self) -> None:
        """Close the connection; whoever waits has no answer."""
        async with self._lock:
            tasks = self._tasks
            self._drop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._lock:
            if self._writer is not None:
                return self._writer
            try:
                async with asyncio.timeout(self._connect_s):
                    reader, writer = await asyncio.open_connection(*self._address, ssl=self._tls)
            except (OSError, TimeoutError):
                raise NotSentError from None
            self._writer = writer
            self._tasks = [asyncio.create_task(self._read(reader, writer))]
            try:
                await self._sign_on(writer)
            except BaseException:  # who asked may have given up: a line that is not signed on is of no use
                self._drop(writer)
                raise
            self._tasks.append(asyncio.create_task(self._echo(writer)))
            return writer

    async def _sign_on(self, writer: asyncio.StreamWriter) -> None:
        message = wire.network_message(wire.SIGN_ON, self._next_stan(), self._terminal, self.now())
        try:
            answer = await self._exchange(writer, message)
        except NoAnswerError:
            answer = None
        if answer is None:
            raise NotSentError  # only the sign-on went out, and that charges nothing
        if answer.get("39") != "00":
            raise RefusedRequestError("the host refused our sign-on")

    async def _exchange(self, writer: asyncio.StreamWriter, message: Message) -> Message:
        try:
            frame = self._codec.pack(message)
        except MalformedError:
            frame = None
        if frame is None:
            raise RefusedRequestError("the message does not fit the host's format")
        key = _key(message, answered=True)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            writer.write(frame)
            async with asyncio.timeout(self._read_s):
                await writer.drain()
                return await asyncio.shield(waiting)
        except (OSError, TimeoutError):
            raise NoAnswerError from None
        finally:
            if self._waiting.get(key) is waiting:
                del self._waiting[key]

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                message = self._codec.unpack(await read_frame(reader))
                waiting = self._waiting.pop(_key(message, answered=False), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        except (OSError, asyncio.IncompleteReadError, MalformedError):
            self._drop(writer)

    async def _echo(self, writer: asyncio.StreamWriter) -> None:
        while self._writer is writer:
            await asyncio.sleep(self._echo_s)
            message = wire.network_message(wire.ECHO, self._next_stan(), self._terminal, self.now())
            try:
                await self._exchange(writer, message)
            except NoAnswerError:
                self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter | None = None) -> None:
        """Give the connection up. All that wait have no answer; the next request dials anew."""
        if writer is not None and self._writer is not writer:
            return
        if self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.close()
        self._writer = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(NoAnswerError())
                future.exception()  # whoever waits gets it; where nobody does any more, nothing is logged

    def _next_stan(self) -> str:
        self._stan = self._stan % 999_999 + 1
        return f"{self._stan:06d}"


def _key(message: Message, *, answered: bool) -> Key:
    """What an answer is recognised by; ``answered`` turns a request's type into its answer's (0100 -> 0110)."""
    kind = message.get("t", "0000")
    if answered:
        kind = f"{kind[:2]}{int(kind[2]) + 1}0"
    return kind, message.get("11", ""), message.get("37", "")
