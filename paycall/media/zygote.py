"""Forks cells: a process with one thread, no event loop, and everything imported.

The node forks it before it starts anything of its own, so that cells share its memory and inherit nothing that
is in use. It takes ``{"index": n, ...}`` with a socket over its own socket, answers ``{"pid": ...}``, and says when
a cell has ended. When the node is gone, it ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
from dataclasses import asdict

import numpy as np
import structlog

from dsp import ToneListener, dtmf_string
from paycall import startup
from paycall.media.cell import CellSpec, run_cell
from paycall.media.hardening import die_with_parent
from paycall.media.pipeline import build_pipeline
from paycall.media.pipes import MAX_PACKET
from paycall.media.ports import LISTEN_SAMPLES, SAMPLES
from paycall.media.sharing import share_with_children
from paycall.settings import MediaSettings

log = structlog.get_logger(__name__)


def start_zygote(settings: MediaSettings) -> tuple[socket.socket, int]:
    """Fork the zygote; gives the node's end of its socket, and its pid. Call it before any thread starts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        ours.setblocking(False)
        return ours, pid
    ours.close()
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all: the node says when
    code = 1
    try:
        _Zygote(settings, theirs).run()
        code = 0
    finally:
        os._exit(code)


def request(index: int, cell_id: str, node_id: str) -> bytes:
    """The packet that asks for a cell."""
    return json.dumps(asdict(CellSpec(index, cell_id, node_id))).encode()


def _warm_up() -> None:
    """Do once here what each cell would do for itself, and hold in its own memory.

    Tables, and what CPython writes into the code of a function that runs often.
    """
    noise = np.random.default_rng(1).standard_normal(LISTEN_SAMPLES) * 500.0
    sound = np.concatenate([dtmf_string("41#*", 0.06, 0.05), noise.astype(np.int16)])
    pipeline, listener = build_pipeline(lambda *_: None, "silence"), ToneListener()
    for start in range(0, sound.size - SAMPLES + 1, SAMPLES):
        pipeline.process(sound[start : start + SAMPLES])
    for start in range(0, sound.size - LISTEN_SAMPLES + 1, LISTEN_SAMPLES):
        listener.process(sound[start : start + LISTEN_SAMPLES])


class _Zygote:
    def __init__(self, settings: MediaSettings, node: socket.socket) -> None:
        self._settings = settings
        self._node = node
        self._selector = selectors.DefaultSelector()
        self._selector.register(node, selectors.EVENT_READ)

    def run(self) -> None:
        _warm_up()
        share_with_children()
        startup.done()
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._ended(key.fd, *key.data)
                elif not self._serve():
                    return

    def _serve(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self._node, MAX_PACKET, 1)
        if not packet:
            return False
        spec = CellSpec(**json.loads(packet))
        pid = os.fork()
        if pid == 0:
            self._become_cell(spec, socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, spec.index))
        self._node.send(json.dumps({"index": spec.index, "pid": pid}).encode())
        return True

    def _become_cell(self, spec: CellSpec, node: socket.socket) -> None:
        try:
            die_with_parent()
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)  # the node's socket, and the other cells' descriptors
            self._selector.close()
            self._node.detach()
            run_cell(self._settings, spec, node)
        except Exception as error:
            log.error(
                "cell_failed", error=type(error).__name__, port=self._settings.first_sip_port + spec.index
            )
        finally:
            os._exit(1)

    def _ended(self, pidfd: int, pid: int, index: int) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._node.send(json.dumps({"index": index, "pid": pid, "code": code}).encode())
