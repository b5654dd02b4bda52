"""The simulator as a real server on 127.0.0.1, and for each adapter of the registry how to reach it there."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn

from gateway_adapters.registry import REGISTRY, make_acquirer
from gateway_adapters.sandbox.ledger import Ledger
from gateway_adapters.sandbox.server import create_app
from paycall.domain.card_ports import Acquirer

API_KEY = "contract-suite-key"
T = TypeVar("T")


class Served:
    """A uvicorn server in a thread, up when the object is made, down after ``stop()``."""

    def __init__(self, ledger: Path) -> None:
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        app = create_app(ledger, API_KEY)
        self.ledger: Ledger = app.state.simulator.ledger
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="info", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self.socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the simulator did not start"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.socket.close()
        self.ledger.close()


@dataclass
class Peer:
    """An adapter and the simulator that speaks its wire."""

    name: str
    served: Served
    ledger_file: Path
    settings: Callable[[int], dict[str, Any]]

    @property
    def ledger(self) -> Ledger:
        return self.served.ledger

    def run(self, work: Callable[[Acquirer], Coroutine[Any, Any, T]], **changes: Any) -> T:
        """Do something with a fresh adapter."""

        async def main() -> T:
            acquirer = make_acquirer(self.name, self.settings(self.served.port) | changes)
            try:
                return await work(acquirer)
            finally:
                await acquirer.aclose()

        return asyncio.run(main())


def _sandbox(port: int) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{port}", "api_key": API_KEY, "read_s": 5.0}


SETTINGS: dict[str, Callable[[int], dict[str, Any]]] = {"sandbox": _sandbox}


@pytest.fixture(params=sorted(REGISTRY))
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    """Each adapter of the registry in turn."""
    ledger_file = tmp_path / "ledger.sqlite3"
    served = Served(ledger_file)
    try:
        yield Peer(request.param, served, ledger_file, SETTINGS[request.param])
    finally:
        served.stop()
