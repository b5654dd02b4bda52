"""A process's own figures for Prometheus: ``/metrics`` on a listener of its own.

Rules: no label holds card data, a caller's number, an identifier or anything else that people can choose; every
label's values come from a closed set or from the settings' own names (acquirers). Figures are read when they are
asked for, in the listener's threads. The listener is bound to 127.0.0.1 unless a setting says otherwise, and
answers nothing but figures.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from paycall.domain.errors import SettingsError

# What a process takes under `paycall serve` where no port is set.
SERVE_PORTS = {"panel": 9470, "vault": 9471, "media": 9472}


def metrics_port(name: str, configured: int | None, *, supervised: bool) -> int:
    """The port of a process's listener; 0 is none.

    Parameters
    ----------
    name
        The process: a key of ``SERVE_PORTS``.
    configured
        The setting: None is on under ``paycall serve`` and off elsewhere, 0 is off.
    supervised
        Whether the process was started by ``paycall serve``.
    """
    if configured is not None:
        return configured
    return SERVE_PORTS[name] if supervised else 0


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures: memory, CPU, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


@contextlib.contextmanager
def serving_metrics(
    name: str, configured: int | None, address: str, registry: CollectorRegistry
) -> Iterator[None]:
    """Serve the registry while the context is open, if the settings want it.

    Raises
    ------
    SettingsError
        If the address cannot be bound; the text names the setting.
    """
    port = metrics_port(name, configured, supervised=bool(os.environ.get("PAYCALL_SUPERVISED")))
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError:
        raise SettingsError(f"setting {name}.metrics_port: {address}:{port} cannot be used") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
