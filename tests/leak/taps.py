"""Listening in between processes: a Unix socket that passes everything on and keeps a copy."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_PATIENCE_S = 0.2


class Tap:
    """Stands at ``path`` and passes every connection on to ``target``; ``heard`` is what went through."""

    def __init__(self, path: Path, target: Path) -> None:
        self.heard = bytearray()
        self._target = str(target)
        self._over = threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(32)
        self._server.settimeout(_PATIENCE_S)
        self._sockets = [self._server]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End every connection."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                near, _ = self._server.accept()
                far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    far.connect(self._target)
                except OSError:  # nobody there now: the caller will try again
                    near.close()
                    far.close()
                    continue
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass_on, args=(source, sink))
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        source.settimeout(_PATIENCE_S)
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    break
                self.heard += data
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def taps(*pairs: tuple[Path, Path]) -> Iterator[list[Tap]]:
    """Several, closed at the end."""
    with contextlib.ExitStack() as stack:
        made = []
        for path, target in pairs:
            made.append(Tap(path, target))
            stack.callback(made[-1].close)
        yield made


class EventTap:
    """A plain client of the panel's event stream that keeps every byte."""

    def __init__(self, http: httpx.Client) -> None:
        self.heard = bytearray()
        self._http = httpx.Client(
            base_url=http.base_url, cookies=dict(http.cookies), timeout=1.0, trust_env=False
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            ids = re.findall(rb"^id: *(\S+)", bytes(self.heard), re.MULTILINE)
            resume = {"Last-Event-ID": ids[-1].decode()} if ids else {}
            with (
                contextlib.suppress(httpx.HTTPError),
                self._http.stream("GET", "/events", headers=resume) as answer,
            ):
                for chunk in answer.iter_raw():
                    self.heard += chunk
                    if self._over.is_set():
                        return
            time.sleep(0.05)

    def close(self) -> None:
        """Stop listening."""
        self._over.set()
        self._thread.join()
        self._http.close()
