"""Measures the media plane on loopback: masked calls with speech and keys, beside Debian's rtpengine.

Run with `make bench-media`. Prints a table, writes build/bench/media.json and its part of docs/benchmarks.md.
CPU is that of the cells (or of rtpengine) alone, as the kernel accounts for it; the phones run beside them.
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
import shutil
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from bench_page import BenchPage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import dsp  # noqa: E402
from paycall.control.messages import CallConnected  # noqa: E402
from paycall.domain.fields import Field  # noqa: E402
from tests.phones import usage  # noqa: E402
from tests.phones.capture import spandsp_keys  # noqa: E402
from tests.phones.load import Leg, LoadPhones, packets_of, sound_of  # noqa: E402
from tests.phones.rtpengine import Rtpengine  # noqa: E402
from tests.phones.site import Site, until  # noqa: E402

RATE = 8000
KEYS = "4111111111111111#"
KEY_S, TALK_S = 0.1, 0.7  # a key, then speech until the next
NEAR_S = 0.3
SIZES = (20, 40, 60, 70, 80)
RTPENGINE_SIZES = (20, 80)
FIRST_RTP_PORT = 20000
SECONDS = 14.0
MAX_LOSS = 0.002
MAX_DELAY_GROWTH_MS = 20.0
MAX_LATE_TICKS = 10  # of the phones: more, and it is they who are measured
DELAY_CALLS, DELAY_S = 4, 4.0
THREADS = {
    "main": "SIP, captures",
    "media": "PJSIP: RTP in",
    "clock": "PJSIP: bridge, codecs, RTP out; mask, detector, listener",
    "python": "asyncio: panel, vault",
}


@dataclass
class Sound:
    """What callers say: speech with keys in it. ``moments`` are the keys' starts in seconds."""

    pcm: np.ndarray
    moments: list[float]


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


def speech() -> np.ndarray:
    """The demo's caller, at 8 kHz."""
    parts = []
    for path in sorted((ROOT / "paycall/demo/speech").glob("caller-*.wav")):
        with wave.open(str(path)) as file:
            parts.append(np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16))
    talk = np.concatenate(parts)
    loud = talk[np.abs(talk.astype(int)) > 0]  # no pauses: what is missing near a key is then the mask's
    return np.asarray(loud, dtype=np.int16)


def caller_sound() -> Sound:
    """Speech, and a key every ``TALK_S``; keys and speech do not overlap."""
    talk, parts, moments, at = speech(), [], [], 0
    step = int(TALK_S * RATE)
    for key in KEYS:
        piece = np.take(talk, range(at, at + step), mode="wrap")
        moments.append((sum(part.size for part in parts) + step) / RATE)
        parts += [piece, dsp.dtmf_tone(key, KEY_S, -10.0)]
        at += step
    parts.append(np.take(talk, range(at, at + step), mode="wrap"))
    return Sound(np.concatenate(parts), moments)


def delay_s(sent: np.ndarray, heard: np.ndarray) -> float:
    """How much later the same sound is in ``heard``, by cross-correlation; both begin at the same moment."""
    size = 1 << int(np.ceil(np.log2(sent.size + heard.size)))
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(sent.astype(float), size))
    return float(np.argmax(np.fft.irfft(spectrum, size)[: RATE // 2])) / RATE


def near_key(sound: Sound, heard: np.ndarray, late_s: float) -> float:
    """Share of the speech within ``NEAR_S`` of a key, in 10 ms frames, that is still heard (within 10 dB)."""
    kept = total = 0
    for moment in sound.moments:
        for start in (
            *np.arange(moment - NEAR_S, moment, 0.01),
            *np.arange(moment + KEY_S, moment + KEY_S + NEAR_S, 0.01),
        ):
            before = sound.pcm[int(start * RATE) : int((start + 0.01) * RATE)].astype(float)
            after = heard[int((start + late_s) * RATE) : int((start + late_s + 0.01) * RATE)].astype(float)
            if before.size and after.size and np.sqrt(np.mean(before**2)) > 300:
                total += 1
                kept += bool(np.sqrt(np.mean(after**2)) > np.sqrt(np.mean(before**2)) / 3.16)
    return kept / total if total else 0.0


@dataclass
class Measured:
    """A run's raw figures: agents with their sound's start, and what the threads used."""

    legs: list[tuple[Leg, float]]
    threads: dict[str, usage.Use]
    seconds: float
    loss: float
    late_ticks: int

    def result(self, load: Load, calls: int, keys_lost: int = 0) -> Result:
        """The figures of a call and a second."""
        delay_ms, recovered, near = load.judge(8, self.legs)
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

    def measure(self, pids: list[int]) -> Measured:
        """Play once, and look on."""
        keyed, talk = packets_of(self.sound.pcm), packets_of(speech()[: 10 * RATE])
        quiet = packets_of(np.zeros(RATE, dtype=np.int16))
        for leg in self.phones.agents:
            leg.arrivals.clear()
            leg.payloads.clear()
            leg.recording = True
            self.phones.play(leg, talk)
        started = {}
        for leg in self.phones.callers:
            started[leg.index] = time.monotonic()
            self.phones.play(leg, keyed + quiet * 60)
        before, from_s, late = usage.of_threads(pids), time.monotonic(), self.phones.late_ticks
        time.sleep(SECONDS)
        after, to_s = usage.of_threads(pids), time.monotonic()
        for leg in self.phones.agents:
            leg.recording = False
        expected = self.calls * (to_s - from_s) * 50
        loss = max(1 - sum(len(leg.arrivals) for leg in self.phones.agents) / expected, 0.0)
        return Measured(
            [(leg, started[leg.index]) for leg in self.phones.agents],
            usage.between(before, after),
            to_s - from_s,
            loss,
            self.phones.late_ticks - late,
        )

    def judge(self, sample: int, legs: list[tuple[Leg, float]]) -> tuple[float, int, float]:
        """Median delay in ms, keys recovered, speech heard near a key: over some of the legs."""
        delays, recovered, near = [], 0, []
        for leg, start in legs[:: max(len(legs) // sample, 1)]:
            heard = sound_of(leg)
            if not leg.arrivals:
                continue
            recovered += len(spandsp_keys(heard))
            lead = int(max(leg.arrivals[0] - start, 0.0) * RATE)
            aligned = np.concatenate([np.zeros(lead, dtype=np.int16), heard])
            late_s = delay_s(self.sound.pcm, aligned)
            delays.append(1000 * late_s)
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
            started = {}
            for agent, caller in zip(load.phones.agents, load.phones.callers, strict=True):
                agent.recording = True
                started[caller.index] = time.monotonic()
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
        for leg in load.phones.agents:
            sent = talk[int((begin - started[leg.index]) * RATE) :][: int(DELAY_S * RATE)]
            parts.append(
                delay_s(sent, sound_of(leg)[int((begin - leg.arrivals[0]) * RATE) :][: sent.size + RATE])
            )
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
        if not carried(result, done[0]) or result.late_ticks > MAX_LATE_TICKS:
            break
    return done


def carried(result: Result, first: Result) -> bool:
    """Whether one core carried the calls of this run."""
    return result.loss <= first.loss + MAX_LOSS and result.delay_ms <= first.delay_ms + MAX_DELAY_GROWTH_MS


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
