"""A media node with its surroundings: the real hub as the panel, a vault that remembers, phones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from paycall.control.hub import Hub
from paycall.control.messages import Event
from paycall.domain.fields import DEFAULT_FIELDS, Field
from paycall.domain.ids import new_id
from paycall.domain.ports import CaptureRules
from paycall.health import sip_answers
from paycall.media.hardening import ENVIRONMENT
from paycall.settings import RTP_PORTS_PER_CELL
from tests.phones import capture
from tests.phones.legs import Cells
from tests.phones.rtp import before_others, free_port

# How long a test waits for what must come, and mostly comes at once: so long only where a machine has no time.
PATIENCE_S = 40.0

_NODE = """
import json, sys
from pathlib import Path
from paycall.media.node import run_node
from paycall.settings import MediaSettings, SiteSettings
sys.exit(run_node(MediaSettings(**json.loads(sys.argv[1])), SiteSettings()))
"""


class Panel:
    """The real hub, with every event that came."""

    def __init__(self, address: str) -> None:
        self.events: list[tuple[float, str, Event]] = []
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.hub: Hub | None = None
        self.start()

    def start(self) -> None:
        """Listen."""
        self.hub = Hub(self._handle)
        self._serving = contextlib.AsyncExitStack()
        self.run(self._serving.enter_async_context(self.hub.serve(self._address)))

    def stop(self) -> None:
        """Stop listening: the panel is away."""
        self.run(self._serving.aclose())
        self.hub = None

    def close(self) -> None:
        """End it."""
        if self.hub is not None:
            self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _handle(self, sender_id: str, event: Event) -> None:
        self.events.append((time.monotonic(), sender_id, event))

    def run(self, coroutine: Any, timeout_s: float = PATIENCE_S) -> Any:
        """Run a coroutine on the panel's loop."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(timeout_s)

    def of_type(self, kind: str, call_id: str | None = None, since: int = 0) -> list[Event]:
        """Events of a type, of a call if one is named, from the ``since``-th event on."""
        return [
            event
            for _, _, event in list(self.events)[since:]
            if event.type == kind and (call_id is None or getattr(event, "call_id", None) == call_id)
        ]

    def wait(
        self,
        kind: str,
        count: int = 1,
        timeout_s: float = PATIENCE_S,
        call_id: str | None = None,
        since: int = 0,
    ) -> Any:
        """Wait for the ``count``-th event of a type."""
        return until(lambda: self.of_type(kind, call_id, since)[count - 1 :], timeout_s, f"event {kind}")[0]

    def start_capture(
        self, call_id: str, fields: Sequence[Field] = DEFAULT_FIELDS, rules: CaptureRules | None = None
    ) -> str:
        """Start a capture; gives the payment's identifier."""
        payment_id = new_id("pay")
        self.run(self.hub.start_capture(call_id, payment_id, fields, rules or CaptureRules()))
        return payment_id


def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S, what: str = "condition") -> Any:
    """Wait until the condition gives something true, and give it."""
    end = time.monotonic() + timeout_s
    while (began := time.monotonic()) < end:
        value = condition()
        if value:
            return value
        # One that asks a panel or searches a recording is not to take the processor from what it waits for.
        time.sleep(min(max(0.02, 3 * (time.monotonic() - began)), 0.5))
    raise AssertionError(f"no {what} within {timeout_s} s")


