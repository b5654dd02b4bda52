"""Whether the addresses that ``paycall serve`` is about to use are free: asked before anything is started.

Otherwise a stranger on one of the ports would answer in a process's place, and the start would look good.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence

from paycall.domain.errors import SettingsError
from paycall.kamailio import listening
from paycall.metrics import metrics_port
from paycall.settings import Settings

# What a ``serve`` that was killed has left ends by itself (process.end_with_parent), and takes a moment.
PATIENCE_S = 2.0


def check_addresses(settings: Settings) -> None:
    """Bind every address of panel, simulator, cells and their figures for a moment.

    Raises
    ------
    SettingsError
        For the first that is in use, not of this machine or not allowed; the text names the setting.
    """
    deadline = time.monotonic() + PATIENCE_S
    panel, sandbox, media = settings.panel, settings.sandbox, settings.media
    _check("panel", "host", panel.host, "port", panel.port, socket.SOCK_STREAM, deadline)
    if sandbox.enabled:
        _check("sandbox", "host", sandbox.host, "port", sandbox.port, socket.SOCK_STREAM, deadline)
    for port in range(media.first_sip_port, media.first_sip_port + media.cells):
        _check("media", "address", media.address, "first_sip_port", port, socket.SOCK_DGRAM, deadline)
    for name, section in (("panel", panel), ("vault", settings.vault), ("media", media)):
        if port := metrics_port(name, section.metrics_port, supervised=True):
            address = section.metrics_address
            _check(name, "metrics_address", address, "metrics_port", port, socket.SOCK_STREAM, deadline)


def check_kamailio(settings: Settings, instances: Sequence[str]) -> None:
    """The same for the instances of Kamailio that are about to be started.

    Raises
    ------
    SettingsError
        As ``check_addresses``.
    """
    deadline = time.monotonic() + PATIENCE_S
    for instance in instances:
        address, port = listening(settings.kamailio, settings.media, instance)
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            _check("kamailio", f"{instance}_address", address, f"{instance}_port", port, kind, deadline)


def _check(
    section: str, host_key: str, host: str, port_key: str, port: int, kind: socket.SocketKind, deadline: float
) -> None:
    while (fault := _fault(host, port, kind)) == errno.EADDRINUSE and time.monotonic() < deadline:
        time.sleep(0.1)
    if fault == errno.EADDRNOTAVAIL:
        raise SettingsError(f"setting {section}.{host_key}: {host} is not an address of this machine")
    if fault == errno.EADDRINUSE:
        raise SettingsError(f"setting {section}.{port_key}: {host}:{port} is in use")
    if fault:
        raise SettingsError(f"setting {section}.{port_key}: {host}:{port}: {os.strerror(fault)}")


def _fault(host: str, port: int, kind: socket.SocketKind) -> int:
    """The errno of the first address of ``host`` that cannot be bound; 0 if all can."""
    try:
        found = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        return errno.EADDRNOTAVAIL
    for family, _, _, _, address in found:
        try:
            with socket.socket(family, kind) as sock:
                if kind == socket.SOCK_STREAM:  # as the servers do: connections that have ended do not count
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(address)
        except OSError as error:
            return error.errno or errno.EADDRNOTAVAIL
    return 0
