"""A whole paycall on free ports in a folder of its own: what `paycall demo` and the tests run against.

It starts ``paycall serve`` as a user would, with a settings file that moves every port, and stops it again.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from paycall.domain.errors import PaycallError
from paycall.metrics import SERVE_PORTS
from paycall.settings import RTP_PORTS_PER_CELL

HOST = "127.0.0.1"
START_S = 90.0
STOP_S = 20.0
# Browsers open no page at port 10080, whoever listens there (https://fetch.spec.whatwg.org/#bad-port).
_FIRST_PORT = 10081


class StackFailedError(PaycallError):
    """The stack did not come up; its logs say why."""

    code = "stack-failed"
    text = "the stack did not start; see its logs"


@dataclass
class Stack:
    """A running stack.

    ``sip_uris`` are the cells' addresses for callers; ``agent_port`` is the UDP port of ``HOST`` where the
    operator's phone is expected to listen; ``metrics_ports`` are on ``HOST``, by process.
    """

    folder: Path
    panel_port: int
    sandbox_port: int
    first_sip_port: int
    agent_port: int
    cells: int
    metrics_ports: dict[str, int]
    operator: str = ""
    password: str = field(default="", repr=False)
    process: subprocess.Popen[bytes] | None = None
    held: list[socket.socket] = field(default_factory=list, repr=False)

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "paycall.toml"

    @property
    def var(self) -> Path:
        """Where everything that the stack writes lies."""
        return self.folder / "var"

    @property
    def panel_url(self) -> str:
        """The panel's address, without a slash at the end."""
        return f"http://{HOST}:{self.panel_port}"

    @property
    def sip_uris(self) -> list[str]:
        """Where callers can call, a cell each."""
        return [f"sip:shop@{HOST}:{self.first_sip_port + n}" for n in range(self.cells)]

    @property
    def log_paths(self) -> list[Path]:
        """Every log file."""
        return sorted(self.var.glob("log/*"))

    @property
    def database_paths(self) -> list[Path]:
        """Every database with its journals: the panel's, the vault's, the simulator's ledger."""
        return sorted(path for path in self.var.rglob("*") if ".sqlite3" in path.name)

    def stop(self) -> int:
        """Stop it as Ctrl-C does; gives the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            for name in self.held:
                name.close()


def start_stack(folder: Path, cells: int = 2, extra: str = "", sandbox: str = "", media: str = "") -> Stack:
    """Start everything and wait until it answers.

    Parameters
    ----------
    folder
        An empty folder (or one of a former stack, whose data is kept, with its ports).
    cells
        Media cells, two calls each.
    extra
        More lines of TOML: sections or, at the beginning, keys of ``[panel]``.
    sandbox, media
        More keys of ``[sandbox]`` and of ``[media]``.

    Raises
    ------
    StackFailedError
        If it does not come up within ``START_S``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # All in one row: asked for one by one, the same port could be given twice.
    first_port, held = _take_ports(3 + cells + len(SERVE_PORTS))
    ports = itertools.count(first_port)
    stack = Stack(
        folder=folder,
        panel_port=next(ports),
        sandbox_port=next(ports),
        agent_port=next(ports),
        first_sip_port=min(next(ports) for _ in range(cells)),
        cells=cells,
        metrics_ports={name: next(ports) for name in SERVE_PORTS},
        held=held,
    )
    stack.config.write_text(_settings(stack, extra, sandbox, media), "utf-8")
    output = (folder / "serve.out").open("wb")
    stack.process = subprocess.Popen(
        [sys.executable, "-m", "paycall", "serve", "--config", str(stack.config)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # The file alone counts: the settings of another paycall on this machine are not for this one.
        env={name: value for name, value in os.environ.items() if not name.startswith("PAYCALL_")}
        | {f"PAYCALL_{name.upper()}__METRICS_PORT": str(port) for name, port in stack.metrics_ports.items()},
    )
    output.close()
    try:
        _await_start(stack.process, folder / "serve.out")
    except BaseException:  # Ctrl-C, too
        stack.stop()
        raise
    stack.operator, stack.password = (stack.var / "first-operator.txt").read_text("utf-8").split()
    return stack


def _await_start(process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_S
    while "Ctrl-C stops everything" not in (said := output.read_text("utf-8", "replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            complaint = next((line for line in said.splitlines() if "did not start" in line), None)
            # Our own words: which process, and where its log is.
            raise StackFailedError(complaint and complaint.removeprefix("paycall: "))
        time.sleep(0.05)


def _settings(stack: Stack, extra: str, sandbox: str, media: str) -> str:
    # Below the ports that the system hands out, which SIP's is one of.
    kamailio = "" if "[kamailio]" in extra else "\n[kamailio]\nenabled = false\n"  # phones call the cells
    rtp = random.randrange(26000, 32000 - stack.cells * RTP_PORTS_PER_CELL, 2)
    return f"""\
[site]
var = "{stack.var}"
log_level = "debug"

[sandbox]
port = {stack.sandbox_port}
{sandbox}

[media]
cells = {stack.cells}
first_sip_port = {stack.first_sip_port}
first_rtp_port = {rtp}
agent_uri = "sip:operator@{HOST}:{stack.agent_port}"
{media}
{kamailio}
[panel]
port = {stack.panel_port}
{extra}
"""


def _take_ports(count: int) -> tuple[int, list[socket.socket]]:
    """The first of ``count`` ports in a row that are free now, for UDP and TCP, and what keeps others off them.

    Below the range that Linux takes the ports of outgoing connections from: one of those would be in the way later.
    The stack's processes bind them only after a while. Until then another stack that starts beside this one knows
    by an abstract name of each port (unix(7)) that it is taken; the names are gone when the sockets are closed.
    """
    for _ in range(200):
        first = random.randrange(_FIRST_PORT, 12000 - count)
        names = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        probes = [socket.socket(socket.AF_INET, kind) for _ in range(count) for kind in kinds]
        try:
            for index, name in enumerate(names):
                name.bind(f"\0paycall-stack-{first + index}")
            for index, probe in enumerate(probes):
                probe.bind((HOST, first + index // 2))
            return first, names
        except OSError:
            for name in names:
                name.close()
        finally:
            for probe in probes:
                probe.close()
    raise StackFailedError
