"""Many short calls with captures through one node, cells killed at random: nothing is stuck, nothing leaks."""

from __future__ import annotations

import os
import random
import signal
import time

import psutil

import dsp
from paycall.domain.fields import Field
from tests.phones.load import LoadPhones, packets_of
from tests.phones.site import Site, until

CALLS = int(os.environ.get("PAYCALL_SOAK_CALLS", "40"))
AT_ONCE = 8
KILLS = max(CALLS // 20, 1)


def test_every_call_and_capture_ends_with_a_clear_event() -> None:
    rng = random.Random(4)
    keys = packets_of(dsp.dtmf_string("4111111111111111#", 0.06, 0.05))
    phones = LoadPhones(AT_ONCE)
    with Site(cells=AT_ONCE // 2 + 2, agent_uri=phones.agent_uri) as site:
        panel = site.panel
        kill_in = {round((number + 0.5) * CALLS / AT_ONCE / (KILLS)) for number in range(KILLS)}
        memory: list[float] = []
        for lap in range(CALLS // AT_ONCE):
            mark = len(panel.events)
            for index in range(AT_ONCE):
                phones.invite(index, ("127.0.0.1", site.sip_port + index // 2))
                time.sleep(0.02)
            until(
                lambda m=mark: len(panel.of_type("call.connected", since=m)) >= AT_ONCE,
                10.0,
                "connected calls",
            )
            calls = [event.call_id for event in panel.of_type("call.connected", since=mark)]
            for call_id in calls:
                panel.start_capture(call_id, [Field.CARD_NUMBER])
            for leg in phones.callers:
                phones.play(leg, keys)
            if lap in kill_in:
                time.sleep(rng.uniform(0.2, 1.5))
                os.kill(rng.choice(list(site.pids().values())), signal.SIGKILL)
            time.sleep(2.4)
            for leg in phones.callers:
                phones.silence(leg)
                phones.hang_up(leg)
            until(lambda c=calls, m=mark: ended(panel, m) >= set(c), 8.0, "ended calls")
            started = {event.call_id for event in panel.of_type("capture.started", since=mark)}
            done = {event.call_id for event in panel.of_type("capture.completed", since=mark)}
            over = {event.call_id for event in panel.of_type("capture.ended", since=mark)}
            assert started <= done | over | lost(panel, mark)
            until(lambda: len(site.pids()) == site.settings["cells"], 5.0, "all cells back")
            memory.append(rss_mb(site))
            time.sleep(1.0)
        assert len(lost(panel, 0)) > 0
        assert max(memory[1:]) < memory[0] + 15 * site.settings["cells"]
        assert not panel.of_type("call.alarm")
    phones.close()


def ended(panel: object, mark: int) -> set[str]:
    return {event.call_id for event in panel.of_type("call.ended", since=mark)} | lost(panel, mark)


def lost(panel: object, mark: int) -> set[str]:
    return {call_id for event in panel.of_type("node.cell-lost", since=mark) for call_id in event.call_ids}


def rss_mb(site: Site) -> float:
    return sum(psutil.Process(pid).memory_info().rss for pid in site.pids().values()) / 1e6
