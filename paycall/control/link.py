"""The cell's (or node's) end of the control link.

Rules: ``send`` never blocks and never loses: an event is kept until the panel has acknowledged it, and sent again
after every reconnection, in order. Only ``FieldProgress`` is not kept while there is no connection: the ``Hello``
that follows the resent events carries the present counts. A command is carried out once, however often it comes.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import structlog

from paycall.control.frames import BEAT_S, dial, encode, read_frame
from paycall.control.messages import (
    AnyCommand,
    CommandDone,
    CommandRefused,
    Event,
    FieldProgress,
    Hello,
    parse_command,
)
from paycall.domain.errors import InputError, LinkError, NotFoundError, PaycallError, StateError

log = structlog.get_logger(__name__)

FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
_REMEMBERED_COMMANDS = 1000
_REFUSAL_CODES = get_args(CommandRefused.model_fields["code"].annotation)


class ControlLink:
    """Dials the panel, for ever.

    Parameters
    ----------
    address
        ``unix:PATH`` or ``tls:HOST:PORT``.
    hello
        Builds the present ``Hello``; called on every connection, on the link's event loop.
    on_command
        Carries a command out. Raising ``StateError``, ``NotFoundError`` or ``InputError`` refuses it.
    tls
        For ``tls:`` addresses: a context with our certificate and the site's CA.
    """

    def __init__(
        self,
        address: str,
        hello: Callable[[], Hello],
        on_command: Callable[[AnyCommand], Awaitable[None]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._hello = hello
        self._on_command = on_command
        self._tls = tls
        self._lock = threading.Lock()
        self._outbox: OrderedDict[int, Event] = OrderedDict()
        self._seq = 0
        self._sent_to = 0  # the last seq that went out on the present connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._answers: OrderedDict[str, CommandDone | CommandRefused | None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connected = False

    def send(self, event: Event) -> None:
        """Queue an event for the panel. From any thread; never blocks."""
        with self._lock:
            if isinstance(event, FieldProgress) and not self.connected:
                return
            self._seq += 1
            self._outbox[self._seq] = event
        self._wake_up()

    @property
    def unacknowledged(self) -> int:
        """How many events wait for the panel's word."""
        with self._lock:
            return len(self._outbox)

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                await self._session()
                backoff_s = FIRST_BACKOFF_S
            except OSError:
                pass
            except LinkError as error:
                log.warning("control_link_error", error=error.text)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def _session(self) -> None:
        reader, writer = await dial(self._address, self._tls)
        try:
            hello = self._hello()
            writer.write(encode({"from": hello.sender_id, "boot": hello.boot_id}))
            with self._lock:
                self._sent_to = 0
                self.connected = True
                self._seq += 1
                self._outbox[self._seq] = self._hello()
            log.info("control_link_up", name=hello.kind)
            sending = asyncio.create_task(self._write(writer))
            try:
                await self._read(reader)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            with self._lock:
                self.connected = False
                for seq in [s for s, e in self._outbox.items() if isinstance(e, Hello | FieldProgress)]:
                    del self._outbox[seq]
            writer.close()
            log.info("control_link_down")

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        assert self._wake is not None  # noqa: S101 - run() made it
        while True:
            self._wake.clear()
            with self._lock:
                due = [(seq, event) for seq, event in self._outbox.items() if seq > self._sent_to]
            for seq, event in due:
                writer.write(encode({"seq": seq, "event": event.model_dump(mode="json")}))
                self._sent_to = seq
            await writer.drain()
            try:
                # Not wait_for: before Python 3.12 it can swallow a cancellation.
                async with asyncio.timeout(BEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                writer.write(encode({"beat": True}))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while (frame := await read_frame(reader)) is not None:
            if isinstance(frame.get("ack"), int):
                self._acknowledge(frame["ack"])
            elif "command" in frame:
                self._take(frame["command"])
            else:
                raise LinkError("the panel sent a frame that this version does not know")

    def _acknowledge(self, upto: int) -> None:
        with self._lock:
            while self._outbox and next(iter(self._outbox)) <= upto:
                self._outbox.popitem(last=False)

    def _take(self, data: Any) -> None:
        """Carry a command out beside the reading, so that acknowledgements are not held up."""
        try:
            command = parse_command(data)
        except LinkError as error:
            log.warning("command_not_understood", error=error.text)
            return
        if command.command_id in self._answers:
            answer = self._answers[command.command_id]
            if answer is not None:
                self.send(answer)
            return
        self._answers[command.command_id] = None
        while len(self._answers) > _REMEMBERED_COMMANDS:
            self._answers.popitem(last=False)
        task = asyncio.get_running_loop().create_task(self._carry_out(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, command: AnyCommand) -> None:
        answer: CommandDone | CommandRefused
        try:
            await self._on_command(command)
            answer = CommandDone(command_id=command.command_id)
        except (StateError, NotFoundError, InputError) as error:
            code = error.code if error.code in _REFUSAL_CODES else "invalid-input"
            answer = CommandRefused.model_validate({"command_id": command.command_id, "code": code})
        except PaycallError as error:
            log.error("command_failed", code=error.code)
            answer = CommandRefused(command_id=command.command_id, code="internal-error")
        except Exception as error:
            # The name of the class only: the text of a foreign exception may hold anything.
            log.error("command_failed", error=type(error).__name__)
            answer = CommandRefused(command_id=command.command_id, code="internal-error")
        self._answers[command.command_id] = answer
        self.send(answer)

    def _wake_up(self) -> None:
        if self._loop is not None and self._wake is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)
