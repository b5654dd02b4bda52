"""One HTTP PUT whose body can be wiped.

Rules: the body is a ``bytearray`` of the caller's that goes to the socket, or into TLS, as it is; no text is made
of it and no copy kept, as httpx does several times over. A connection serves one request: there are a few a call.
Nothing that is raised here carries the request. (Each of many cells with an httpx client of its own: 7 MB each.)
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from paycall.domain.errors import SettingsError, VaultUnavailableError

TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Server:
    """Where to. Either ``path`` of a Unix socket, or ``host`` and ``port`` with TLS."""

    host: str
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None

    @classmethod
    def at(cls, address: str, tls: ssl.SSLContext | None) -> Server:
        """From ``unix:PATH`` or ``https://host:port``.

        Raises
        ------
        SettingsError
            If it is neither.
        """
        if address.startswith("unix:"):
            return cls("vault", path=address.removeprefix("unix:"))
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname:
            raise SettingsError("vault_address must be unix:PATH or https://host:port")
        return cls(parts.hostname, parts.port or 443, tls=tls or ssl.create_default_context())


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


async def put_json(server: Server, path: str, body: bytearray) -> Answer:
    """Send ``body``, JSON, and wait for the answer. The caller wipes the body.

    Raises
    ------
    VaultUnavailableError
        No connection, no answer within ``TIMEOUT_S``, or one that is no HTTP.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await _connect(server)
            try:
                return await _exchange(reader, writer, server.host, path, body)
            finally:
                writer.transport.abort()  # whatever TLS still holds goes with it
    except (OSError, h11.ProtocolError):  # timeouts and TLS errors are OSErrors
        raise VaultUnavailableError from None


async def _connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if server.path:
        return await asyncio.open_unix_connection(server.path)
    return await asyncio.open_connection(server.host, server.port, ssl=server.tls)


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str, body: bytearray
) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    headers = [
        ("Host", host),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    writer.write(connection.send(h11.Request(method="PUT", target=path, headers=headers)) or b"")
    data = h11.Data(data=body)  # type: ignore[arg-type]  # any bytes-like object, say its docs: passed through
    for piece in connection.send_with_data_passthrough(data) or ():
        writer.write(memoryview(piece))
    connection.send(h11.EndOfMessage())
    await writer.drain()
    status, content = 0, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_MAX_ANSWER_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > _MAX_ANSWER_BYTES:
                raise OSError("the answer is too long")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, content)
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise ConnectionResetError
