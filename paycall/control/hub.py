"""The panel's end of the control link: every cell and node dials it.

Rules: events of one sender reach the handler one after the other; an event is acknowledged after the handler has
returned, so what is acknowledged is in the database. A handler that raises leaves the event unacknowledged: the
connection is closed, and the event comes again. Answers to commands pass the handler by, so that a handler may
send commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import structlog

from paycall.control.frames import BEAT_S, encode, listen, read_frame
from paycall.control.messages import (
    AnyCommand,
    CallArrived,
    CallCommand,
    CallEnded,
    CaptureFields,
    CellLost,
    CommandDone,
    CommandRefused,
    DialOut,
    DropField,
    EndCapture,
    Event,
    ExpectLinkCode,
    ForgetLinkCode,
    HangUp,
    Hello,
    PauseRecording,
    RouteCall,
    Rules,
    StartCapture,
    parse_event,
)
from paycall.domain.errors import (
    CaptureSequenceError,
    InputError,
    LinkError,
    NotFoundError,
    NoTrunkError,
    NumberNotAllowedError,
    PaycallError,
    StateError,
)
from paycall.domain.fields import Field
from paycall.domain.ids import is_id, new_id
from paycall.domain.ports import CaptureRules

log = structlog.get_logger(__name__)

COMMAND_TIMEOUT_S = 5.0
CLOSE_S = 2.0
Handler = Callable[[str, Event], Awaitable[None]]
# When the event that is being handled was read from its cell, in seconds of the monotonic clock.
HEARD_AT_S: ContextVar[float | None] = ContextVar("heard_at_s", default=None)


class SessionInProgressError(StateError):
    """Another payment's capture runs on this call."""

    code = "session-in-progress"
    text = "another payment is being taken on this call"


_REFUSALS: dict[str, type[Exception]] = {
    "not-found": NotFoundError,
    "wrong-state": StateError,
    "session-in-progress": SessionInProgressError,
    "invalid-input": InputError,
    CaptureSequenceError.code: CaptureSequenceError,
    NoTrunkError.code: NoTrunkError,
    NumberNotAllowedError.code: NumberNotAllowedError,
}


@dataclass
class _Connection:
    sender_id: str
    boot_id: str
    writer: asyncio.StreamWriter
    hello: Hello | None = None
    call_ids: set[str] = field(default_factory=set)
    # What the cell was told to dial and has not answered: command -> call.
    dialling: dict[str, str] = field(default_factory=dict)
    queue: asyncio.Queue[tuple[int, Event, float]] = field(default_factory=asyncio.Queue)


def _calls(connection: _Connection) -> int:
    return len(connection.call_ids | set(connection.dialling.values()))


def _frame(command: AnyCommand) -> bytes:
    return encode({"command": command.model_dump(mode="json")})