class Vault:
    """A small vault on a Unix socket that remembers what it was given."""

    def __init__(self, path: str) -> None:
        self.fields: list[tuple[str, str, str]] = []
        self.answer: Callable[[str, str], tuple[int, dict[str, str]]] | None = None
        self._tokens: dict[str, str] = {}
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                length = int(self.headers["Content-Length"])
                value = json.loads(self.rfile.read(length))["value"]
                status, body = vault.put(self.path, value)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def address_string(self) -> str:
                return "cell"

            def log_message(self, *args: Any) -> None: ...

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            block_on_close = False

        Path(path).unlink(missing_ok=True)
        self._server = Server(path, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def put(self, path: str, value: str) -> tuple[int, dict[str, str]]:
        """Take a field."""
        payment_id, field = path.split("/")[3], path.split("/")[5]
        if self.answer is not None:
            status, body = self.answer(field, value)
            if status != 200:
                return status, body
        self.fields.append((payment_id, field, value))
        if field == Field.CARD_NUMBER:
            self._tokens[payment_id] = new_id("tok")
        return 200, {"token": self._tokens.setdefault(payment_id, new_id("tok"))}

    def values(self, payment_id: str) -> dict[str, str]:
        """The fields of a payment."""
        return {field: value for payment, field, value in self.fields if payment == payment_id}

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Site:
    """A node in its own process, with a panel and a vault. Use as a context."""

    def __init__(
        self, cells: int = 1, *, panel: bool = True, own_group: bool = False, **settings: Any
    ) -> None:
        self._dir = tempfile.TemporaryDirectory(prefix="site-")
        self.folder = Path(self._dir.name)
        self.sip_port = free_port(count=cells + 1)
        self.agent_port = free_port()
        self.panel_address = f"unix:{self.folder}/control.sock"
        self.vault_path = f"{self.folder}/vault.sock"
        self.panel = Panel(self.panel_address) if panel else None
        self.vault = Vault(self.vault_path)
        self.settings = {
            "cells": cells,
            "first_sip_port": self.sip_port,
            "first_rtp_port": free_port(count=cells * RTP_PORTS_PER_CELL),
            "agent_uri": f"sip:operator@127.0.0.1:{self.agent_port}",
            "control_address": self.panel_address,
            "vault_address": f"unix:{self.vault_path}",
            "route_wait_s": 0.0,
            "status_socket": f"{self.folder}/media.sock",
            **settings,
        }
        self._log = (self.folder / "node.log").open("wb")
        self._own_group = own_group
        self.phones: list[Any] = []
        self._on_the_wire = self._watched()
        capture.watch(self._on_the_wire)
        self.start()
        capture.await_start()

    def _watched(self) -> Cells:
        cells, panel = int(self.settings["cells"]), self.panel
        first_rtp_port = int(self.settings["first_rtp_port"])
        trunk = self.settings.get("trunk", {})
        return Cells(
            sip=range(self.sip_port, self.sip_port + cells),
            rtp=range(first_rtp_port, first_rtp_port + cells * RTP_PORTS_PER_CELL),
            operator_networks=self.settings.get("operator_networks", ()),
            trunk=(trunk.get("outbound_proxy") or trunk.get("uri") or "").removeprefix("sip:"),
            connected=lambda: len(panel.of_type("call.connected")) if panel is not None else 0,
        )

    def start(self) -> None:
        """Start the node, and wait until the panel knows its cells."""
        mark = len(self.panel.events) if self.panel is not None else 0
        cells = int(self.settings["cells"])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _NODE, json.dumps(self.settings)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | ENVIRONMENT,  # as ``paycall media`` starts itself
            process_group=0 if self._own_group else None,
        )
        before_others(self.process.pid)
        if self.panel is not None:
            try:
                self.panel.wait("node.cell-started", cells, since=mark)
                self.panel.wait("hello", cells + 1, since=mark)
            except AssertionError as error:
                self.__exit__(AssertionError, error, None)
                raise

    @property
    def target(self) -> str:
        """The first cell's address."""
        return f"127.0.0.1:{self.sip_port}"

    def add(self, phone: Any) -> Any:
        """Have a phone stopped with the site, if not before."""
        self.phones.append(phone)
        return phone

    def hang_up_all(self) -> None:
        """Stop every phone, and let the cells say what they still have to say to them.

        An ACK to an answer that came twice would be the first that the next phone at the same port hears, and no
        call. A cell takes what has come in order: once it answers us, it has answered the phones.
        """
        for phone in self.phones:
            phone.close()
        self.phones = []
        address = str(self.settings.get("address", "127.0.0.1"))
        for port in range(self.sip_port, self.sip_port + int(self.settings["cells"])):
            with contextlib.suppress(AssertionError):  # it is dead, or the test holds it
                until(lambda at=port: sip_answers(address, at), 2.0)  # type: ignore[misc]

    def log(self) -> str:
        """What node and cells wrote."""
        return (self.folder / "node.log").read_text("utf-8", "replace")

    def pids(self) -> dict[int, int]:
        """SIP port -> pid of the cell that has it."""
        import psutil

        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                for connection in child.net_connections("udp4"):
                    if self.sip_port <= connection.laddr.port < self.sip_port + self.settings["cells"]:
                        found[connection.laddr.port] = child.pid
        return found

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *error: object) -> None:
        for phone in self.phones:
            phone.close()
        self.phones = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if error[0] is not None or "cell_lost" in self.log():
            sys.stderr.write(self.log()[-4000:])
        self._log.close()
        self._on_the_wire.closed = True
        if self.panel is not None:
            self.panel.close()
        self.vault.close()
        self._dir.cleanup()


def sip_message(text: str, to: tuple[str, int], timeout_s: float = PATIENCE_S) -> bytes:
    """Send one datagram to a SIP port and give the first answer, or nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind(("127.0.0.1", 0))
        end.settimeout(timeout_s)
        end.sendto(text.encode(), to)
        try:
            return end.recv(4096)
        except TimeoutError:
            return b""


def kill(pid: int) -> None:
    """SIGKILL one process."""
    os.kill(pid, signal.SIGKILL)
