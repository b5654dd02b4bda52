"""Measures the media plane on loopback: masked calls with speech and keys, beside Debian's rtpengine.

Run with `make bench-media`. Prints a table, writes build/bench/media.json and its part of docs/benchmarks.md.
CPU is that of the cells (or of rtpengine) alone, as the kernel accounts for it; the phones run beside them.
`calls_per_core` is the largest number of calls, of those tried, at which one core carries them without loss or
growing delay: cells (or rtpengine) are pinned to one core, the phones to the others. `--quick` tries one size only.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import platform
import shutil
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import dsp  # noqa: E402
from paycall.domain.fields import Field  # noqa: E402
from tests.phones.capture import spandsp_keys  # noqa: E402
from tests.phones.load import Leg, LoadPhones, packets_of, sound_of  # noqa: E402
from tests.phones.rtpengine import Rtpengine  # noqa: E402
from tests.phones.site import Site, until  # noqa: E402

RATE = 8000
KEYS = "4111111111111111#"
KEY_S, TALK_S = 0.1, 0.7  # a key, then speech until the next
NEAR_S = 0.3
SIZES = (20, 40, 60, 80)
SECONDS = 14.0
MAX_LOSS = 0.002
MAX_DELAY_GROWTH_MS = 20.0
MARKER = "<!-- bench-media -->"


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


class Load:
    """Callers that talk and key, agents that talk; what the agents' phones received."""

    def __init__(self, calls: int) -> None:
        self.phones = LoadPhones(calls)
        self.sound = caller_sound()
        self.calls = calls

    def measure(self, processes: list[psutil.Process]) -> tuple[list[tuple[Leg, float]], float, float, float]:
        """Play once; gives agents with their sound's start, CPU seconds, seconds, and the share of packets lost."""
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
        before, from_s = sum(_cpu_s(each) for each in processes), time.monotonic()
        time.sleep(SECONDS)
        after, to_s = sum(_cpu_s(each) for each in processes), time.monotonic()
        for leg in self.phones.agents:
            leg.recording = False
        expected = self.calls * (to_s - from_s) * 50
        loss = max(1 - sum(len(leg.arrivals) for leg in self.phones.agents) / expected, 0.0)
        return [(leg, started[leg.index]) for leg in self.phones.agents], after - before, to_s - from_s, loss

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


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _pin(processes: list[psutil.Process], cores: list[int]) -> None:
    for process in processes:
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)


