"""A site whose processes talk over TLS: `paycall certs renew` while they run, and nothing is started again."""

from __future__ import annotations

import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.phones.rtp import free_port
from tests.phones.site import PATIENCE_S, until

HOST = "127.0.0.1"
_IDLE_S = 5.5  # HTTP clients drop an idle connection after five seconds: what follows opens a new one


def settings(folder: Path, first: int) -> str:
    """Panel, vault and cells on TLS ports from ``first`` on."""
    control, to_cell, to_panel = (f"{HOST}:{first + offset}" for offset in (2, 3, 4))
    return f"""
[site]
var = "{folder}/var"
[panel]
port = {first}
metrics_port = 0
control_address = "tls:{control}"
vault_address = "https://{to_panel}"
[sandbox]
port = {first + 1}
[vault]
metrics_port = 0
cell_address = "https://{to_cell}"
panel_address = "https://{to_panel}"
tls_certificate = "{folder}/var/certs/vault.pem"
tls_key = "{folder}/var/certs/vault.key"
cell_ca = "{folder}/var/certs/ca-cell.pem"
panel_ca = "{folder}/var/certs/ca-panel.pem"
[media]
cells = 1
metrics_port = 0
first_sip_port = {first + 5}
first_rtp_port = {free_port(count=40)}
control_address = "tls:{control}"
vault_address = "https://{to_cell}"
[kamailio]
enabled = false
"""


def paycall(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "paycall", *words[:1], "--config", str(config), *words[1:]]


class Site:
    """A running site."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.first = folder, free_port(count=8)
        self.config = folder / "paycall.toml"
        self.config.write_text(settings(folder, self.first))
        self.output = folder / "out"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYCALL_")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                paycall(self.config, "serve"), stdout=output, stderr=output, env=environment
            )

    def serial(self, port: int, role: str) -> str:
        """The serial number of the certificate that a listener shows now."""
        certs = self.folder / "var" / "certs"
        context = ssl.create_default_context(cafile=str(certs / "ca-server.pem"))
        context.load_cert_chain(certs / f"{role}.pem", certs / f"{role}.key")
        with (
            socket.create_connection((HOST, port)) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as tls,
        ):
            return str((tls.getpeercert() or {})["serialNumber"])

    def serials(self) -> set[str]:
        """Those of the control link and the vault's two doors."""
        doors = ((2, "cell"), (3, "cell"), (4, "panel"))
        return {self.serial(self.first + offset, role) for offset, role in doors}

    def pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}

    def vault_answers_the_panel(self) -> bool:
        """A webhook for no acquirer: the vault's word, passed on."""
        url = f"http://{HOST}:{self.first}/api/v1/webhooks/sandbox"
        answer = httpx.post(url, content=secrets.token_bytes(8), timeout=PATIENCE_S, trust_env=False)
        return answer.status_code in (400, 403, 404, 422)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    try:
        until(lambda: "Ctrl-C" in running.output.read_text(), 120, "start")
        yield running
    finally:
        running.process.terminate()
        running.process.wait(60)


def test_certificates_are_renewed_under_a_running_site(site: Site) -> None:
    media_log = site.folder / "var" / "log" / "media.log"
    until(lambda: "control_link_up" in media_log.read_text(), what="cell at the panel")
    assert site.vault_answers_the_panel()
    before, pids = site.serials(), site.pids()
    renewed = subprocess.run(
        paycall(site.config, "certs", "renew"), check=True, capture_output=True, text=True
    )
    assert "vault" in renewed.stdout
    until(lambda: site.serials().isdisjoint(before), what="new certificates")
    time.sleep(_IDLE_S)
    assert site.vault_answers_the_panel()
    panel_log = site.folder / "var" / "log" / "panel.log"  # what it shows to cells, and what to the vault
    until(lambda: panel_log.read_text().count("certificate_renewed") == 2, what="word of both")
    assert site.pids() == pids
    assert "control_link_down" not in media_log.read_text()
