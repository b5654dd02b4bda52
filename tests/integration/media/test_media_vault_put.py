"""A field on its way to the vault: over mutual TLS, with answers of every kind; its body is wiped after each try."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from paycall.certs_command import issue
from paycall.domain.errors import CardDataError, VaultError, VaultUnavailableError
from paycall.domain.fields import Field
from paycall.domain.ids import new_id
from paycall.domain.secret import DigitBuffer
from paycall.media import vault_client, wipeable_put
from paycall.media.vault_client import VaultClient
from paycall.media.wipeable_put import Answer, Server, put_json
from paycall.tls import client_context, server_context
from tests.phones.rtp import free_port

NUMBER = "4111111111111111"
TOKEN = new_id("tok")
OK = json.dumps({"token": TOKEN}).encode()


def answer(status: str, body: bytes = OK) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(OK), OK)


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> list[bytearray]:
    """Every body that was sent, the very object."""
    sent: list[bytearray] = []

    async def spy(server: Server, path: str, body: bytearray) -> Answer:
        sent.append(body)
        return await put_json(server, path, body)

    monkeypatch.setattr(vault_client, "put_json", spy)
    return sent


def tell(
    folder: Path,
    answers: list[bytes],
    story: Callable[[str], Awaitable[None]],
    heard: list[bytes] | None = None,
) -> list[bytes]:
    """A vault's door that gives these answers, one a connection; an empty one is silence. Gives the requests."""
    issue(folder, ["127.0.0.1"])
    heard = [] if heard is None else heard
    door = server_context(folder / "vault.pem", folder / "vault.key", folder / "ca-cell.pem")
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        heard.append(head + await reader.readexactly(length))
        said = left.pop(0) if left else b""
        writer.write(said)
        await (writer.drain() if said else asyncio.sleep(2.0))
        writer.close()

    async def run() -> None:
        port = free_port()
        async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=door):
            await story(f"https://127.0.0.1:{port}")

    asyncio.run(run())
    return heard


def store(folder: Path, value: DigitBuffer, max_wait_s: float = 30.0) -> Callable[[str], Awaitable[None]]:
    async def story(address: str) -> None:
        tls = client_context(folder / "cell.pem", folder / "cell.key", folder / "ca-server.pem")
        client = VaultClient(address, tls, max_wait_s)
        assert await client.store(new_id("pay"), Field.CARD_NUMBER, value) == TOKEN

    return story


@pytest.mark.parametrize("said", [answer("200 OK"), CHUNKED], ids=["length", "chunks"])
def test_a_field_arrives_once_and_nothing_of_it_stays(
    tmp_path: Path, bodies: list[bytearray], said: bytes
) -> None:
    value = DigitBuffer(NUMBER)
    heard = tell(tmp_path, [said], store(tmp_path, value))
    assert len(heard) == 1
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert json.loads(body) == {"value": NUMBER}
    assert NUMBER.encode() not in head
    assert value.wiped
    assert [bytes(each) for each in bodies] == [bytes(len(body))]


@pytest.mark.parametrize(
    "first",
    [answer("503 Service Unavailable"), b"SSH-2.0-door\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n", b"\x00" * 100],
    ids=["unwell", "no HTTP", "silence", "half an answer", "zeros"],
)
def test_it_is_tried_again_where_there_was_no_answer(
    tmp_path: Path, bodies: list[bytearray], first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wipeable_put, "TIMEOUT_S", 1.0)
    heard = tell(tmp_path, [first, *[answer("200 OK")] * 9], store(tmp_path, DigitBuffer(NUMBER)))
    assert len(heard) >= 2
    assert all(each.endswith(b'"%s"}' % NUMBER.encode()) for each in heard)
    assert not any(any(each) for each in bodies)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (answer("422 Unprocessable Content", b'{"code": "invalid-card-number"}'), CardDataError),
        (answer("200 OK", b'{"token": "4111111111111111"}'), VaultError),
        (answer("404 Not Found", b"nothing"), VaultError),
    ],
    ids=["refused", "odd token", "not found"],
)
def test_a_refusal_is_told_without_the_value(
    tmp_path: Path, bodies: list[bytearray], said: bytes, error: type[Exception]
) -> None:
    value = DigitBuffer(NUMBER)
    with pytest.raises(error) as raised:
        tell(tmp_path, [said], store(tmp_path, value))
    assert NUMBER not in repr(raised.value)
    assert value.wiped
    assert len(bodies) == 1


def test_an_endless_answer_is_not_read_to_its_end(tmp_path: Path, bodies: list[bytearray]) -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 300_000
    with pytest.raises(VaultUnavailableError):
        tell(tmp_path, [endless] * 9, store(tmp_path, DigitBuffer(NUMBER), 0.05))
    assert not any(any(each) for each in bodies)


def test_a_stranger_s_door_gets_nothing(tmp_path: Path, bodies: list[bytearray]) -> None:
    ours, heard = tmp_path / "ours", list[bytes]()
    issue(ours, ["127.0.0.1"])
    with pytest.raises(VaultUnavailableError):
        tell(tmp_path / "theirs", [answer("200 OK")] * 9, store(ours, DigitBuffer(NUMBER), 0.05), heard)
    assert heard == []
    assert not any(any(each) for each in bodies)
