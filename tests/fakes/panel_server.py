"""A ``PanelWorld`` behind a real web server on 127.0.0.1, for browsers and for streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from paycall.settings import PanelSettings
from tests.fakes.panel_world import PanelWorld
from tests.phones.rtp import free_port

T = TypeVar("T")


class PanelServer:
    """Runs a world's panel in a thread of its own; ``do`` runs a coroutine there."""

    def __init__(self, directory: Path, settings: PanelSettings | None = None) -> None:
        self._directory = directory
        self._settings = settings
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="panel-server", daemon=True)
        self.world: PanelWorld
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> PanelServer:
        self._thread.start()
        assert self._ready.wait(40), "the panel did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._stop_server(), self._loop).result(40)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(40)

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 40) -> T:
        """Run ``work`` on the panel's loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def restart(self, down_s: float = 0.0) -> None:
        """Stop the panel, and start another one over the same database after a while."""
        self.do(self._restart(down_s), 40 + down_s)

    async def _restart(self, down_s: float) -> None:
        await self._stop_server()
        await asyncio.sleep(down_s)
        self.world = PanelWorld.again(self.world)
        await self._start_server()
        await self.world.cell.hello()

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self.world = PanelWorld(self._directory, self._settings)
        self._loop.run_until_complete(self._start_server())
        self._ready.set()
        self._loop.run_forever()
        self.world.database.dispose()
        self._loop.close()

    async def _start_server(self) -> None:
        config = uvicorn.Config(
            self.world.app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def _stop_server(self) -> None:
        assert self._server is not None
        self.world.app.state.close_streams()
        self._server.should_exit = True
        await self._serving
