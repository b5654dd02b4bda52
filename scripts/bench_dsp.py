"""Measures `dsp` against spandsp in one run: accuracy, talk-off, masking, throughput.

Run with `make bench-dsp`. Prints tables, writes build/bench/dsp.json (shares as fractions of 1, times
in µs of CPU, levels in dB) and its part of docs/benchmarks.md. Needs libspandsp2 and the recorded
speech that scripts/system-tools.sh installs. `--quick` takes a tenth of everything, for a look.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: one thread is what is measured

import argparse
import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from bench_page import BenchPage
from dsp_lab import measure, spandsp, speech
from dsp_lab.impairments import IMPAIRMENTS
from dsp_lab.limits import LIMITS
from dsp_lab.signals import RATE, key_string

import dsp
from dsp import bank
from dsp.windows import Windows

ROOT = Path(__file__).resolve().parents[1]
MINED_SPEEDS = (0.76, 0.82, 0.88, 0.94, 1.0, 1.06, 1.13, 1.2, 1.28, 1.36)
PARTS: tuple[speech.Part, ...] = ("tuning", "held out")
SHORT_DELAY_MS = 26  # paycall/media/pipeline.py
AS_LOUD = "a talker 10 dB below"  # bursts of it are as loud as the tones: set apart in the masker's goal

Figures = dict[str, float]


class Report:
    """Lines for the screen and for docs/benchmarks.md alike."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        print(line, flush=True)
        self.lines.append(line)

    def table(self, *rows: tuple[object, ...]) -> None:
        head, *body = rows
        self.say("| " + " | ".join(map(str, head)) + " |")
        self.say("|" + " --- |" * len(head))
        for row in body:
            self.say("| " + " | ".join(map(str, row)) + " |")
        self.say()


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def strings(report: Report, count: int) -> Figures:
    total = {who: measure.Strings() for who in measure.DETECTORS}
    rows: list[tuple[object, ...]] = [
        ("line", "dsp", "spandsp", "doubled", "missed", "spandsp doubled", "missed")
    ]
    for name in IMPAIRMENTS:
        found = measure.strings_over(name, count)
        for who, result in found.items():
            total[who].merge(result)
        ours, theirs = found["dsp"], found["spandsp"]
        exact = (_percent(r.exact / r.strings) for r in (ours, theirs))
        rows.append((name, *exact, ours.doubled, ours.missed, theirs.doubled, theirs.missed))
    ours, theirs = total["dsp"], total["spandsp"]
    exact = (f"**{_percent(r.exact / r.strings)}**" for r in (ours, theirs))
    rows.append(("**all**", *exact, ours.doubled, ours.missed, theirs.doubled, theirs.missed))
    report.say(f"### Strings of 17 keys exactly right, {count} strings a line")
    report.say()
    report.table(*rows)
    return {
        "strings_exact": ours.exact / ours.strings,
        "spandsp_strings_exact": theirs.exact / theirs.strings,
        "keys_doubled": ours.doubled / ours.keys,
        "spandsp_keys_doubled": theirs.doubled / theirs.keys,
    }


def limits(report: Report, tries: int) -> Figures:
    rows: list[tuple[object, ...]] = [("limit, at the exact limit", "dsp", "its worst key", "spandsp")]
    worst_of_all = 1.0
    for limit in LIMITS:
        kept = measure.limit_held(limit, tries)
        ours = sum(kept["dsp"].values()) / 16
        worst_of_all = min(worst_of_all, ours)
        theirs = sum(kept["spandsp"].values()) / 16
        rows.append((limit.name, _percent(ours), _percent(min(kept["dsp"].values())), _percent(theirs)))
    report.say(f"### Limits of the standards, {tries} tries for each of 16 keys")
    report.say()
    report.table(*rows)
    return {"limits_worst": worst_of_all}


