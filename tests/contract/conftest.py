"""The simulator as a real server on 127.0.0.1, and for each adapter of the registry how to reach it there."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvicorn

from gateway_adapters.registry import REGISTRY, make_acquirer
from gateway_adapters.sandbox.iso8583_host import INSTITUTION_ID
from gateway_adapters.sandbox.ledger import Ledger
from gateway_adapters.sandbox.server import create_app
from gateway_adapters.sandbox.wires.adyen import MERCHANT_ACCOUNT, webhook_hmac_key
from gateway_adapters.sandbox.wires.generic import USERNAME
from gateway_adapters.sandbox.wires.stripe import webhook_secret
from paycall.domain.card_ports import Acquirer, Traits

API_KEY = "contract-suite-key"
T = TypeVar("T")


class Served:
    """A uvicorn server in a thread, up when the object is made, down after ``stop()``."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory()
        self._app = create_app(Path(self._folder.name) / "unused.sqlite3", API_KEY, iso8583_port=0)
        self._server = uvicorn.Server(uvicorn.Config(self._app, log_level="info"))
        self._thread = threading.Thread(target=self._server.run, args=([self.socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the simulator did not start"

    @property
    def ledger(self) -> Ledger:
        """The books of the test that runs."""
        ledger: Ledger = self._app.state.simulator.ledger
        return ledger

    def port_of(self, name: str) -> int:
        """Where an adapter finds its wire."""
        return int(self._app.state.iso8583_port) if name == "iso8583" else self.port

    def open(
        self, ledger: Path, rules: Path | None = None, webhook_urls: dict[str, str] | None = None
    ) -> None:
        """New books: the server stays, which is quicker than a new one for each test."""
        self.ledger.close()
        self._app.state.simulator = create_app(ledger, API_KEY, rules, webhook_urls).state.simulator

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.socket.close()
        self.ledger.close()
        self._folder.cleanup()


@dataclass(frozen=True)
class Wire:
    """How an adapter reaches the simulator, and what its acquirer's protocol can and cannot do.

    What the vault has to know of it stands in the adapter's ``traits``. ``looks_up``: an attempt is found by our
    reference. ``answers_later``: operations are received, their outcome comes by webhook. ``keeps_errors``: a
    server error is answered again for the same key. ``partial``: approves a part. ``charges_only``: nothing but
    charges. ``turns_away``: says when it has too much to do. ``wrong``: a setting with which it refuses us.
    """

    settings: Callable[[int], dict[str, Any]]
    looks_up: bool = True
    answers_later: bool = False
    keeps_errors: bool = False
    partial: bool = False
    charges_only: bool = False
    turns_away: bool = True
    wrong: tuple[str, str] = ("api_key", "not the key")


def _at(path: str, **more: Any) -> Callable[[int], dict[str, Any]]:
    return lambda port: (
        {
            "url": f"http://127.0.0.1:{port}{path}",
            "api_key": API_KEY,
            "read_s": 5.0,
        }
        | more
    )


WIRES: dict[str, Wire] = {
    "sandbox": Wire(_at(""), partial=True),
    "stripe": Wire(_at("/stripe", webhook_secret=webhook_secret(API_KEY)), keeps_errors=True),
    "adyen": Wire(
        _at("/adyen/v71", merchant_account=MERCHANT_ACCOUNT, webhook_hmac_key=webhook_hmac_key(API_KEY)),
        looks_up=False,
        answers_later=True,
        partial=True,
    ),
    "checkout_com": Wire(_at("/checkout", processing_channel_id="pc_simulator")),
    "iso8583": Wire(
        lambda port: {
            "url": f"tcp://127.0.0.1:{port}",
            "institution_id": INSTITUTION_ID,
            "terminal_id": "PAYCALL1",
            "merchant_id": "PAYCALL00000001",
            "read_s": 5.0,
        },
        looks_up=False,
        partial=True,
        turns_away=False,
        wrong=("institution_id", "999999"),
    ),
    "generic": Wire(_at("/connector", username=USERNAME), looks_up=False, charges_only=True),
}


@dataclass
class Peer:
    """An adapter and the simulator that speaks its wire."""

    name: str
    served: Served
    ledger_file: Path
    wire: Wire

    def settings(self, port: int) -> dict[str, Any]:
        """The adapter's settings for a simulator on this port."""
        return self.wire.settings(port)

    @property
    def ledger(self) -> Ledger:
        return self.served.ledger

    @property
    def traits(self) -> Traits:
        """What the adapter says of its acquirer."""

        async def work(acquirer: Acquirer) -> Traits:
            return acquirer.traits

        return self.run(work)

    def rule(self, text: str) -> None:
        """Start again with a rules file."""
        rules = self.ledger_file.with_name("rules.toml")
        rules.write_text(text)
        self.served.open(self.ledger_file, rules)

    def run(self, work: Callable[[Acquirer], Coroutine[Any, Any, T]], **changes: Any) -> T:
        """Do something with a fresh adapter."""

        async def main() -> T:
            acquirer = make_acquirer(self.name, self.settings(self.served.port_of(self.name)) | changes)
            try:
                return await work(acquirer)
            finally:
                await acquirer.aclose()

        return asyncio.run(main())


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The simulator, for all tests of the suite."""
    server = Served()
    yield server
    server.stop()


@pytest.fixture(params=sorted(REGISTRY))
def peer(request: pytest.FixtureRequest, served: Served, tmp_path: Path) -> Peer:
    """Each adapter of the registry in turn, with new books."""
    ledger_file = tmp_path / "ledger.sqlite3"
    served.open(ledger_file)
    return Peer(request.param, served, ledger_file, WIRES[request.param])
