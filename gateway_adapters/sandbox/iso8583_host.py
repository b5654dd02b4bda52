"""A bank's host: ISO 8583 over TCP, on the simulator's ledger.

It wants a sign-on with the right institution id (DE 32) before anything else, finds originals by retrieval
reference and trace number, and answers 0100, 0220, 0400 and 0800. What on HTTP would be an error page is here a
closed connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from gateway_adapters.iso8583.codec import Codec, Encoding, MalformedError, read_frame
from gateway_adapters.iso8583.currencies import ALPHABETIC
from gateway_adapters.iso8583.wire import REFUND, Message
from gateway_adapters.sandbox.behaviour import Fault
from gateway_adapters.sandbox.ledger import Authorization, KeyReusedError
from gateway_adapters.sandbox.simulation import GARBAGE, KeyInUseError, Order, Simulator

WIRE = "iso8583"
INSTITUTION_ID = "123456"
_CLOSE = (
    Fault.TOO_MANY_REQUESTS,
    Fault.DROP_BEFORE_BOOKING,
    Fault.DROP_AFTER_BOOKING,
    Fault.SERVER_ERROR,
)


class _HangUp(Exception):
    """Close the connection without an answer."""


class Iso8583Host:
    """The host's listener; ``simulator`` is asked for at each message, so that it can be replaced."""

    def __init__(self, simulator: Callable[[], Simulator], encoding: Encoding = "ascii") -> None:
        self._simulator = simulator
        self._codec = Codec(encoding)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port (another one for 0)."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._server is not None:
            self._server.close()
            for writer in set(self._open):
                writer.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        signed_on = False
        try:
            while True:
                message = self._codec.unpack(await read_frame(reader))
                if message["t"] == "0800":
                    right = message.get("32") == INSTITUTION_ID
                    signed_on = signed_on or right
                    await self._send(writer, _answer(message, "00" if right else "58"))
                elif signed_on:
                    await self._handle(writer, message)
                else:
                    raise _HangUp
        except (OSError, asyncio.IncompleteReadError, MalformedError, _HangUp):
            with contextlib.suppress(OSError):
                writer.close()
        finally:
            self._open.discard(writer)

    async def _handle(self, writer: asyncio.StreamWriter, message: Message) -> None:
        if message["t"] == "0100":
            await self._authorize(writer, message)
        elif message["t"] in ("0220", "0400"):
            await self._operate(writer, message)
        else:
            await self._send(writer, _answer(message, "12"))

    async def _operate(self, writer: asyncio.StreamWriter, message: Message) -> None:
        on = "reverse" if message["t"] == "0400" else "refund" if message["3"] == REFUND else "settle"
        key = f"{on} {message['37']}.{message['11']}"
        fault = self._simulator().operation_fault(on, WIRE, f"{key} fault", key)
        if fault in (Fault.TOO_MANY_REQUESTS, Fault.DROP_BEFORE_BOOKING):
            raise _HangUp
        answer = self._reverse(message) if on == "reverse" else self._complete(message, key)
        if fault in _CLOSE:
            raise _HangUp
        await self._send(writer, answer)

    async def _authorize(self, writer: asyncio.StreamWriter, message: Message) -> None:
        currency = ALPHABETIC.get(message.get("49", ""))
        if currency is None or message.get("25") != "08":
            await self._send(writer, _answer(message, "12"))
            return
        order = Order(
            key=f"{message['37']}.{message['11']}",
            reference=message.get("63", ""),
            payment="",
            wire=WIRE,
            amount_minor=int(message["4"]),
            currency=currency,
            card_number=message["2"],
            expiry=message.get("14", ""),
            partial=True,
            booking_id=f"{message['37']}.{message['11']}",
        )

        def render(row: Authorization) -> tuple[int, dict[str, Any]]:
            return 0, _authorized(message, row)

        try:
            verdict = await self._simulator().decide(order, render)
        except (KeyReusedError, KeyInUseError):
            await self._send(writer, _answer(message, "94"))
            return
        if verdict.fault in _CLOSE:
            raise _HangUp
        if verdict.fault is Fault.GARBAGE:
            writer.write(len(GARBAGE).to_bytes(2) + GARBAGE.encode())
            return
        await self._send(writer, verdict.body)
        if verdict.fault is Fault.DUPLICATE:
            await self._send(writer, verdict.body)

    def _complete(self, message: Message, key: str) -> Message:
        ledger = self._simulator().ledger
        original, amount_minor = _original_id(message), int(message["4"])
        replay = ledger.replay(key, key)
        if replay is not None:
            return _answer(message, str(replay.body["39"]))
        move = ledger.refund if message["3"] == REFUND else ledger.settle
        movement = move(original, amount_minor)
        code = "25" if movement is None else movement.response_code
        ledger.answer(key, key, 0, {"39": code})
        return _answer(message, code)

    def _reverse(self, message: Message) -> Message:
        ledger = self._simulator().ledger
        row = ledger.get(_original_id(message))
        if row is not None and row.state == "reversed":
            return _answer(message, "00")
        if row is not None and row.settled_minor:
            return _answer(message, "12")
        reference = row.reference if row else message.get("63", "")
        return _answer(message, ledger.reverse(reference).response_code if reference else "25")

    async def _send(self, writer: asyncio.StreamWriter, message: Message) -> None:
        writer.write(self._codec.pack(message))
        await writer.drain()


def _original_id(message: Message) -> str:
    """The original's name in the ledger: its retrieval reference and, out of DE 90, its trace number."""
    return f"{message['37']}.{message.get('90', '')[4:10]}"


def _answer(message: Message, code: str) -> Message:
    """The answer to a message: its own references, and DE 39."""
    kept = ("3", "4", "7", "11", "12", "13", "32", "37", "41", "42", "49", "70")
    kind = f"{message['t'][:2]}{int(message['t'][2]) + 1}0"
    return {"t": kind, "39": code} | {name: message[name] for name in kept if name in message}


def _authorized(message: Message, row: Authorization) -> Message:
    answer = _answer(message, row.response_code) | {"44": "Y" + ("N" if row.response_code == "N7" else "M")}
    if row.authorization_code:
        answer["38"] = row.authorization_code
    if row.response_code == "10":
        answer["4"] = f"{row.approved_minor:012d}"
    if row.advice_code:
        answer["48"] = f"8402{row.advice_code}"
    return answer
