"""The control link over mutual TLS, with certificates that `paycall certs` makes."""

from __future__ import annotations

import asyncio
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
            async with asyncio.timeout(10):
                assert isinstance(await heard.get(), Hello)
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)
            # The panel's own certificate is of another authority: cut off before a word.
            reader, writer = await dial(address, panel)
            writer.write(b'{"from":"cell_aaaaaaaaaaaaaaaaaaaaaa","boot":"boot_aaaaaaaaaaaaaaaaaaaaaa"}\n')
            said = b"-"
            async with asyncio.timeout(5):  # a listener that took it would keep the connection open
                try:
                    said = await reader.read()
                except (ssl.SSLError, ConnectionError):
                    said = b""
            assert said == b""
            writer.close()
            assert heard.empty()

    asyncio.run(story())


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"hub\.pem"):
        server_context(tmp_path / "hub.pem", tmp_path / "hub.key", tmp_path / "ca-cell.pem")
