"""A site on many machines, as docs/deployment.md sets it up: each process started alone with settings of its own,
PostgreSQL, mutual TLS between them, two media nodes behind Kamailio - and one of the nodes dies as a whole.

Every machine has an address of its own (127.0.0.0/8) and a folder with nothing but its own files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from sqlalchemy import make_url

from paycall import kamailio
from paycall.demo.cards import APPROVED
from paycall.demo.leaks import Searcher
from paycall.demo.stack import Stack
from paycall.health import is_ready, sip_answers
from paycall.panel.services.calls import AWAY_S
from paycall.settings_file import load_settings
from tests.phones import capture
from tests.phones.desk import Desk
from tests.phones.rtp import free_port
from tests.phones.scripted import phones
from tests.phones.site import until
from tests.phones.spandsp import spandsp_keys
from tests.postgres import Cluster, cluster

PANEL, VAULT, ACQUIRER, FRONT, *NODES = (f"127.0.0.{host}" for host in range(41, 47))
# What of `paycall certs` belongs on which machine.
CERTIFICATES = {
    "panel": ("hub.pem", "hub.key", "panel.pem", "panel.key", "ca-cell.pem", "ca-server.pem"),
    "vault": ("vault.pem", "vault.key", "ca-cell.pem", "ca-panel.pem"),
    "media": ("cell.pem", "cell.key", "ca-server.pem"),
}


class Machine:
    """A folder with settings, and the one process that runs there."""

    def __init__(self, folder: Path, name: str, settings: str) -> None:
        self.folder, self.name = folder, name
        self.config = folder / "paycall.toml"
        folder.mkdir(parents=True)
        self.config.write_text(f'[site]\nvar = "{folder}/var"\nlog_level = "debug"\n{settings}', "utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def paycall(self, *words: str) -> str:
        """Run a command on this machine; gives what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "paycall", words[0], "--config", str(self.config), *words[1:]],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        """Start its process, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "paycall", self.name, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )
        settings = load_settings(self.config, {})
        until(lambda: is_ready(self.name, settings), what=f"answer of {self.name}")

    def take(self, certificates: Path) -> None:
        """Copy the certificates that belong here."""
        place = self.folder / "var" / "certs"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in CERTIFICATES[self.name]:
            shutil.copy(certificates / name, place)

    def lose(self) -> None:
        """The machine is gone: every process of it at once, without a word."""
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        for process in [main, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in [*main.children(recursive=True), main]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> None:
        """End it as an administrator would."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PAYCALL_")}


class Site:
    """All machines of it."""

    def __init__(self, folder: Path, databases: Cluster, stack: contextlib.ExitStack) -> None:
        self.folder, self.databases = folder, databases
        web, control, to_cells, to_panel, simulator = (free_port() for _ in range(5))
        self.front = free_port(count=2)
        self.agents = [free_port() for _ in NODES]
        self.urls = [databases.create_database() for _ in range(2)]
        vault = f"""
[vault]
cell_address = "https://{VAULT}:{to_cells}"
panel_address = "https://{VAULT}:{to_panel}"
database_url = "{self.urls[1]}"
[vault.acquirers.sandbox]
url = "http://{ACQUIRER}:{simulator}"
api_key_file = "{folder}/vault/api_key"
"""
        panel = f"""
[panel]
host = "{PANEL}"
port = {web}
control_address = "tls:{PANEL}:{control}"
vault_address = "https://{VAULT}:{to_panel}"
database_url = "{self.urls[0]}"
test_calls = false
"""
        self.machines = [
            Machine(folder / "acquirer", "sandbox", f'[sandbox]\nhost = "{ACQUIRER}"\nport = {simulator}\n'),
            Machine(folder / "vault", "vault", vault),
            Machine(folder / "panel", "panel", panel),
        ]
        for address, agent in zip(NODES, self.agents, strict=True):
            media = f"""
[media]
address = "{address}"
cells = 1
first_sip_port = {free_port()}
first_rtp_port = {free_port(count=40)}
agent_uri = "sip:operator@127.0.0.1:{agent}"
control_address = "tls:{PANEL}:{control}"
vault_address = "https://{VAULT}:{to_cells}"
"""
            self.machines.append(Machine(folder / address, "media", media))
        self._prepare()
        for machine in self.machines:
            stack.callback(machine.stop)
            machine.start()
        for machine in self.nodes:
            stack.enter_context(capture.watched(machine.config))
        front = self._put_in_front()
        stack.callback(front.wait, 20)
        stack.callback(front.terminate)
        until(lambda: sip_answers(FRONT, self.front), what="Kamailio")
        name, password = (folder / "panel" / "var" / "first-operator.txt").read_text().split()
        seat = SimpleNamespace(panel_url=f"http://{PANEL}:{web}", operator=name, password=password)
        self.desk = Desk(cast(Stack, seat))
        stack.callback(self.desk.http.close)

    def _prepare(self) -> None:
        for machine in self.machines:
            machine.paycall("prepare", machine.name)
        acquirer, _, panel, *_ = self.machines
        shutil.copy(acquirer.folder / "var" / "sandbox" / "api_key", self.folder / "vault")
        keys = self.folder / "administrator"
        panel.paycall("certs", "--folder", str(keys), "init", "--host", PANEL, "--host", VAULT)
        for machine in self.machines[1:]:
            machine.take(keys)

    def _put_in_front(self) -> subprocess.Popen[bytes]:
        folder = self.folder / "front"
        settings = f"""
[kamailio]
folder = "{folder}/kamailio"
carrier_address = "{FRONT}"
carrier_port = {self.front}
operators_address = "{FRONT}"
operators_port = {free_port(count=2)}
"""
        machine = Machine(folder, "kamailio", settings)
        said = []
        for node in self.machines[3:]:
            said.append(folder / f"{node.folder.name}.json")
            said[-1].write_text(node.paycall("media", "status", "--json"))
        words = [word for file in said for word in ("--node", str(file))]
        assert "2 cells of 2 nodes" in machine.paycall("kamailio", *words)
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                kamailio.command(folder / "kamailio", "carrier"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def nodes(self) -> list[Machine]:
        """The media nodes' machines."""
        return self.machines[3:]

    def logs(self) -> bytes:
        """What all machines wrote."""
        return b"".join(machine.folder.joinpath("log").read_bytes() for machine in self.machines)

    def dump(self, url: str) -> bytes:
        """A database as pg_dump writes it."""
        parts = make_url(url)
        command = ["pg_dump", "-h", str(parts.query["host"]), "-U", str(parts.username), str(parts.database)]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            TemporaryDirectory(prefix="paycall-", dir="/tmp")
        )  # sockets: short paths
        yield Site(Path(folder), stack.enter_context(cluster()), stack)


