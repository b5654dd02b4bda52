"""A machine with cells that is lost as a whole: nobody is left there who could say BYE, so Kamailio does."""

from __future__ import annotations

import psutil

import dsp
from paycall import kamailio as texts
from tests.phones import sipp
from tests.phones.baresip import Baresip
from tests.phones.kamailio import Kamailio
from tests.phones.rtp import RtpPort, free_port
from tests.phones.site import Site, until

PASSWORD = "right-horse"
# Asked every 30 s at the most often (Kamailio), silent once, ten seconds more.
RELEASED_S = 90.0


def test_the_phones_of_a_machine_that_is_lost_are_released_on_both_sides() -> None:
    carrier_port, operators_port = free_port(count=2), free_port(count=2)
    with Site(agent_uri=f"sip:anna@127.0.0.1:{operators_port}", own_group=True) as site:
        carrier = site.add(Kamailio(site, port=carrier_port, defines=("SILENCES=1",)))
        operators = site.add(Kamailio(site, "operators", port=operators_port, defines=("SILENCES=1",)))
        texts.write_phones(operators.folder, {"anna": texts.ha1("anna", "paycall", PASSWORD)})
        operators.command("htable.reload", "phones")
        account = (
            f"<sip:anna@{operators.target}>;auth_user=anna;auth_pass={PASSWORD};regint=60;answermode=auto"
        )
        anna = site.add(Baresip(dsp.silence(30.0), account=account))
        until(lambda: "anna" in operators.command("ul.dump"), what="registration")
        rtp = site.add(RtpPort())
        caller = site.add(sipp.Sipp(sipp.caller(rtp.port, hold_ms=0), free_port(), carrier.target))
        site.panel.wait("call.connected")
        node = psutil.Process(site.process.pid)
        machine = [node, *node.children(recursive=True)]  # the guardian, too
        for process in machine:
            process.suspend()
        for process in machine:
            process.kill()
        until(lambda: caller.process.poll() is not None, RELEASED_S, "BYE to the caller")
        assert caller.wait() == 0, caller.errors()
        until(lambda: "terminated" in anna.output(), RELEASED_S, "BYE to the operator")