def mined_tape(minutes: float, part: speech.Part) -> np.ndarray:
    """The adversarial tape of one half, kept under build/ because mining it takes a minute."""
    name = hashlib.sha256(
        f"{minutes} {part} {MINED_SPEEDS} {Path(speech.__file__).read_text()}".encode()
    ).hexdigest()[:12]
    path = ROOT / "build" / "dsp" / f"mined-{name}.npy"
    if not path.exists():
        print(f"mining {minutes:.0f} minutes of the most tone-like speech, {part} ...", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, speech.adversarial_tape(minutes, MINED_SPEEDS, part=part))
    tape: np.ndarray = np.load(path)
    return tape


def talk_off(report: Report, hours: float, mined_minutes: float, voice_minutes: float) -> Figures:
    """False keys on each half of the recordings, on what is most tone-like in it, and on other voices."""
    rows: list[tuple[object, ...]] = [("tape", "hours", "dsp", "spandsp")]
    total = {kind: {"dsp": 0.0, "spandsp": 0.0, "hours": 0.0} for kind in ("recorded", "mined")}
    figures: Figures = {}

    def hear(name: str, kind: str | None, tape: Iterable[np.ndarray]) -> dict[str, int]:
        counts, length = measure.false_keys(tape)
        rows.append((name, f"{length:.2f}", *counts.values()))
        if kind:
            for who, count in counts.items():
                total[kind][who] += count
            total[kind]["hours"] += length
        return counts

    for part in PARTS:
        hear(f"recorded speech and music on hold, {part}", "recorded", speech.tapes(hours / 2, part=part))
    for part in PARTS:
        tape = mined_tape(mined_minutes / 2, part)
        found = hear(f"its most tone-like fragments, 1 s each, {part}", "mined", [tape])
        if part == "held out":
            tape_hours = tape.size / RATE / 3600
            figures["false_keys_per_h_held_out"] = found["dsp"] / tape_hours
            figures["spandsp_false_keys_per_h_held_out"] = found["spandsp"] / tape_hours
    hear(
        f"synthetic voices in {len(speech.VOICES)} other languages, reading numbers",
        None,
        speech.voices(voice_minutes),
    )
    report.say("### Talk-off: false keys")
    report.say()
    report.say("Thresholds are tuned on one half of the recordings; speed and level are varied in both.")
    report.say()
    report.table(*rows)
    mined, recorded = total["mined"], total["recorded"]
    return figures | {
        "false_keys_recorded": recorded["dsp"],
        "recorded_hours": recorded["hours"],
        "false_keys_per_h": mined["dsp"] / mined["hours"],
        "spandsp_false_keys_per_h": mined["spandsp"] / mined["hours"],
    }


