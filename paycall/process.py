"""What every paycall process does about itself: end with its parent, serve HTTP, stop on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import uvicorn

from paycall import startup

_PR_SET_PDEATHSIG = 1
_GRACE_S = 3


def end_with_parent(sig: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send ``sig`` when the parent process ends (Linux, prctl(2)).

    A supervisor that is killed outright cannot stop its children; the kernel can.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), sig)


def restart_with(environment: Mapping[str, str]) -> None:
    """Start this very program again with these variables, in the same process, unless it has them already.

    For what an interpreter reads once, at its start: its allocator.
    """
    if all(os.environ.get(name) == value for name, value in environment.items()):
        return
    os.execve(  # noqa: S606 - ourselves
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **environment}
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: one process may hold several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def web_server(app: Any, **options: Any) -> uvicorn.Server:
    """A uvicorn server that logs through ``paycall.logs`` and tells nothing of itself in headers."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        **options,
    )
    return _Server(config)


async def serve_until_signal(
    servers: Sequence[tuple[uvicorn.Server, socket.socket | None]],
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run the servers until SIGTERM or SIGINT; when one of them ends, all do.

    ``on_stop`` ends what would keep a server waiting, such as event streams.
    """
    startup.done()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        on_stop()
        for server, _ in servers:
            server.should_exit = True

    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop)
    tasks = [
        asyncio.create_task(server.serve(sockets=[sock] if sock is not None else None))
        for server, sock in servers
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        stop()
        await asyncio.gather(*tasks)
    finally:
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(sig)