def paycall_run(calls: int, *, masked: bool) -> tuple[Result, float]:
    """Calls through one node on one core; gives the figures and the memory of a cell in MB (PSS)."""
    load = Load(calls)
    with Site(cells=(calls + 1) // 2, agent_uri=load.phones.agent_uri) as site:
        try:
            for index in range(calls):
                load.phones.invite(index, ("127.0.0.1", site.sip_port + index // 2))
                time.sleep(0.02)
            connected = until(
                lambda: (
                    len(site.panel.of_type("call.connected")) >= calls
                    and site.panel.of_type("call.connected")
                ),
                20.0,
                "all calls connected",
            )
            payments = []
            if masked:
                payments = [site.panel.start_capture(each.call_id, [Field.CARD_NUMBER]) for each in connected]
            cells = [psutil.Process(pid) for pid in site.pids().values()]
            _pin(cells, [0])
            legs, cpu_s, seconds, loss = load.measure(cells)
            time.sleep(1.0)
            pss = [_pss_mb(each) for each in cells]
            taken = sum(site.vault.values(payment) == {Field.CARD_NUMBER: KEYS[:-1]} for payment in payments)
        finally:
            load.phones.close()
    delay_ms, recovered, near = load.judge(8, legs)
    lost = len(KEYS) * (len(payments) - taken)
    cost = 1000 * cpu_s / calls / seconds
    return Result(calls, cost, loss, delay_ms, lost, recovered, near, cpu_s / seconds), float(np.median(pss))


def rtpengine_run(calls: int) -> Result:
    """The same streams through rtpengine, which masks with a delay buffer of 60 ms."""
    load, engine = Load(calls), Rtpengine()
    try:
        for caller, agent in zip(load.phones.callers, load.phones.agents, strict=True):
            to_agent, to_caller = engine.call(caller.port, agent.port, 60)
            caller.peer, agent.peer = ("127.0.0.1", to_agent), ("127.0.0.1", to_caller)
        process = psutil.Process(engine.process.pid)
        _pin([process], [0])
        legs, cpu_s, seconds, loss = load.measure([process])
    finally:
        load.phones.close()
        engine.close()
    delay_ms, recovered, near = load.judge(8, legs)
    cost = 1000 * cpu_s / calls / seconds
    return Result(calls, cost, loss, delay_ms, 0, recovered, near, cpu_s / seconds)


def _pss_mb(process: psutil.Process) -> float:
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


def ramp(run: Callable[[int], Result], sizes: tuple[int, ...]) -> list[Result]:
    """Ever more calls, until loss or delay begins to grow."""
    done: list[Result] = []
    for size in sizes:
        result = run(size)
        print(f"  {result}", flush=True)
        done.append(result)
        if not carried(result, done[0]):
            break
    return done


def carried(result: Result, first: Result) -> bool:
    """Whether one core carried the calls of this run."""
    return result.loss <= first.loss + MAX_LOSS and result.delay_ms <= first.delay_ms + MAX_DELAY_GROWTH_MS


def largest(results: list[Result]) -> int:
    """The most calls that one core carried."""
    return max((each.calls for each in results if carried(each, results[0])), default=0)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size, for a look")
    sizes = SIZES[:1] if parser.parse_args().quick else SIZES
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores) - {0})
    pss: list[float] = []

    def masked(calls: int) -> Result:
        result, memory = paycall_run(calls, masked=True)
        pss.append(memory)
        return result

    print("paycall, not masked", flush=True)
    plain, _ = paycall_run(sizes[0], masked=False)
    print(f"  {plain}\npaycall, masked", flush=True)
    ours = ramp(masked, sizes)
    theirs: list[Result] = []
    if shutil.which("rtpengine"):
        print("rtpengine", flush=True)
        theirs = ramp(rtpengine_run, tuple(size * 2 for size in sizes))
    good = [each for each in ours if carried(each, ours[0])] or ours[:1]
    figures: dict[str, float | int | None] = {
        "calls_per_core": largest(ours),
        "cpu_ms_per_call_s": round(good[-1].cpu_ms_per_call_s, 2),
        "cpu_ms_per_call_s_unmasked": round(plain.cpu_ms_per_call_s, 2),
        "cell_pss_mb": round(pss[len(good) - 1], 1),
        "delay_ms": round(plain.delay_ms, 1),
        "delay_masked_ms": round(good[-1].delay_ms, 1),
        "keys_lost": sum(each.keys_lost for each in good),
        "keys_recovered": sum(each.keys_recovered for each in good),
        "speech_near_key": round(good[-1].speech_near_key, 3),
        "rtpengine_calls_per_core": largest(theirs) if theirs else None,
        "rtpengine_cpu_ms_per_call_s": round(theirs[-1].cpu_ms_per_call_s, 2) if theirs else None,
        "rtpengine_delay_ms": round(theirs[0].delay_ms, 1) if theirs else None,
        "rtpengine_keys_recovered": theirs[0].keys_recovered if theirs else None,
        "rtpengine_speech_near_key": round(theirs[0].speech_near_key, 3) if theirs else None,
    }
    write(figures, [plain, *ours], theirs)


def write(figures: dict[str, float | int | None], ours: list[Result], theirs: list[Result]) -> None:
    """The JSON, and the part of docs/benchmarks.md."""
    lines = [
        "## Media",
        "",
        f"{platform.machine()}, one core for the cells, {os.cpu_count()} cores in all.",
        "",
    ]
    lines += [
        "| | calls | CPU ms a call-second | loss | delay ms | keys lost | recovered (8 legs) | speech near a key |"
    ]
    lines += ["| --- " * 8 + "|"]
    named = [("paycall, not masked", ours[0]), *(("paycall", each) for each in ours[1:])]
    for name, each in [*named, *(("rtpengine, 60 ms", each) for each in theirs)]:
        lost = each.keys_lost if name == "paycall" else "-"
        lines.append(
            f"| {name} | {each.calls} | {each.cpu_ms_per_call_s:.1f} | {100 * each.loss:.2f} % | {each.delay_ms:.0f} "
            f"| {lost} | {each.keys_recovered} | {100 * each.speech_near_key:.0f} % |"
        )
    text = "\n".join(lines) + "\n"
    print(text, json.dumps(figures, indent=2), sep="\n")
    target = ROOT / "build/bench/media.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    page = ROOT / "docs/benchmarks.md"
    whole = page.read_text("utf-8") if page.exists() else "# Benchmarks\n"
    part = f"{MARKER}\n{text}{MARKER}\n"
    if whole.count(MARKER) == 2:
        before, _, rest = whole.partition(MARKER)
        whole = before + part + rest.partition(MARKER)[2].lstrip("\n")
    else:
        whole = whole.rstrip("\n") + "\n\n" + part
    page.write_text(whole, "utf-8")


if __name__ == "__main__":
    main()