def masking(report: Report, count: int, muted_hours: float) -> Figures:
    total, loud = measure.Masked(), measure.Masked()
    rows: list[tuple[object, ...]] = [
        ("line", "keys", "spandsp", "matched filter", "residual p95, dB", "worst 10 ms p95, dB")
    ]
    for name in IMPAIRMENTS:
        found = measure.masked_over(name, count)
        (loud if name == AS_LOUD else total).merge(found)
        rows.append((name, *_masked_row(found)))
    rows.append((f"**all but {AS_LOUD}**", *_masked_row(total)))
    sooner = measure.Masked()
    for name in IMPAIRMENTS:
        if name != AS_LOUD:
            sooner.merge(measure.masked_over(name, max(count // 2, 1), SHORT_DELAY_MS))
    muted = {
        name: measure.muted_share(tape)
        for name, tape in (
            *((part, speech.tapes(muted_hours / 2, music=False, stride=5, part=part)) for part in PARTS),
            ("synthetic voices", speech.voices(30 * muted_hours)),
        )
    }
    delay_ms = dsp.ToneMasker(frame_ms=20).delay_samples / RATE * 1000
    report.say(f"### Keys left behind the masker, {count} strings a line")
    report.say()
    report.table(*rows)
    worst, short = np.array(total.worst_10_ms_db + loud.worst_10_ms_db), np.array(sooner.worst_10_ms_db)
    report.say(
        f"Keys of which 10 ms stay above -40 dB, talkers and all: {int((worst > -40).sum())} of {worst.size}; "
        f"with a delay of {SHORT_DELAY_MS} ms, as in a call: {int((short > -40).sum())} of {short.size}, "
        f"and the matched filter {_percent(sooner.matched / sooner.keys)}."
    )
    report.say(f"The second listener heard {total.listener} keys. Chance of the matched filter: 6.25 %.")
    shares = ", ".join(f"{100 * share:.2f} % ({name})" for name, share in muted.items())
    report.say(f"Speech muted without keys: {shares} of {muted_hours / 2:g} h each. Delay: {delay_ms:g} ms.")
    report.say()
    return {
        "mask_recovered_spandsp": total.spandsp / total.keys,
        "mask_recovered_matched": total.matched / total.keys,
        "mask_residual_p95_db": float(np.percentile(total.residual_db, 95)),
        "mask_worst_10_ms_p95_db": float(np.percentile(worst, 95)),
        "mask_worst_10_ms_above_40_db": float((worst > -40).mean()),
        "mask_short_delay_worst_10_ms_above_40_db": float((short > -40).mean()),
        "mask_delay_ms": delay_ms,
        "mask_speech_muted": muted["held out"],
        "mask_speech_muted_tuning": muted["tuning"],
        "mask_speech_muted_voices": muted["synthetic voices"],
    }


def _masked_row(found: measure.Masked) -> tuple[object, ...]:
    residual, worst = (np.percentile(x, 95) for x in (found.residual_db, found.worst_10_ms_db))
    return found.keys, found.spandsp, _percent(found.matched / found.keys), f"{residual:.0f}", f"{worst:.0f}"


# What the channels carry: name, suffix of the figures, and which channels key a string of 17 keys.
MATERIAL = (
    ("calls: in 30 s every sixth keys 17", "", 6),
    ("speech only", "_speech", 0),
    ("every call keys 17 in 30 s", "_dense", 1),
)


def calls(channels: int, seconds: int, every: int) -> np.ndarray:
    """Calls of recorded speech; every ``every``-th (0: none) has a string of 17 keys somewhere."""
    line = np.concatenate(list(speech.tapes(channels * seconds / 3600, music=False, stride=3)))
    size = seconds * RATE
    out = np.resize(line, (channels, size)).copy()
    for channel in range(0, channels, every) if every else ():
        rng = measure.generator("calls", channel)
        wave = np.clip(np.rint(key_string(rng).wave), -32768, 32767).astype(np.int16)[: size // 2]
        at = int(rng.integers(0, size - wave.size))
        out[channel, at : at + wave.size] = wave
    return out


# How it is fed: name, prefix of the figures, samples a block (0: the whole), how often it decides.
FED = (
    ("20 ms ticks, decides every 80 ms", "stream", 160, 80),
    ("20 ms ticks, decides at each", "prompt_stream", 160, 20),
    ("whole files", "block", 0, 80),
)


def _best(run: Callable[[], float], rounds: int = 5) -> float:
    return min(run() for _ in range(rounds))


def _bank_seconds(audio: np.ndarray, block: int, decide_every_ms: int) -> float:
    parts = [np.ascontiguousarray(audio[:, at : at + block]) for at in range(0, audio.shape[1], block)]
    bank = dsp.DtmfDetectorBank(audio.shape[0], decide_every_ms=decide_every_ms)
    begin = time.process_time()
    for part in parts:
        bank.process(part)
    return time.process_time() - begin


def throughput(report: Report, seconds: int) -> Figures:
    rows: list[tuple[object, ...]] = [
        ("channels", "audio", "fed", "dsp, audio-s a CPU-s", "spandsp", "ratio")
    ]
    figures: Figures = {}
    for channels in (1, 16, 256):
        for material, suffix, every in MATERIAL:
            audio = calls(channels, seconds * max(16 // channels, 1), every)
            length = audio.size / RATE
            for fed, kind, block, every_ms in FED:
                ours_block, theirs_block = block or audio.shape[1], block or 8000
                # Turn about, so that whatever else the machine does meets both.
                pairs = [
                    (_bank_seconds(audio, ours_block, every_ms), spandsp.cpu_seconds(audio, theirs_block))
                    for _ in range(5)
                ]
                ours, theirs = (min(column) for column in zip(*pairs, strict=True))
                speeds = (f"{length / ours:,.0f}", f"{length / theirs:,.0f}", f"{theirs / ours:.2f}")
                rows.append((channels, material, fed, *speeds))
                figures[f"{kind}_ratio_{channels}{suffix}"] = theirs / ours
    report.say("### Throughput, one thread")
    report.say()
    report.say("spandsp's figure is its C code alone: the cost of the ctypes calls is taken off.")
    report.say(
        "A bank that decides every 80 ms returns a key up to 60 ms later than one that decides at each tick;"
    )
    report.say("asked what is down, it always knows.")
    report.say()
    report.table(*rows)
    return figures


STAGES = (
    (Windows, "take", "keep the samples"),
    (Windows, "transform", "tones of the whole windows, and the cheap test"),
    (Windows, "fill", "tones of the windows between them, where something is going on"),
    (Windows, "twice_possible", "suspects"),
    (bank, "evidence", "evidence for keys"),
    (bank, "missing_steps", "what is missing of keys that are down"),
    (dsp.DtmfDetectorBank, "_follow", "keys that begin or end"),
    (dsp.DtmfDetectorBank, "process", "the rest"),
)


def stages(report: Report, seconds: int) -> None:
    """Where a tick's time goes, in µs of CPU; what a stage calls that is a stage itself is not counted in it."""
    spent, running = dict.fromkeys([name for _, name, _ in STAGES], 0.0), [0.0]

    def timed(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            running.append(0.0)
            begin = time.thread_time()
            result = function(*arguments)
            took = time.thread_time() - begin
            spent[name] += took - running.pop()
            running[-1] += took
            return result

        return run

    audio = calls(256, seconds, every=6)
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in STAGES]
    for owner, name, function in kept:
        setattr(owner, name, timed(name, function))
    try:
        _bank_seconds(audio, 160, 80)
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
    ticks = audio.shape[1] / 160
    report.say("### Where a tick of 20 ms of 256 channels goes, µs (the clock's own cost included)")
    report.say()
    rows = [(told, f"{1e6 * spent[name] / ticks:.1f}") for _, name, told in STAGES]
    report.table(("stage", "µs"), *rows, ("**all**", f"{1e6 * sum(spent.values()) / ticks:.1f}"))


def frame_cost(report: Report) -> Figures:
    audio = calls(1, 60, every=1)[0]
    frames = [audio[at : at + 160].copy() for at in range(0, audio.size, 160)]

    def run(step: Callable[[np.ndarray], object]) -> float:
        begin = time.process_time()
        for frame in frames:
            step(frame)
        return (time.process_time() - begin) / len(frames) * 1e6

    detector, masker = dsp.DtmfDetector(), dsp.ToneMasker(frame_ms=20)
    empty = _best(lambda: run(lambda _: None))
    detect = _best(lambda: run(detector.process))
    mask = _best(lambda: run(masker.process))
    report.say("### A frame of 20 ms of one call, µs of a core")
    report.say()
    report.table(
        ("empty callback", "detector", "masker", "both"),
        (f"{empty:.2f}", f"{detect:.1f}", f"{mask:.1f}", f"{detect + mask:.1f}"),
    )
    return {
        "frame_us": detect + mask,
        "empty_callback_us": empty,
        "detector_frame_us": detect,
        "masker_frame_us": mask,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, and nothing is written")
    quick = parser.parse_args().quick
    page = BenchPage("dsp", "dsp")
    report = Report()
    report.say(f"numpy {np.__version__}.")
    report.say()
    figures = strings(report, 4 if quick else 40)
    figures |= limits(report, 2 if quick else 20)
    figures |= talk_off(report, 0.8 if quick else 8.0, 6 if quick else 60, 3 if quick else 30)
    figures |= masking(report, 2 if quick else 20, 0.2 if quick else 2.0)
    figures |= throughput(report, 10 if quick else 30)
    stages(report, 10 if quick else 30)
    figures |= frame_cost(report)
    report.table(("figure", "value"), *((f"`{name}`", f"{value:.4g}") for name, value in figures.items()))
    if not quick:
        page.publish(report.lines, figures)


if __name__ == "__main__":
    main()
