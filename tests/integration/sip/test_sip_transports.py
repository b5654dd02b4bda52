"""SIP over TLS at a cell, and SRTP towards the operator alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

import dsp
from paycall.domain.fields import Field
from tests.phones import sipp
from tests.phones.baresip import Baresip
from tests.phones.rtp import RtpPort, Stream, free_port
from tests.phones.site import Site

CARD = "4111111111111111"


def test_a_phone_calls_a_cell_over_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command = ["openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    with Site(sip_tls_certificate=str(certificate), sip_tls_key=str(key), first_sip_tls_port=port) as site:
        rtp = site.add(RtpPort())
        site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port))
        phone = site.add(Baresip(dsp.silence(30.0)))
        phone.command("dial", f"sip:paycall@127.0.0.1:{port};transport=tls")
        call_id = site.panel.wait("call.connected").call_id
        phone.command("hangup")
        assert site.panel.wait("call.ended", call_id=call_id).reason == "caller-hung-up"


def test_srtp_towards_the_operator_alone_carries_speech_and_no_key() -> None:
    """The caller's carrier speaks plain RTP; the operator's phone takes nothing but SRTP."""
    agent_port = free_port()
    with Site(agent_srtp="required", agent_uri=f"sip:phone@127.0.0.1:{agent_port}") as site:
        operator = site.add(Baresip(dsp.silence(30.0), options=";mediaenc=srtp-mand", sip_port=agent_port))
        rtp = site.add(RtpPort())
        caller = site.add(sipp.Sipp(sipp.caller(rtp.port), free_port(), site.target))
        call_id = site.panel.wait("call.connected").call_id
        peer = ("127.0.0.1", caller.peer_rtp())
        payment = site.panel.start_capture(call_id, [Field.CARD_NUMBER])
        noise = (3000 * np.random.default_rng(7).standard_normal(8000)).astype(np.int16)
        rtp.play(Stream().audio(noise).keys(CARD + "#", 0.07, 0.06).silence(0.5), peer)
        site.panel.wait("capture.completed", call_id=call_id)
        assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
        assert "SRTP is Enabled" in operator.output()
        assert operator.received() > 100
        site.panel.run(site.panel.hub.hang_up(call_id))
        assert site.panel.wait("call.ended", call_id=call_id).agent_leg_keys == 0
