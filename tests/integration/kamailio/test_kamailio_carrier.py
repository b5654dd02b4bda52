"""One SIP address for many cells: calls are spread, moved on, kept, and nobody's keys are written down."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time

import pytest

from paycall.domain.fields import Field
from paycall.health import sip_answers
from paycall.kamailio import CONFIGURATIONS, find_program
from paycall.media.held_up import BACKLOG_S
from tests.phones import sipp
from tests.phones.call import Call
from tests.phones.kamailio import Kamailio
from tests.phones.rtp import KEYS, RtpPort, Stream, free_port
from tests.phones.site import PATIENCE_S, Site, kill, sip_message, until

NUMBER = [Field.CARD_NUMBER]
CARD = "4111111111111111"


def cells_of_calls(site: Site, since: int) -> list[str]:
    """The cell of each call that has arrived."""
    return [sender for _, sender, event in site.panel.events[since:] if event.type == "call.arrived"]


def callers(site: Site, target: str, count: int, hold_ms: int = 0) -> sipp.Sipp:
    rtp = site.add(RtpPort())
    text = sipp.caller(rtp.port, hold_ms=hold_ms)
    return site.add(sipp.Sipp(text, free_port(), target, calls=count, rate=20))


def agents(site: Site, count: int) -> None:
    rtp = site.add(RtpPort())
    site.add(sipp.Sipp(sipp.agent(rtp.port), site.agent_port, calls=count))


@pytest.mark.parametrize("name", ["carrier", "operators"])
def test_kamailio_accepts_the_configurations_as_they_lie_in_the_tree(name: str) -> None:
    program = find_program("kamailio")
    assert program is not None
    done = subprocess.run(
        [program, "-c", "-Y", "/tmp", "-f", CONFIGURATIONS / f"{name}.cfg"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr


def test_calls_are_spread_over_the_cells_and_the_full_are_left_out(site: Site, carrier: Kamailio) -> None:
    mark = len(site.panel.events)
    agents(site, 5)
    callers(site, carrier.target, 4)
    site.panel.wait("call.connected", 4, since=mark)
    used = cells_of_calls(site, mark)
    assert sorted(used.count(cell) for cell in set(used)) == [2, 2]
    busy = site.add(
        sipp.Sipp(
            sipp.refused("486"),
            free_port(),
            carrier.target,
        )
    )
    assert busy.wait() == 0, busy.errors()
    first = site.panel.of_type("call.connected", since=mark)[0]
    site.panel.run(site.panel.hub.hang_up(first.call_id))
    site.panel.wait("call.ended", call_id=first.call_id)
    callers(site, carrier.target, 1)
    site.panel.wait("call.connected", 5, since=mark)


def test_a_full_cell_s_call_goes_to_the_next(site: Site, carrier: Kamailio) -> None:
    """Kamailio does not know of calls that reached the cell without it."""
    mark = len(site.panel.events)
    agents(site, 4)
    callers(site, site.target, 2)
    site.panel.wait("call.connected", 2, since=mark)
    callers(site, carrier.target, 2)
    site.panel.wait("call.connected", 4, since=mark)
    used = cells_of_calls(site, mark)
    assert used[0] == used[1]
    assert used[2] == used[3] != used[0]


def test_a_cell_that_does_not_answer_is_passed_over(site: Site, carrier: Kamailio) -> None:
    pids = site.pids()
    stopped = pids[min(pids)]
    mark = len(site.panel.events)
    agents(site, 2)
    try:
        subprocess.run(["kill", "-STOP", str(stopped)], check=True)
        callers(site, carrier.target, 2)
        site.panel.wait("call.connected", 2, since=mark)
    finally:
        kill(stopped)
    assert len(set(cells_of_calls(site, mark))) == 1
    site.panel.wait("node.cell-started", since=mark)
    until(lambda: "FLAGS: I" not in carrier.command("dispatcher.list"), what="cell that is back")


def test_a_cell_that_was_held_up_does_not_ring_for_calls_that_went_elsewhere(
    site: Site, carrier: Kamailio
) -> None:
    """What lay in its socket is of callers whom the other cell has by now."""
    port, pid = min(site.pids().items())
    mark = len(site.panel.events)
    agents(site, 3)
    os.kill(pid, signal.SIGSTOP)
    try:
        callers(site, carrier.target, 2)
        site.panel.wait("call.connected", 2, since=mark)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: sip_answers("127.0.0.1", port), what="cell that is awake")
    time.sleep(BACKLOG_S + 0.2)
    callers(site, f"127.0.0.1:{port}", 1)  # straight: an earlier call of its would be told of before
    site.panel.wait("call.connected", 3, since=mark)
    used = cells_of_calls(site, mark)
    assert (len(used), len(set(used))) == (3, 2)
    assert site.pids()[port] == pid


def test_a_busy_operator_is_not_rung_again_by_every_cell(site: Site, carrier: Kamailio) -> None:
    mark = len(site.panel.events)
    busy = sipp.refusing("486 Busy Here")
    site.add(sipp.Sipp(busy, site.agent_port))
    refused = site.add(
        sipp.Sipp(
            sipp.refused("486"),
            free_port(),
            carrier.target,
        )
    )
    assert refused.wait() == 0, refused.errors()
    assert len(cells_of_calls(site, mark)) == 1


KINDS = (
    ("{key}\n", "application/dtmf"),
    ("Signal={key}\nDuration=160\n", "application/dtmf-relay"),
    ("Signal={key}", "application/dtmf-relay"),
    ("Signal={event}\nDuration=160\n", "application/dtmf"),  # the turn of #, which is 11
    ("Signal= {key}\n", "application/dtmf"),
)
NO_KEYS = ("Signal=", "Signal", "Signal=Z", "Duration=160\n", "=1")


def test_a_press_by_info_of_each_kind_is_one_key_and_answered(site: Site, carrier: Kamailio) -> None:
    rtp = site.add(RtpPort())
    keys = CARD + "#"
    infos = [
        step
        for number, key in enumerate(keys, start=2)
        for body, content_type in KINDS[number % len(KINDS) : number % len(KINDS) + 1]
        for step in (
            sipp.in_dialog("INFO", "49", number, body.format(key=key, event=KEYS.index(key)), content_type),
            sipp.receive("200"),
            sipp.pause(60),
        )
    ]
    for number, body in enumerate(NO_KEYS, start=20):
        infos += [sipp.in_dialog("INFO", "49", number, body, "application/dtmf-relay"), sipp.receive("400")]
    pids = site.pids()
    scenario = sipp.scenario(
        "info",
        sipp.invite("49", sipp.sdp(rtp.port)),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'optional="true"'),
        sipp.receive("200", 'rrs="true"', sipp.RTP_OF_PEER),
        sipp.in_dialog("ACK", "49", 1),
        sipp.pause(2500),
        *infos,
        sipp.in_dialog("BYE", "49", 40),
        sipp.receive("200"),
    )
    call = Call(site, target=carrier.target, caller_scenario=scenario)
    payment = call.capture(fields=NUMBER)
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    assert call.caller.wait() == 0, call.caller.errors()
    assert site.pids() == pids
    heard = call.agent_heard()
    assert heard.packets
    assert (heard.events, heard.recovered()) == ([], "")
    said = carrier.log()
    assert "Signal" not in said
    assert "INFO sip" not in said


def test_a_press_of_info_with_a_malformed_message_is_in_no_log(site: Site, carrier: Kamailio) -> None:
    lines = (
        "INFO sip:paycall@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{n}\r\n"
        "{broken}\r\nCall-ID: {n}\r\nCSeq: {n} INFO\r\nContent-Type: application/dtmf\r\n"
        "Content-Length: 8\r\n\r\n55578901"
    )
    starts = (
        "From: <sip:a@b>;tag=1\r\nTo: <<<>>>",
        "From: \0\0",
        "To",
        "From: <sip:a@b>;tag=1\r\nCSeq: x y z",
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        for number, broken in enumerate(starts):
            end.sendto(lines.format(n=number, broken=broken).encode(), ("127.0.0.1", carrier.port))
    until(lambda: sip_answers("127.0.0.1", carrier.port), what="answer of Kamailio")
    assert "55578901" not in carrier.log()


def test_a_payment_through_kamailio_leaves_no_key_on_the_agent_s_leg(site: Site, carrier: Kamailio) -> None:
    call = Call(site, target=carrier.target)
    payment = call.capture(fields=NUMBER)
    stream = Stream().silence(0.3).keys(CARD[:1], 0.07, 0.3).events(CARD[1:], 0.08, 0.08).keys("#")
    call.caller_plays(stream.silence(0.4))
    site.panel.wait("capture.completed", call_id=call.call_id)
    assert site.vault.values(payment) == {Field.CARD_NUMBER: CARD}
    assert call.agent_heard().packets > 100
    call.hang_up()
    until(lambda: "DLGLOAD: 1" not in carrier.command("dispatcher.list"), what="load taken back")


def test_a_restart_of_kamailio_ends_no_call(site: Site, carrier: Kamailio) -> None:
    rtp = site.add(RtpPort())
    waits = sipp.scenario(
        "waits",
        sipp.invite("49", sipp.sdp(rtp.port)),
        sipp.receive("100", 'optional="true"'),
        sipp.receive("180", 'optional="true"'),
        sipp.receive("200", 'rrs="true"', sipp.RTP_OF_PEER),
        sipp.in_dialog("ACK", "49", 1),
        sipp.pause(2000),
        sipp.in_dialog("UPDATE", "49", 2, sipp.sdp(rtp.port)),
        sipp.receive("200"),
        sipp.receive("BYE", 'timeout="60000"'),
        sipp.message(sipp.ANSWER_OK),
    )
    call = Call(site, target=carrier.target, caller_scenario=waits)
    rtp.play(Stream().silence(3.0), call.caller_peer, wait=False)
    since = time.monotonic()
    carrier.stop(signal.SIGKILL)
    carrier.start()
    rtp.wait()
    assert call.agent_heard(since).largest_gap_s < 1.0  # what a busy machine makes by itself is less
    call.hang_up()
    assert call.caller.wait() == 0, call.caller.errors()


def test_nobody_uses_it_as_a_relay(carrier: Kamailio) -> None:
    """A request inside a dialog that leads to no cell."""
    text = (
        f"BYE sip:x@127.0.0.1:9 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKrelay\r\n"
        f"Route: <sip:127.0.0.1:{carrier.port};lr>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
        "Call-ID: relay\r\nCSeq: 1 BYE\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n"
    )
    assert sip_message(text, ("127.0.0.1", carrier.port)).startswith(b"SIP/2.0 404 ")


def test_only_the_carriers_that_are_named_may_call() -> None:
    with Site(panel=False) as site:
        kamailio = site.add(Kamailio(site, carriers=("127.0.0.2", "192.0.2.0/24")))
        refused = site.add(
            sipp.Sipp(
                sipp.scenario(
                    "stranger",
                    sipp.invite("49", sipp.sdp(20000)),
                    sipp.receive("403"),
                    sipp.in_dialog("ACK", "49", 1),
                ),
                free_port(),
                kamailio.target,
            )
        )
        assert refused.wait() == 0, refused.errors()


def test_a_cell_is_offered_no_more_calls_a_second_than_the_setting_says() -> None:
    """Twenty at once for one cell that is to get one a second: the others are told to come again."""
    with Site(panel=False) as site:
        kamailio = site.add(Kamailio(site, new_calls_per_cell_s=1, requests_per_source=1000))
        until(lambda: sip_answers("127.0.0.1", site.sip_port), what="cell")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.bind(("127.0.0.1", 0))
            end.settimeout(PATIENCE_S)
            own = "{}:{}".format(*end.getsockname())
            for number in range(20):
                end.sendto(
                    f"INVITE sip:shop@{kamailio.target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKr{number}\r\n"
                    f"From: <sip:a@{own}>;tag={number}\r\nTo: <sip:shop@{kamailio.target}>\r\nCall-ID: r{number}\r\n"
                    f"CSeq: 1 INVITE\r\nContact: <sip:a@{own}>\r\nMax-Forwards: 70\r\n"
                    "Content-Length: 0\r\n\r\n".encode(),
                    ("127.0.0.1", kamailio.port),
                )
            refused = set()
            while len(refused) < 15:  # no more than five even where they take four seconds to be looked at
                answer = end.recv(4096)
                if answer.startswith(b"SIP/2.0 503 ") and b"Retry-After: 5" in answer:
                    refused.add(answer)
