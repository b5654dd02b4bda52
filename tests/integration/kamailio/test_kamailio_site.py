"""Kamailio as a site has it: lists of several nodes, TLS, one machine under ``paycall serve``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

import dsp
from paycall import kamailio
from paycall.demo.cards import APPROVED
from paycall.health import sip_answers
from paycall.media.status import read_status
from paycall.settings import KamailioSettings, MediaSettings, Settings, TrunkSettings
from tests.phones import sipp, trunk
from tests.phones.baresip import Baresip
from tests.phones.call import Call
from tests.phones.desk import desk
from tests.phones.kamailio import Kamailio
from tests.phones.rtp import RtpPort, free_port
from tests.phones.scripted import phones
from tests.phones.site import PATIENCE_S, Site, until
from tests.phones.spandsp import spandsp_keys


def paycall(config: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "paycall", "kamailio", "--config", str(config), *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_cells_of_two_nodes_are_one_list_and_a_draining_node_s_are_not_in_it(tmp_path: Path) -> None:
    with Site(cells=1) as first, Site(cells=1) as second:
        front = first.add(Kamailio(first))
        config = tmp_path / "paycall.toml"
        config.write_text(f'[kamailio]\nfolder = "{front.folder}"\ncarrier_port = {front.port}\n')
        sockets = [str(site.settings["status_socket"]) for site in (first, second)]
        said = tmp_path / "second.json"  # as it comes from another machine
        said.write_text(read_status(Path(sockets[1])).to_json())
        code, text = paycall(config, "--node", sockets[0], "--node", str(said), "--reload")
        assert (code, "2 cells of 2 nodes" in text) == (0, True), text
        listed = front.command("dispatcher.list")
        assert all(f"sip:{site.target}" in listed for site in (first, second))
        rtp = first.add(RtpPort())
        for site in (first, second):
            site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port))
        first.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), front.target, calls=2, rate=5))
        for site in (first, second):
            site.panel.wait("call.connected")
        first.process.send_signal(signal.SIGUSR1)
        until(lambda: read_status(Path(sockets[0])).draining, what="draining node")
        code, text = paycall(config, "--node", sockets[0], "--node", sockets[1], "--reload")
        assert (code, "1 cells of 2 nodes" in text) == (0, True), text
        assert f"sip:{first.target}" not in front.command("dispatcher.list")
        code, text = paycall(config, "--node", sockets[0])
        assert (code, "left as it is" in text) == (1, True)
        assert second.target in (front.folder / "cells.list").read_text()
        assert json.loads(said.read_text())["address"] == "127.0.0.1"


def test_a_registration_brings_calls_to_all_cells(tmp_path: Path) -> None:
    """Trunk and contact as `paycall serve` sets them: a cell registers Kamailio's address, through Kamailio."""
    carrier_port, front_port = free_port(), free_port(count=2)
    password = tmp_path / "password"
    password.write_text(trunk.PASSWORD)
    section = TrunkSettings(
        uri=f"sip:127.0.0.1:{carrier_port}",
        outbound_proxy=f"sip:127.0.0.1:{front_port}",
        registrar=f"sip:127.0.0.1:{carrier_port}",
        username=trunk.USER,
        password_file=password,
    )
    settings = Settings(
        media=MediaSettings(trunk=section), kamailio=KamailioSettings(carrier_port=front_port)
    )
    known = kamailio.environment(settings, ["carrier"])
    contact = known["PAYCALL_MEDIA__TRUNK__CONTACT"]
    assert contact == f"sip:{trunk.USER}@127.0.0.1:{front_port}"
    given = {**section.model_dump(mode="json"), "contact": contact}
    with Site(cells=2, trunk=given) as site:
        site.add(Kamailio(site, port=front_port))
        registrar = site.add(sipp.Sipp(trunk.registrar(contact=contact), carrier_port))
        assert registrar.wait() == 0, registrar.errors()
        assert trunk.credentials_hold(registrar, "REGISTER")
        rtp = site.add(RtpPort())
        site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port, calls=3))
        # from the carrier, to what was registered: more calls than the cell that did it takes
        text = sipp.caller(rtp.port, hold_ms=0)
        site.add(sipp.Sipp(text, carrier_port, f"127.0.0.1:{front_port}", calls=3, service=trunk.USER))
        site.panel.wait("call.connected", 3)
        assert len({sender for _, sender, event in site.panel.events if event.type == "call.arrived"}) == 2


