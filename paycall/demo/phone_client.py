"""Starts a scripted phone (``paycall.demo.phone``) and drives it from asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from paycall.demo.phone_parent import PhoneOptions, PhoneParent
from paycall.domain.errors import PaycallError

Event = Mapping[str, Any]
_START_S = 15.0
_QUIT_S = 5.0
_PARENT = PhoneParent()


class PhoneError(PaycallError):
    """The scripted phone did not do what it was told."""

    code = "phone-failed"
    text = "the scripted phone did not do what it was told"


class PhoneProcess:
    """One phone process. ``events`` keeps all it said, in order."""

    def __init__(
        self,
        pid: int,
        process: int,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        errors: BinaryIO,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.events: list[Event] = []
        self.sip_uri = ""
        self.pid = pid
        self._process = process
        self._from_phone, self._to_phone = line
        self._errors = errors
        self._on_event = on_event
        self._ids = itertools.count(1)
        self._changed = asyncio.Condition()
        self._over = False
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        address: str = "127.0.0.1",
        port: int = 0,
        limit_s: float = 600.0,
        log: Path | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> PhoneProcess:
        """Start a phone and wait until it can be called. ``log`` takes its error stream.

        Raises
        ------
        PhoneError
            If it does not start within 15 s (its port is taken, for example).
        """
        errors = log.open("a+b") if log else tempfile.TemporaryFile()  # noqa: SIM115 - closed with the phone
        ours, theirs = socket.socketpair()
        options = PhoneOptions(address, port, limit_s)
        try:
            with theirs:
                pid, process = await asyncio.to_thread(_PARENT.fork, options, theirs, errors.fileno())
        except OSError:
            ours.close()
            errors.close()
            raise PhoneError("no scripted phone could be started") from None
        phone = cls(pid, process, await asyncio.open_connection(sock=ours), errors, on_event)
        try:
            phone.sip_uri = str((await phone.wait_for("started", _START_S))["sip_uri"])
        except PhoneError:
            await phone.close()
            raise
        return phone

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        return self._over

    async def _read(self) -> None:
        while line := await self._line():
            if not line.endswith(b"\n"):  # cut off in the middle: the phone was killed
                break
            event = json.loads(line)
            self.events.append(event)
            if self._on_event is not None:
                self._on_event(event)
            async with self._changed:
                self._changed.notify_all()
        async with self._changed:
            self._over = True
            self._changed.notify_all()

    async def wait_for(self, name: str, timeout_s: float) -> Event:
        """The first event of this name; past ones count.

        Raises
        ------
        PhoneError
            It did not come in time, or the phone ended before.
        """
        return await self._find(lambda event: event["event"] == name, f"did not report '{name}'", timeout_s)

    async def _find(self, wanted: Callable[[Event], bool], complaint: str, timeout_s: float) -> Event:
        def found() -> Event | None:
            return next((event for event in self.events if wanted(event)), None)

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: found() is not None or self._over)
        except TimeoutError:
            raise PhoneError(f"the scripted phone {complaint} in time") from None
        event = found()
        if event is None:
            raise PhoneError(f"the scripted phone has ended: {self._last_words()}")
        return event

    def _last_words(self) -> str:
        """The end of its error stream. It holds no card data: a phone never says what it keys."""
        if self._errors.closed:
            return "it was told to"
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()[-300:] or "it said nothing"

    async def tell(self, what: str, timeout_s: float = 10.0, **fields: object) -> Event:
        """Give a command and wait until it is done; gives what the phone answered.

        Raises
        ------
        PhoneError
            The phone could not do it, or not in time.
        """
        number = next(self._ids)
        await self._send({"do": what, "id": number, **fields})
        event = await self._find(
            lambda event: event.get("id") == number and event["event"] in ("done", "failed"),
            f"did not finish '{what}'",
            timeout_s,
        )
        if event["event"] == "failed":
            raise PhoneError(f"the scripted phone could not do '{what}' ({event['reason']})")
        return event

    async def _line(self) -> bytes:
        try:
            return await self._from_phone.readline()
        except ConnectionError:  # it was killed with something left to read
            return b""

    async def _send(self, command: Mapping[str, object]) -> None:
        try:
            self._to_phone.write(json.dumps(command).encode() + b"\n")
            await self._to_phone.drain()
        except ConnectionError:
            raise PhoneError("the scripted phone has ended") from None

    async def close(self) -> None:
        """End the process: politely, then by force. Harmless if it is gone."""
        if self._errors.closed:
            return
        with contextlib.suppress(OSError):
            self._to_phone.write_eof()
        try:
            await asyncio.wait_for(self._ended(), _QUIT_S)
        except TimeoutError:
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
            await self._ended()
        await self._reader
        self._to_phone.close()
        os.close(self._process)
        self._errors.close()

    async def _ended(self) -> None:
        """Wait for the end of the process: then its descriptor can be read (pidfd_open(2))."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._process, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process)
