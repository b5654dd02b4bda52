"""Forks the scripted phones of a process from one that has loaded what they need.

``PhoneParent`` is the asking side. ``python -m paycall.demo.phone_parent`` is the parent: it takes
``{"address": ..., "port": ..., "limit_s": ...}`` with the phone's line and its error stream over the socket that is
its standard input, and answers ``{"pid": ...}`` with a descriptor of the process (pidfd_open(2)). It makes no call,
has one thread, and ends with the one that asks, or when nothing was asked for a minute; its phones go on.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import NoReturn

_IDLE_S = 60.0
_ANSWER_S = 15.0
_MAX_PACKET = 4096


@dataclass(frozen=True)
class PhoneOptions:
    """Where a phone binds SIP and RTP (port 0: a free one), and after how many seconds it ends at the latest."""

    address: str
    port: int
    limit_s: float


class PhoneParent:
    """The parent of this process's phones; it is started when the first is asked for. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, options: PhoneOptions, line: socket.socket, errors: int) -> tuple[int, int]:
        """Start a phone; gives its pid, and a descriptor of the process that the caller closes.

        Parameters
        ----------
        line
            The phone's end of its line: commands come in, events go out.
        errors
            A descriptor that takes its error stream.

        Raises
        ------
        OSError
            It could not be started, or not within 15 s.
        """
        request = json.dumps(asdict(options)).encode()
        with self._lock:
            if self._socket is None:
                self._start()
            try:
                return self._ask(request, [line.fileno(), errors])
            except ConnectionError:  # it was not needed for a while, and has ended
                self._end()
                self._start()
                return self._ask(request, [line.fileno(), errors])
            except TimeoutError:  # what it answers after all is not for who asks next
                self._end()
                raise

    def _ask(self, request: bytes, descriptors: list[int]) -> tuple[int, int]:
        assert self._socket is not None  # noqa: S101 - it was started
        socket.send_fds(self._socket, [request], descriptors)
        answer, received, _, _ = socket.recv_fds(self._socket, _MAX_PACKET, 1)
        if not received:
            raise ConnectionResetError("the parent of the phones has ended")
        return int(json.loads(answer)["pid"]), received[0]

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_ANSWER_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "paycall.demo.phone_parent"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # No thread besides its own: one that is not there after a fork may hold a lock.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        atexit.register(self._end)

    def _end(self) -> None:
        """Let it go: its socket's end is its own."""
        atexit.unregister(self._end)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def main() -> None:
    """Be the parent until nobody asks any more."""
    from paycall.demo.phone import run_phone  # here: the asking side needs none of it

    asked = socket.socket(fileno=os.dup(0))
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is for who drives the phones
    # Nobody waits for a phone: who asked has a descriptor of it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.disable()  # a port or a leg that is collected in another thread aborts PJSIP; a phone is short-lived
    gc.freeze()
    while select.select([asked], [], [], _IDLE_S)[0]:
        request, descriptors, _, _ = socket.recv_fds(asked, _MAX_PACKET, 2)
        if len(descriptors) < 2:
            return
        pid = os.fork()
        if pid == 0:
            asked.close()
            line, errors = descriptors
            options = PhoneOptions(**json.loads(request))
            _become(partial(run_phone, socket.socket(fileno=line), **asdict(options)), errors)
        process = os.pidfd_open(pid)
        socket.send_fds(asked, [json.dumps({"pid": pid}).encode()], [process])
        for descriptor in (*descriptors, process):
            os.close(descriptor)


def _become(run: Callable[[], None], errors: int) -> NoReturn:
    """Be one phone. What PJSIP or Python would print goes to the error stream."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in (1, 2):
            os.dup2(errors, descriptor)
        run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
