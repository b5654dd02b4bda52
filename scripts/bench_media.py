"""Measures the media plane on loopback: masked calls with speech and keys, beside Debian's rtpengine.

Run with `make bench-media`. Prints a table, writes build/bench/media.json and its part of docs/benchmarks.md.
CPU is that of the cells (or of rtpengine) alone, as the kernel accounts for it; the phones run beside them.
Callers are strangers to each other, as in life: each begins its keys, and sends in its 20 ms, at a moment of its own,
the same in every run and for rtpengine. In step, all detectors would be due in the same millisecond of a second, and
none in the rest of it. A leg's delay counts from the packets as they left to where all but one in twenty have come
(`lateness_s`): what a phone that waits no longer than it must has. It is the median of all legs.
`calls_per_core` is the largest number of calls, of those tried, at which one core carries them without loss or
growing delay: cells (or rtpengine) are pinned to one core, the phones to the others. The phones are one Python
process: where it is late itself, the ramp stops and says so. Where every size that was tried was carried, it is what
the CPU time of the largest comes to (`calls_per_core_by_cpu`). `--quick` tries one size only.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from bench_page import BenchPage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench_media_sound import (  # noqa: E402
    FRAME_S,
    KEY_S,
    KEYS,
    RATE,
    TALK_S,
    begun_s,
    caller_sound,
    delay_s,
    heard_from,
    lateness_s,
    near_key,
    speech,
)

from paycall.control.messages import CallConnected  # noqa: E402
from paycall.domain.fields import Field  # noqa: E402
from tests.phones import usage  # noqa: E402
from tests.phones.load import LoadPhones, packets_of, sound_of  # noqa: E402
from tests.phones.rtpengine import Rtpengine  # noqa: E402
from tests.phones.site import Site, until  # noqa: E402
from tests.phones.spandsp import spandsp_keys  # noqa: E402

SIZES = (20, 40, 60, 70, 80)
RTPENGINE_SIZES = (20, 80)
FIRST_RTP_PORT = 20000
SECONDS = 15.0
MAX_LOSS = 0.002
MAX_DELAY_GROWTH_MS = 20.0
JUDGED_LEGS = 8
MAX_LATE_TICKS = 10  # of the phones: more, and it is they who are measured
DELAY_CALLS, DELAY_S = 4, 4.0
THREADS = {
    "main": "SIP, captures",
    "media": "PJSIP: RTP in",
    "clock": "PJSIP: bridge, codecs, RTP out; mask, detector, listener",
    "python": "asyncio: panel, vault",
}


@dataclass
class Result:
    """One run."""

    calls: int
    cpu_ms_per_call_s: float
    loss: float
    delay_ms: float
    keys_lost: int
    keys_recovered: int
    speech_near_key: float
    busy: float  # share of the one core
    late_ticks: int = 0
    threads: dict[str, usage.Use] = field(default_factory=dict, repr=False)  # of a call-second
    memory: dict[str, tuple[float, float]] = field(default_factory=dict, repr=False)  # PSS and private, MB


@dataclass
class Measured:
    """A run's raw figures: what the threads used, and what came."""

    threads: dict[str, usage.Use]
    seconds: float
    loss: float
    late_ticks: int

    def result(self, load: Load, calls: int, keys_lost: int = 0) -> Result:
        """The figures of a call and a second."""
        delay_ms, recovered, near = load.judge()
        share = 1.0 / calls / self.seconds
        cpu_s = sum(each.cpu_s for each in self.threads.values())
        return Result(
            calls,
            1000 * cpu_s * share,
            self.loss,
            delay_ms,
            keys_lost,
            recovered,
            near,
            cpu_s / self.seconds,
            self.late_ticks,
            self.threads,
        )


