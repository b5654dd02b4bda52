"""The control link over mutual TLS, with certificates that `paycall certs` makes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from pathlib import Path

import pytest

from paycall.certs_command import issue
from paycall.control.frames import dial
from paycall.control.hub import Hub
from paycall.control.link import ControlLink
from paycall.control.messages import AnyCommand, Event, Hello
from paycall.domain.errors import SettingsError
from paycall.domain.ids import new_id
from paycall.tls import client_context, server_context
from tests.phones.rtp import free_port


def hello() -> Hello:
    return Hello(
        sender_id=new_id("cell"), boot_id=new_id("boot"), kind="cell", node_id=new_id("node"), version="1"
    )


async def refuse(command: AnyCommand) -> None:
    raise AssertionError("no command was sent")


def test_a_cell_with_the_cells_certificate_is_heard_and_others_are_not(tmp_path: Path) -> None:
    issue(tmp_path, ["localhost", "127.0.0.1"])
    ca = tmp_path / "ca-server.pem"
    server = server_context(tmp_path / "hub.pem", tmp_path / "hub.key", tmp_path / "ca-cell.pem")
    cell = client_context(tmp_path / "cell.pem", tmp_path / "cell.key", ca)
    panel = client_context(tmp_path / "panel.pem", tmp_path / "panel.key", ca)
    address = f"tls:127.0.0.1:{free_port()}"

    async def story() -> None:
        heard: asyncio.Queue[Event] = asyncio.Queue()

        async def handle(sender_id: str, event: Event) -> None:
            heard.put_nowait(event)

        async with Hub(handle).serve(address, server):
            link = asyncio.create_task(ControlLink(address, hello, refuse, cell).run())
            async with asyncio.timeout(40):
                assert isinstance(await heard.get(), Hello)
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)
            # The panel's own certificate is of another authority: cut off before a word.
            async with asyncio.timeout(40):  # a listener that took it would keep the connection open
                try:
                    reader, writer = await dial(address, panel)
                    writer.write(
                        b'{"from":"cell_aaaaaaaaaaaaaaaaaaaaaa","boot":"boot_aaaaaaaaaaaaaaaaaaaaaa"}\n'
                    )
                    said = await reader.read()
                    writer.close()
                except (ssl.SSLError, ConnectionError):
                    said = b""
            assert said == b""
            assert heard.empty()

    asyncio.run(story())


def serial_of(writer: asyncio.StreamWriter) -> str:
    return str(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])


def test_a_renewed_certificate_is_shown_to_the_next_connection_and_open_ones_go_on(tmp_path: Path) -> None:
    """Of the listener and of whoever dials it: neither is started again."""
    issue(tmp_path, ["localhost", "127.0.0.1"])
    server = server_context(tmp_path / "hub.pem", tmp_path / "hub.key", tmp_path / "ca-cell.pem")
    cell = client_context(tmp_path / "cell.pem", tmp_path / "cell.key", tmp_path / "ca-server.pem")

    async def story() -> None:
        met: asyncio.Queue[str] = asyncio.Queue()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.put_nowait(serial_of(writer))
            writer.write(await reader.readline())
            writer.close()

        listening = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=server)
        port = listening.sockets[0].getsockname()[1]

        async def dialled() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, tuple[str, str]]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=cell)
            return reader, writer, (serial_of(writer), await met.get())

        async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(b"still here\n")
            answer = await reader.read()
            writer.close()
            return answer

        reader, writer, before = await dialled()
        *one, same = await dialled()
        assert same == before
        issue(tmp_path, ["localhost", "127.0.0.1"], renew=True)
        *two, after = await dialled()
        assert not set(after) & set(before)
        (tmp_path / "hub.pem").write_bytes(
            (tmp_path / "cell.pem").read_bytes()
        )  # half a renewal: not its key
        *three, kept = await dialled()
        assert kept == after
        for connection in ((reader, writer), one, two, three):
            assert await said(*connection) == b"still here\n"
        listening.close()
        await listening.wait_closed()

    asyncio.run(story())


def test_an_authority_that_was_taken_away_lets_nobody_in_any_more(tmp_path: Path) -> None:
    """Its cell gets no word in, though neither end was started again; a cell of the new one does."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        issue(folder, ["localhost", "127.0.0.1"])
    server = server_context(old / "hub.pem", old / "hub.key", old / "ca-cell.pem")

    async def story() -> None:
        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):  # a connection refused half way
                writer.write(await reader.readline())
                writer.close()

        listening = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=server)
        port = listening.sockets[0].getsockname()[1]

        async def let_in(folder: Path) -> bool:
            cell = client_context(folder / "cell.pem", folder / "cell.key", old / "ca-server.pem")
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=cell)
                writer.write(b"here\n")
                heard = await reader.read()
                writer.close()
            except (ssl.SSLError, ConnectionError):
                return False
            return heard == b"here\n"

        try:
            assert [await let_in(old), await let_in(new)] == [True, False]
            shutil.copy(new / "ca-cell.pem", old / "ca-cell.pem")
            assert [await let_in(old), await let_in(new)] == [False, True]
        finally:
            listening.close()
            await listening.wait_closed()

    asyncio.run(story())


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"hub\.pem"):
        server_context(tmp_path / "hub.pem", tmp_path / "hub.key", tmp_path / "ca-cell.pem")
