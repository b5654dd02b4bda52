"""``paycall health NAME``: whether a process answers on its own door; also what ``paycall serve`` waits for."""

from __future__ import annotations

import argparse
import contextlib
import socket
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import urlopen

from paycall.domain.ids import new_id
from paycall.settings import Settings
from paycall.settings_file import load_settings

NAMES = ("sandbox", "vault", "panel", "media")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The process to ask."""
    parser.add_argument("name", choices=NAMES)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if the process answers, else 1."""
    return 0 if is_ready(args.name, load_settings(args.config)) else 1


def is_ready(name: str, settings: Settings) -> bool:
    """Whether the process of that name answers."""
    panel, sandbox, vault, media = settings.panel, settings.sandbox, settings.vault, settings.media
    checks: dict[str, Callable[[], bool]] = {
        "sandbox": lambda: _tcp_ok(sandbox.host, sandbox.port),
        "vault": lambda: _door_ok(vault.cell_address) and _door_ok(vault.panel_address),
        "panel": lambda: _http_ok(panel.host, panel.port),
        "media": lambda: all(
            sip_answers(media.address, media.first_sip_port + n) for n in range(media.cells)
        ),
    }
    return checks[name]()


def _http_ok(host: str, port: int) -> bool:
    try:
        with urlopen(f"http://{host}:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _tcp_ok(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2):
        return True
    return False


def _door_ok(address: str) -> bool:
    """Whether somebody listens on ``unix:PATH``, ``https://HOST:PORT`` or ``tls:HOST:PORT``."""
    if not address.startswith("unix:"):
        parts = urlsplit("//" + address.removeprefix("https://").removeprefix("tls:"))
        return _tcp_ok(parts.hostname or "", parts.port or 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
        sock.connect(address.removeprefix("unix:"))
        return True
    return False


def sip_answers(host: str, port: int) -> bool:
    """Whether something answers a SIP OPTIONS (RFC 3261, section 11) at the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.settimeout(0.5)
        sock.bind((host, 0))
        own = "{}:{}".format(*sock.getsockname())
        mark = new_id("ping")
        request = (
            f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{mark}\r\n"
            f"Max-Forwards: 1\r\nFrom: <sip:serve@{own}>;tag={mark}\r\nTo: <sip:{host}:{port}>\r\n"
            f"Call-ID: {mark}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        sock.sendto(request.encode(), (host, port))
        return sock.recv(2048).startswith(b"SIP/2.0 ")
    return False