class Load:
    """Callers that talk and key, agents that talk; what the agents' phones received."""

    def __init__(self, calls: int) -> None:
        self.phones = LoadPhones(calls)
        self.sound = caller_sound()
        self.calls = calls
        chance, between = random.Random(2), round((KEY_S + TALK_S) / FRAME_S)
        self.before_keys = [chance.randrange(between) for _ in range(calls)]  # packets of speech

    def measure(self, pids: list[int]) -> Measured:
        """Play once, and look on."""
        keyed, talk = packets_of(self.sound.pcm), packets_of(speech()[: 10 * RATE])
        quiet = packets_of(np.zeros(RATE, dtype=np.int16))
        for leg in self.phones.agents:
            leg.arrivals.clear()
            leg.payloads.clear()
            leg.recording = True
            self.phones.play(leg, talk)
        for leg, packets in zip(self.phones.callers, self.before_keys, strict=True):
            self.phones.play(leg, talk[:packets] + keyed + quiet * 60)
        before, from_s, late = usage.of_threads(pids), time.monotonic(), self.phones.late_ticks
        time.sleep(SECONDS)
        after, to_s = usage.of_threads(pids), time.monotonic()
        for leg in self.phones.agents:
            leg.recording = False
        expected = self.calls * (to_s - from_s) * 50
        loss = max(1 - sum(len(leg.arrivals) for leg in self.phones.agents) / expected, 0.0)
        return Measured(usage.between(before, after), to_s - from_s, loss, self.phones.late_ticks - late)

    def judge(self) -> tuple[float, int, float]:
        """Median delay in ms; keys recovered and speech heard near a key, of some of the legs."""
        delays, recovered, near = [], 0, []
        sampled = set(range(0, self.calls, max(self.calls // JUDGED_LEGS, 1)))
        for leg, packets in zip(self.phones.agents, self.before_keys, strict=True):
            if not leg.arrivals:
                continue
            aligned = heard_from(leg, begun_s(self.phones.callers[leg.index]) + packets * FRAME_S)
            late_s = delay_s(self.sound.pcm, aligned)
            delays.append(1000 * (late_s + lateness_s(leg)))
            if leg.index in sampled:
                recovered += len(spandsp_keys(sound_of(leg)))
                near.append(near_key(self.sound, aligned, late_s))
        return float(np.median(delays)) if delays else 0.0, recovered, float(np.mean(near)) if near else 0.0


def _pin(pids: list[int], cores: list[int]) -> None:
    for pid in pids:
        for thread in psutil.Process(pid).threads():
            os.sched_setaffinity(thread.id, cores)


def _connect(site: Site, load: Load) -> list[CallConnected]:
    for index in range(load.calls):
        load.phones.invite(index, ("127.0.0.1", site.sip_port + index // 2))
        time.sleep(0.02)
    return until(
        lambda: (
            len(site.panel.of_type("call.connected")) >= load.calls and site.panel.of_type("call.connected")
        ),
        20.0,
        "all calls connected",
    )


def _site(load: Load) -> Site:
    return Site(cells=(load.calls + 1) // 2, agent_uri=load.phones.agent_uri, first_rtp_port=FIRST_RTP_PORT)


def paycall_run(calls: int, *, masked: bool) -> Result:
    """Calls through one node on one core."""
    load, memory = Load(calls), {}
    with _site(load) as site:
        try:
            pids = list(site.pids().values())
            memory["idle"] = usage.memory_mb(pids)
            connected = _connect(site, load)
            memory["two calls"] = usage.memory_mb(pids)
            payments = []
            if masked:
                payments = [site.panel.start_capture(each.call_id, [Field.CARD_NUMBER]) for each in connected]
            _pin(pids, [0])
            measured = load.measure(pids)
            time.sleep(1.0)
            memory["two masked calls"] = usage.memory_mb(pids)
            taken = sum(site.vault.values(payment) == {Field.CARD_NUMBER: KEYS[:-1]} for payment in payments)
        finally:
            load.phones.close()
    result = measured.result(load, calls, len(KEYS) * (len(payments) - taken))
    result.memory = memory
    return result


def delays_ms() -> tuple[float, float]:
    """The path's delay, caller to agent, without and with the mask, in the same calls."""
    load, heard = Load(DELAY_CALLS), []
    talk = np.tile(speech(), 3)[: 30 * RATE]
    swell = 0.7 + 0.3 * np.sin(np.arange(talk.size) / RATE * 1.7)  # no two seconds are alike
    talk = np.asarray(talk * swell, dtype=np.int16)
    with _site(load) as site:
        try:
            connected = _connect(site, load)
            for agent, caller in zip(load.phones.agents, load.phones.callers, strict=True):
                agent.recording = True
                load.phones.play(caller, packets_of(talk))
            from_s = time.monotonic()
            time.sleep(2.0 + DELAY_S)
            for each in connected:
                site.panel.start_capture(each.call_id, [Field.CARD_NUMBER])
            time.sleep(2.0 + DELAY_S)
        finally:
            load.phones.close()
    for end_s in (2.0 + DELAY_S, 2 * (2.0 + DELAY_S)):
        begin = from_s + end_s - DELAY_S
        parts = []
        for agent, caller in zip(load.phones.agents, load.phones.callers, strict=True):
            sent = talk[int((begin - begun_s(caller)) * RATE) :][: int(DELAY_S * RATE)]
            parts.append(delay_s(sent, heard_from(agent, begin)[: sent.size + RATE]) + lateness_s(agent))
        heard.append(1000 * float(np.median(parts)))
    return heard[0], heard[1]


def rtpengine_run(calls: int) -> Result:
    """The same streams through rtpengine, which masks with a delay buffer of 60 ms."""
    load, engine = Load(calls), Rtpengine()
    try:
        for caller, agent in zip(load.phones.callers, load.phones.agents, strict=True):
            to_agent, to_caller = engine.call(caller.port, agent.port, 60)
            caller.peer, agent.peer = ("127.0.0.1", to_agent), ("127.0.0.1", to_caller)
        _pin([engine.process.pid], [0])
        measured = load.measure([engine.process.pid])
    finally:
        load.phones.close()
        engine.close()
    return measured.result(load, calls)


def ramp(run: Callable[[int], Result], sizes: tuple[int, ...]) -> list[Result]:
    """Ever more calls, until loss or delay begins to grow, or the phones cannot keep up."""
    done: list[Result] = []
    for size in sizes:
        result = run(size)
        print(f"  {result}", flush=True)
        done.append(result)
        if not carried(result, done[0]):
            break
    if not carried(done[0], done[0]):
        raise SystemExit("the phones were late at the fewest calls: the machine is not quiet")
    return done


def carried(result: Result, first: Result) -> bool:
    """Whether one core carried the calls of this run; phones that were late themselves prove nothing."""
    measured = result.late_ticks <= MAX_LATE_TICKS
    grown_ms = result.delay_ms - first.delay_ms
    return measured and result.loss <= first.loss + MAX_LOSS and grown_ms <= MAX_DELAY_GROWTH_MS


def by_cpu(result: Result) -> int:
    """How many calls a core's CPU time is enough for."""
    return int(1000 / result.cpu_ms_per_call_s)


def calls_per_core(results: list[Result]) -> int:
    """The most that were carried; where all were, what their CPU time comes to."""
    good = [each for each in results if carried(each, results[0])]
    return good[-1].calls if len(good) < len(results) else max(by_cpu(good[-1]), good[-1].calls)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size, for a look")
    quick = parser.parse_args().quick
    page = BenchPage("media", "Media")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores) - {0})
    print("delay", flush=True)
    delay_ms, delay_masked_ms = delays_ms()
    print(f"  {delay_ms:.1f} ms, masked {delay_masked_ms:.1f} ms\npaycall, not masked", flush=True)
    plain = paycall_run(SIZES[0], masked=False)
    print(f"  {plain}\npaycall, masked", flush=True)
    ours = ramp(lambda calls: paycall_run(calls, masked=True), SIZES[:1] if quick else SIZES)
    theirs: list[Result] = []
    if shutil.which("rtpengine"):
        print("rtpengine", flush=True)
        theirs = ramp(rtpengine_run, RTPENGINE_SIZES[:1] if quick else RTPENGINE_SIZES)
    good = [each for each in ours if carried(each, ours[0])]
    best, peer = good[-1], theirs[-1] if theirs else None
    figures: dict[str, float | int | None] = {
        "calls_per_core": calls_per_core(ours),
        "calls_per_core_by_cpu": by_cpu(best),
        "cpu_ms_per_call_s": round(best.cpu_ms_per_call_s, 2),
        "cpu_ms_per_call_s_unmasked": round(plain.cpu_ms_per_call_s, 2),
        "cell_pss_mb": round(best.memory["two masked calls"][0], 1),
        "cell_pss_idle_mb": round(best.memory["idle"][0], 1),
        "delay_ms": round(delay_ms, 1),
        "delay_masked_ms": round(delay_masked_ms, 1),
        "delay_added_ms": round(delay_masked_ms - delay_ms, 1),
        "keys_lost": sum(each.keys_lost for each in good),
        "keys_recovered": sum(each.keys_recovered for each in good),
        "speech_near_key": round(best.speech_near_key, 3),
        "load_average_before": page.load_before,
        "rtpengine_calls_per_core": peer and calls_per_core(theirs),
        "rtpengine_calls_per_core_by_cpu": peer and by_cpu(peer),
        "rtpengine_cpu_ms_per_call_s": peer and round(peer.cpu_ms_per_call_s, 2),
        "rtpengine_delay_ms": peer and round(theirs[0].delay_ms, 1),
        "rtpengine_keys_recovered": peer and sum(each.keys_recovered for each in theirs),
        "rtpengine_speech_near_key": peer and round(theirs[0].speech_near_key, 3),
    }
    write(page, figures, plain, ours, best, theirs)


def write(
    page: BenchPage,
    figures: dict[str, float | int | None],
    plain: Result,
    ours: list[Result],
    best: Result,
    theirs: list[Result],
) -> None:
    """The JSON, and the part of docs/benchmarks.md."""
    lines = [
        "One core is for the cells.",
        "",
        "| | calls | CPU ms a call-second | core busy | loss | keys lost | recovered (8 legs) | speech near a key |",
        "| --- " * 8 + "|",
    ]
    named = [("paycall, not masked", plain), *(("paycall", each) for each in ours)]
    for name, each in [*named, *(("rtpengine, 60 ms", each) for each in theirs)]:
        lost = each.keys_lost if name == "paycall" else "-"
        late = "; the phones were late" if each.late_ticks > MAX_LATE_TICKS else ""
        lines.append(
            f"| {name}{late} | {each.calls} | {each.cpu_ms_per_call_s:.1f} | {100 * each.busy:.0f} % "
            f"| {100 * each.loss:.2f} % | {lost} | {each.keys_recovered} | {100 * each.speech_near_key:.0f} % |"
        )
    lines += [
        "",
        f"Masked calls that a core carries: {figures['calls_per_core']}, rtpengine: "
        f"{figures['rtpengine_calls_per_core']}; by CPU time alone {figures['calls_per_core_by_cpu']} and "
        f"{figures['rtpengine_calls_per_core_by_cpu']}. Who carried every size tried is put down by CPU time.",
        "",
        f"Delay, caller to agent, in the same {DELAY_CALLS} calls: {figures['delay_ms']} ms, masked "
        f"{figures['delay_masked_ms']} ms. Of what the mask adds 20 ms are the conference bridge's, 26 the masker's "
        "look-back; the rest is the jitter buffer's.",
        "",
        f"| thread of a cell, {best.calls} masked calls | CPU ms a call-second | wake-ups a call-second |",
        "| --- " * 3 + "|",
    ]
    share = 1.0 / best.calls / SECONDS
    lines += [
        f"| {THREADS.get(name, name)} | {1000 * use.cpu_s * share:.2f} | {use.waited * share:.0f} |"
        for name, use in sorted(best.threads.items(), key=lambda item: -item[1].cpu_s)
    ]
    cells = (best.calls + 1) // 2
    lines += [
        "",
        f"| memory of a cell, {cells} cells | PSS, MB | its own, MB |",
        "| --- " * 3 + "|",
        *(f"| {when} | {pss:.1f} | {private:.1f} |" for when, (pss, private) in best.memory.items()),
    ]
    print(*lines, json.dumps(figures, indent=2), sep="\n")
    page.publish(lines, figures)


if __name__ == "__main__":
    main()