def test_a_payment_goes_on_while_another_node_is_lost(site: Site) -> None:
    desk = site.desk
    seats = [cast(Stack, SimpleNamespace(agent_port=port)) for port in site.agents]
    with phones(seats[0]) as first, phones(seats[1]) as second:
        callers = [first, second]
        calls: list[str] = []
        for caller in callers:  # Kamailio gives the second call to the other node: a cell with fewer calls
            caller.dial(f"sip:shop@{FRONT}:{site.front}")
            calls.append(until(lambda: new_call(desk, calls), what="call that is connected"))
        payments = [desk.pay({"id": call}) for call in calls]
        for caller in callers:
            caller.key(f"{APPROVED.number}#{APPROVED.expiry}")
        until(
            lambda: all(desk.digits(payment, "expiration-date") == 4 for payment in payments), what="expiries"
        )
        dying = f"@127.0.0.1:{site.agents[0]}"
        going = next(
            at for at, call in enumerate(calls) if dying not in desk.get(f"/calls/{call}")["agent_uri"]
        )
        site.nodes[0].lose()
        callers[going].key(APPROVED.security_code)
        desk.payment(payments[going], "ready")
        desk.post(f"/payments/{payments[going]}/authorize")
        desk.payment(payments[going], "settled")
        desk.payment(payments[1 - going], "cancelled", AWAY_S + 30)
        lost = desk.get(f"/calls/{calls[1 - going]}")
        assert (lost["state"], lost["end_reason"]) == ("ended", "cell-lost")
        assert desk.get(f"/calls/{calls[going]}")["state"] == "connected"
        for caller in callers:
            assert spandsp_keys(caller.agent_heard(site.folder)) == ""
        for caller in callers:
            caller.hang_up()
        until(lambda: desk.get(f"/calls/{calls[going]}")["state"] == "ended", what="end of the call")
        callers[1 - going].dial(f"sip:shop@{FRONT}:{site.front}")
        until(lambda: new_call(desk, calls), what="next call, at the node that is left")
    search = Searcher([APPROVED])
    assert search.in_text(site.logs(), "logs") == []
    for url in site.urls:
        dump = site.dump(url)
        assert payments[going].encode() in dump, "the search itself must work"
        assert search.in_bytes(dump, "database") == []


def new_call(desk: Desk, known: list[str]) -> str:
    """A connected call that is not among those known; empty if there is none."""
    calls = desk.get("/calls")["calls"]
    return next((c["id"] for c in calls if c["state"] == "connected" and c["id"] not in known), "")
