"""``paycall serve`` where it must not start: one line says why, and nothing is left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from paycall.demo.stack import HOST, Stack, start_stack
from tests.phones.rtp import free_port
from tests.phones.site import until

SECRET = "f00-not-to-be-shown"


def serve(config: Path, command: str = "serve") -> tuple[int, list[str], str]:
    """Exit code, the lines that are more than progress, and everything that was printed; leaves no process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "paycall", command, "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PAYCALL_")},
    )
    said, _ = process.communicate(timeout=90)
    # The media node's parent of cells and its guardian end when they have seen that it is gone.
    until(lambda: not started_with(config), 10.0, what="end of the processes of this start")
    progress = ("paycall: preparing", "paycall: starting", "paycall: stopping")
    return process.returncode, [line for line in said.splitlines() if not line.startswith(progress)], said


def started_with(config: Path) -> list[str]:
    """The processes that name this settings file."""
    listed = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if str(config) in command:
            listed.append(" ".join(command))
    return listed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with ports that are free, one cell."""
    return write(tmp_path)


def write(folder: Path, **sections: str) -> Path:
    """Settings of two cells; more lines for a section by its name."""
    ports = {"panel": free_port(), "sandbox": free_port()}
    panel = sections.get("panel", "")
    if "metrics_port" not in panel:
        panel += f"\n{NO_METRICS}"
    config = folder / "paycall.toml"
    config.write_text(
        f'[site]\nvar = "{folder / "var"}"\n'
        f"[panel]\nport = {ports['panel']}\n{panel}\n"
        f"[sandbox]\nport = {ports['sandbox']}\n"
        f"[vault]\n{NO_METRICS}\n{sections.get('vault', '')}\n"
        "[kamailio]\nenabled = false\n"
        f"[media]\ncells = 2\n{FIRST_SIP_PORT}{free_port()}\nfirst_rtp_port = {free_port(count=80)}\n"
        f"{NO_METRICS}\n{sections.get('media', '')}\n"
    )
    return config


FIRST_SIP_PORT = "first_sip_port = "
NO_METRICS = "metrics_port = 0"  # another paycall on this machine may have the usual ones


def port_of(config: Path, section: str) -> int:
    text = config.read_text().split(f"[{section}]\nport = ")[1]
    return int(text.split("\n")[0])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = start_stack(tmp_path_factory.mktemp("serve"), cells=1)
    try:
        yield stack
    finally:
        assert stack.stop() == 0


def test_a_second_serve_in_the_same_folder_is_told_and_leaves_the_first_alone(running: Stack) -> None:
    assert running.process is not None
    sockets = {path: path.stat().st_ino for path in running.var.glob("run/*.sock")}
    second = subprocess.run(
        [sys.executable, "-m", "paycall", "serve", "--config", str(running.config)],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert second.returncode == 2
    assert second.stdout == ""
    assert (
        second.stderr
        == f"paycall: paycall is running already in {running.var}/ (process {running.process.pid})\n"
    )
    assert {path: path.stat().st_ino for path in running.var.glob("run/*.sock")} == sockets
    assert len(sockets) >= 3
    assert len(started_with(running.config)) >= 5  # serve and its four; cells of the media node besides
    assert httpx.get(f"{running.panel_url}/health", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("process", "socket_name", "complaint"),
    [
        ("vault", "vault-cell.sock", "vault: another vault works on this database"),
        ("media", "media.sock", "the socket {path} is in use: another process listens on it"),
    ],
)
def test_a_process_started_alone_does_not_take_what_another_has(
    running: Stack, process: str, socket_name: str, complaint: str
) -> None:
    path = running.var / "run" / socket_name
    inode = path.stat().st_ino
    second = subprocess.run(
        [sys.executable, "-m", "paycall", process, "--config", str(running.config)],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert second.returncode == 2
    assert [line for line in second.stderr.splitlines() if line.startswith("paycall: ")] == [
        f"paycall: {complaint.format(path=path)}"
    ]
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("section", ["panel", "sandbox"])
def test_a_web_port_in_use_is_named(section: str, config: Path) -> None:
    port = port_of(config, section)
    with socket.create_server((HOST, port)):
        assert serve(config)[:2] == (2, [f"paycall: setting {section}.port: {HOST}:{port} is in use"])


def test_a_port_for_figures_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        code, lines, _ = serve(write(tmp_path, panel=f"metrics_port = {port}"))
    assert (code, lines) == (2, [f"paycall: setting panel.metrics_port: {HOST}:{port} is in use"])


def test_the_second_cells_sip_port_in_use_is_named(config: Path) -> None:
    second = int(config.read_text().partition(FIRST_SIP_PORT)[2].partition("\n")[0]) + 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, second))
        code, lines, _ = serve(config)
    assert (code, lines) == (2, [f"paycall: setting media.first_sip_port: {HOST}:{second} is in use"])


@pytest.mark.parametrize(
    ("section", "line", "name"),
    [("panel", 'host = "192.0.2.1"', "host"), ("media", 'address = "192.0.2.1"', "address")],
)
def test_an_address_of_another_machine_is_named(section: str, line: str, name: str, tmp_path: Path) -> None:
    code, lines, _ = serve(write(tmp_path, **{section: line}))
    assert (code, lines) == (
        2,
        [f"paycall: setting {section}.{name}: 192.0.2.1 is not an address of this machine"],
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('acquirer = "nope"', "setting vault.acquirer: must be one of "),
        ('key_file = "/proc/version"', "vault.key_file: others may read the key file"),
        (f'database_url = "{SECRET}"', "setting vault.database_url: the address cannot be read"),
    ],
)
def test_what_the_vault_refuses_is_shown_on_the_console(line: str, complaint: str, tmp_path: Path) -> None:
    code, lines, said = serve(write(tmp_path, vault=line))
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"paycall: vault did not start: {complaint}")
    assert SECRET not in said


@pytest.mark.parametrize("command", ["serve", "prepare"])
@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (SECRET, "the address cannot be read"),
        (f"postgresql://paycall:{SECRET}@{HOST}:1/paycall", "the database cannot be opened"),
    ],
)
def test_a_panels_database_that_cannot_be_opened_is_named_without_its_address(
    command: str, url: str, complaint: str, tmp_path: Path
) -> None:
    code, lines, said = serve(write(tmp_path, panel=f'database_url = "{url}"'), command)
    assert (code, lines) == (2, [f"paycall: setting panel.database_url: {complaint}"])
    assert SECRET not in said