class Hub:
    """Serves the control address and implements ``domain.ports.CallControl``."""

    def __init__(self, handler: Handler, command_timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self._handler = handler
        self._timeout_s = command_timeout_s
        self._connections: dict[str, _Connection] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self, address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Listen while the context is open."""
        server = await listen(address, tls, self._serve_connection)
        try:
            yield
        finally:
            server.close()
            for connection in list(self._connections.values()):
                connection.writer.transport.abort()
            await server.wait_closed()
            if self._serving:  # before the loop is closed under them
                await asyncio.wait(self._serving, timeout=CLOSE_S)

    def connected(self) -> set[str]:
        """The cells and nodes that are connected now."""
        return set(self._connections)

    async def start_capture(
        self, call_id: str, payment_id: str, fields: Sequence[Field], rules: CaptureRules
    ) -> None:
        """Mask the agent leg and take these fields."""
        wire_rules = Rules.model_validate(vars(rules))
        await self._command(
            StartCapture(
                command_id=new_id("cmd"),
                call_id=call_id,
                payment_id=payment_id,
                fields=tuple(fields),
                rules=wire_rules,
            )
        )

    async def capture_fields(self, call_id: str, payment_id: str, fields: Sequence[Field]) -> None:
        """Take these fields (again)."""
        await self._command(
            CaptureFields(
                command_id=new_id("cmd"), call_id=call_id, payment_id=payment_id, fields=tuple(fields)
            )
        )

    async def drop_field(self, call_id: str, payment_id: str, field: Field) -> None:
        """Do without this field."""
        command = DropField(command_id=new_id("cmd"), call_id=call_id, payment_id=payment_id, field=field)
        await self._command(command)

    async def end_capture(self, call_id: str, payment_id: str) -> None:
        """End the capture."""
        await self._command(EndCapture(command_id=new_id("cmd"), call_id=call_id, payment_id=payment_id))

    async def route_call(self, call_id: str, agent_uri: str) -> None:
        """Dial this agent for a call that has arrived."""
        await self._command(RouteCall(command_id=new_id("cmd"), call_id=call_id, agent_uri=agent_uri))

    async def pause_recording(self, call_id: str, paused: bool) -> None:
        """Record silence from now on, or sound again."""
        await self._command(PauseRecording(command_id=new_id("cmd"), call_id=call_id, paused=paused))

    async def hang_up(self, call_id: str) -> None:
        """End the call."""
        await self._command(HangUp(command_id=new_id("cmd"), call_id=call_id))

    def can_dial_out(self) -> bool:
        """Whether a cell that is connected has a trunk."""
        return any(
            connection.hello is not None and connection.hello.dials_out for connection in self._cells()
        )

    async def dial_out(self, call_id: str, agent_uri: str, number: str) -> None:
        """Have a cell with a free place ring this phone, then dial the number.

        A cell that does not answer may be about to dial, so no other one is asked: it is told to hang up again, and
        its place counts as taken until it answers.
        """
        if not self.can_dial_out():
            raise NoTrunkError
        for connection in sorted(self._cells(), key=_calls):
            hello = connection.hello
            if hello is None or not hello.dials_out or _calls(connection) >= hello.capacity:
                continue
            command = DialOut(command_id=new_id("cmd"), call_id=call_id, agent_uri=agent_uri, number=number)
            connection.dialling[command.command_id] = call_id
            try:
                await self._send(connection, command)
            except StateError:  # taken meanwhile, or draining
                continue
            except LinkError:
                hang_up = HangUp(command_id=new_id("cmd"), call_id=call_id)
                connection.writer.write(_frame(hang_up))
                raise
            return
        raise StateError("every line is busy")

    async def expect_link_code(self, link_id: str, code: str, seconds: float) -> None:
        """Tell every cell of a link code."""
        await self._tell_cells(
            lambda: ExpectLinkCode(command_id=new_id("cmd"), link_id=link_id, code=code, seconds=seconds)
        )

    async def forget_link_code(self, link_id: str) -> None:
        """Tell every cell that it is good no more."""
        await self._tell_cells(lambda: ForgetLinkCode(command_id=new_id("cmd"), link_id=link_id))

    async def _tell_cells(self, make: Callable[[], AnyCommand]) -> None:
        """To every cell at once; one that does not answer is looked after by its own reconnect."""
        sending = [self._send(connection, make()) for connection in self._cells()]
        for failed in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(failed, PaycallError):
                log.info("cell_not_told", code=failed.code)
            elif isinstance(failed, BaseException):
                raise failed

    def _cells(self) -> list[_Connection]:
        return [c for c in self._connections.values() if c.hello is not None and c.hello.kind == "cell"]

    async def _command(self, command: CallCommand) -> None:
        connection = next((c for c in self._connections.values() if command.call_id in c.call_ids), None)
        if connection is None:
            raise NotFoundError("no cell that is connected has this call")
        await self._send(connection, command)

    async def _send(self, connection: _Connection, command: AnyCommand) -> None:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[command.command_id] = answer
        try:
            connection.writer.write(_frame(command))
            await connection.writer.drain()
            async with asyncio.timeout(self._timeout_s):
                await answer
        except (TimeoutError, OSError):
            raise LinkError("the cell did not answer in time") from None
        finally:
            del self._waiting[command.command_id]

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._serving.add(task)
        connection: _Connection | None = None
        try:
            connection = await self._greet(reader, writer)
            tasks = [
                asyncio.create_task(self._handle(connection)),
                asyncio.create_task(self._beat(connection)),
            ]
            try:
                await self._read(connection, reader)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass
        except LinkError as error:
            log.warning("control_link_error", error=error.text)
        finally:
            if connection is not None and self._connections.get(connection.sender_id) is connection:
                del self._connections[connection.sender_id]
                log.info("cell_disconnected", cell_id=connection.sender_id)
            writer.close()
            self._serving.discard(task)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Connection:
        frame = await read_frame(reader) or {}
        sender_id, boot_id = frame.get("from"), frame.get("boot")
        if not (isinstance(sender_id, str) and isinstance(boot_id, str)):
            raise LinkError("a control connection must begin with who it is")
        if not (is_id(boot_id, "boot") and (is_id(sender_id, "cell") or is_id(sender_id, "node"))):
            raise LinkError("a control connection must begin with who it is")
        connection = _Connection(sender_id, boot_id, writer)
        former = self._connections.get(sender_id)
        if former is not None:
            former.writer.close()
            connection.call_ids |= former.call_ids
        self._connections[sender_id] = connection
        log.info("cell_connected", cell_id=sender_id)
        return connection

    async def _read(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while (frame := await read_frame(reader)) is not None:
            if "event" in frame and isinstance(frame.get("seq"), int):
                self._sort(connection, frame["seq"], frame["event"])
            elif "beat" not in frame:
                raise LinkError("a cell sent a frame that this version does not know")

    def _sort(self, connection: _Connection, seq: int, data: Any) -> None:
        event = parse_event(data)
        match event:
            case CommandDone() | CommandRefused():
                connection.dialling.pop(event.command_id, None)
                self._settle(event)
            case Hello():
                connection.hello = event
                connection.call_ids = {call.call_id for call in event.calls}
            case CallArrived():
                connection.call_ids.add(event.call_id)
            case CallEnded():
                connection.call_ids.discard(event.call_id)
            case CellLost():
                for other in self._connections.values():
                    other.call_ids -= set(event.call_ids)
        connection.queue.put_nowait((seq, event, time.monotonic()))

    def _settle(self, event: CommandDone | CommandRefused) -> None:
        answer = self._waiting.get(event.command_id)
        if answer is None or answer.done():
            return
        if isinstance(event, CommandDone):
            answer.set_result(None)
        else:
            answer.set_exception(_REFUSALS.get(event.code, LinkError)())

    async def _handle(self, connection: _Connection) -> None:
        while True:
            seq, event, heard_at_s = await connection.queue.get()
            HEARD_AT_S.set(heard_at_s)
            if not isinstance(event, CommandDone | CommandRefused):
                try:
                    await self._handler(connection.sender_id, event)
                except PaycallError as error:
                    # The rules refuse it, and would again: nothing to gain from another time.
                    log.error("event_refused", name=event.type, code=error.code)
                except Exception as error:
                    # Not acknowledged: closing makes the cell send it again, once we can handle it.
                    log.error("event_not_handled", name=event.type, error=type(error).__name__)
                    await asyncio.sleep(1.0)
                    connection.writer.close()
                    return
            connection.writer.write(encode({"ack": seq}))

    async def _beat(self, connection: _Connection) -> None:
        """Acknowledge nothing new, so that the cell hears us even when nothing happens."""
        while True:
            await asyncio.sleep(BEAT_S)
            connection.writer.write(encode({"ack": 0}))
