"""A start that searches for no garbage, and a process that does so ever after."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paycall.cli import main
from paycall.process import serve_until_signal


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_a_process_that_serves_searches_for_garbage_again() -> None:
    searched = []
    built = [[number] for number in range(1000)]
    before = gc.get_freeze_count()

    class Server:
        should_exit = False

        async def serve(self, sockets: list[socket.socket] | None) -> None:
            searched.append((gc.isenabled(), gc.get_freeze_count() - before >= len(built)))
            os.kill(os.getpid(), signal.SIGTERM)
            while not self.should_exit:
                await asyncio.sleep(0.01)

    gc.disable()
    server: Any = Server()
    asyncio.run(serve_until_signal([(server, None)]))
    assert searched == [(True, True)]


def test_a_tool_searches_for_garbage_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    monkeypatch.setattr("paycall.scan.run", lambda _: searched.append(gc.isenabled()) or 0)
    assert main(["scan", str(tmp_path)]) == 0
    assert searched == [True] and gc.isenabled()


def test_a_command_that_is_refused_leaves_the_search_on(tmp_path: Path) -> None:
    assert main(["panel", "--config", str(tmp_path / "none.toml")]) == 2
    assert gc.isenabled()


def test_processes_that_tests_start_have_the_packages_that_paycall_s_own_have() -> None:
    script = "import structlog.dev; print(structlog.dev.rich)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "None\n"