def test_phones_behind_it_are_released_when_a_whole_node_is_killed() -> None:
    """The guardian speaks from the cells' addresses: Kamailio relays for nobody else."""
    with Site(own_group=True) as site:
        front = site.add(Kamailio(site))
        call = Call(site, target=front.target, caller={"hold_ms": 0})
        journal = site.folder / "media.dialogs"
        until(lambda: journal.exists() and journal.read_text().count("confirmed") == 2, what="dialogs")
        node = psutil.Process(site.process.pid)
        session = os.getsid(node.pid)
        rest = [each for each in node.children(recursive=True) if os.getsid(each.pid) == session]
        for process in (*rest, node):
            process.kill()
        for phone in (call.caller, call.agent):
            assert phone.wait() == 0, phone.errors()


def test_a_draining_cell_s_call_goes_to_the_next_before_the_list_is_written_anew() -> None:
    with Site(cells=1) as first, Site(cells=1) as second:
        front = second.add(Kamailio(second))
        ports = [int(site.target.rpartition(":")[2]) for site in (first, second)]
        front.list_cells([("127.0.0.1", port) for port in ports])
        front.command("dispatcher.reload")
        rtp = first.add(RtpPort())
        first.add(sipp.Sipp(sipp.agent(rtp.port), first.agent_port))
        second.add(sipp.Sipp(sipp.agent(rtp.port), second.agent_port, calls=2))
        first.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), first.target))
        first.panel.wait("call.connected")  # it keeps the draining node alive
        first.process.send_signal(signal.SIGUSR1)
        until(lambda: read_status(Path(str(first.settings["status_socket"]))).draining, what="drain")
        second.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), front.target, calls=2, rate=5))
        second.panel.wait("call.connected", 2)


def test_a_phone_calls_over_tls(tmp_path: Path) -> None:
    pem = tmp_path / "kamailio.pem"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    subprocess.run(
        [*request, "-keyout", str(pem), "-out", str(pem) + ".crt"], check=True, capture_output=True
    )
    pem.write_text(pem.read_text() + Path(str(pem) + ".crt").read_text())
    with Site() as site:
        front = site.add(Kamailio(site, tls_certificate=pem))
        rtp = site.add(RtpPort())
        site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port))
        phone = site.add(Baresip(dsp.silence(30.0)))
        phone.command("dial", f"sip:paycall@127.0.0.1:{front.port + 1};transport=tls")
        call_id = site.panel.wait("call.connected").call_id
        assert "tls" in front.command("tls.list").lower()
        assert "127.0.0.1" in front.command("tls.list")
        phone.command("hangup")
        assert site.panel.wait("call.ended", call_id=call_id).reason == "caller-hung-up"


def test_a_phone_s_password_is_shown_once_and_not_kept(tmp_path: Path) -> None:
    config = tmp_path / "paycall.toml"
    config.write_text(f'[kamailio]\nfolder = "{tmp_path}/k"\n')
    code, text = paycall(config, "--phone", "anna")
    password = text.split("password ")[1].split()[0]
    table = tmp_path / "k" / "phones" / "phones"
    assert (code, table.stat().st_mode & 0o077) == (0, 0)
    assert "anna:" in table.read_text()
    assert password not in table.read_text()
    assert paycall(config, "--phone", "An:na")[0] == 2
    assert paycall(config, "--remove-phone", "anna")[0] == 0
    assert "anna" not in table.read_text()
    assert paycall(config, "--remove-phone", "anna")[0] == 1


def test_serve_puts_it_in_front_and_a_payment_goes_on_while_it_dies(tmp_path: Path) -> None:
    port = free_port(count=2)
    with desk(2, f"[kamailio]\ncarrier_port = {port}\n") as seat, phones(seat.stack) as both:
        stack = seat.stack
        assert f"sip:anything@127.0.0.1:{port} " in (stack.folder / "serve.out").read_text()
        both.call(f"sip:shop@127.0.0.1:{port}")
        both.say("caller-hello")
        payment_id = seat.pay(seat.call())
        both.key(f"{APPROVED.number}#{APPROVED.expiry}")
        assert stack.process is not None
        children = psutil.Process(stack.process.pid).children()
        main = next(child for child in children if child.name() == "kamailio")
        workers = main.children()
        main.kill()
        both.key(APPROVED.security_code)
        seat.payment(payment_id, "ready")
        seat.post(f"/payments/{payment_id}/authorize")
        seat.payment(payment_id, "settled")
        psutil.wait_procs([*workers, main], timeout=PATIENCE_S)
        left = [each for each in workers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        assert left == [], "its workers would keep the port"
        until(lambda: sip_answers("127.0.0.1", port), what="Kamailio that is back")
        assert both.ended() == [False, False]
        heard = both.agent_heard(tmp_path)
        assert np.abs(heard.astype(int)).max() > 500
        assert (dsp.detect(heard), spandsp_keys(heard)) == ([], "")
        said = (stack.var / "log" / "kamailio-carrier.log").read_text()
        assert APPROVED.number not in said
    assert not sip_answers("127.0.0.1", port)
