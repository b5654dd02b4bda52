"""Another program's page in the operator's browser, with the panel in a frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.phones.rtp import free_port


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f'<!doctype html><iframe src="{self.path[2:]}" width=1200 height=700></iframe>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def crm() -> Iterator[str]:
    """The program's address; its page frames the address that the query is."""
    with ThreadingHTTPServer(("127.0.0.1", free_port()), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
