"""The measurements that tests and benchmark share: strings, limits, talk-off, masking."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

import dsp
from dsp_lab import spandsp
from dsp_lab.impairments import IMPAIRMENTS
from dsp_lab.limits import Limit
from dsp_lab.signals import RATE, Keyed, key_string

FRAME = 160  # samples: 20 ms
Hear = Callable[[np.ndarray], str]


def hear(pcm: np.ndarray) -> str:
    return "".join(symbol for symbol, _, _ in dsp.detect(pcm))


DETECTORS: dict[str, Hear] = {"dsp": hear, "spandsp": spandsp.detect}


def generator(*seed: int | str) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in seed])


@dataclass
class Strings:
    """How strings of keys came through one line."""

    strings: int = 0
    exact: int = 0
    keys: int = 0
    doubled: int = 0
    missed: int = 0

    def add(self, sent: str, got: str) -> None:
        self.strings += 1
        self.keys += len(sent)
        self.exact += got == sent
        self.doubled += max(len(got) - len(sent), 0)
        self.missed += max(len(sent) - len(got), 0)

    def merge(self, other: Strings) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def arrival(name: str, number: int) -> tuple[Keyed, np.ndarray]:
    """The ``number``-th seeded string of 17 keys and what arrives of it over the line of this name."""
    style, line = IMPAIRMENTS[name]
    rng = generator("strings", name, number)
    keyed = key_string(rng, style=style)
    return keyed, line(rng, keyed)


def strings_over(name: str, count: int) -> dict[str, Strings]:
    found = {who: Strings() for who in DETECTORS}
    for number in range(count):
        keyed, pcm = arrival(name, number)
        for who, listen in DETECTORS.items():
            found[who].add(keyed.keys, listen(pcm))
    return found


def limit_held(limit: Limit, tries: int) -> dict[str, dict[str, float]]:
    """For each detector and key the share of tries in which the limit was kept."""
    kept = {who: dict.fromkeys(dsp.SYMBOLS, 0.0) for who in DETECTORS}
    for symbol in dsp.SYMBOLS:
        for number in range(tries):
            pcm = limit.build(generator(limit.name, symbol, number), symbol)
            for who, listen in DETECTORS.items():
                kept[who][symbol] += (listen(pcm) == symbol * limit.keys) / tries
    return kept


def false_keys(tape: Iterable[np.ndarray]) -> tuple[dict[str, int], float]:
    """False keys of each detector on recorded speech, and the tape's length in hours."""
    ours, theirs = dsp.DtmfDetector(), spandsp.SpandspDetector()
    counts, samples = {"dsp": 0, "spandsp": 0}, 0
    for part in tape:
        counts["dsp"] += len(ours.process(part))
        counts["spandsp"] += len(theirs.process(part))
        samples += part.size
    return counts, samples / RATE / 3600


@dataclass
class Masked:
    """What is left of keys behind the masker."""

    keys: int = 0
    matched: int = 0
    spandsp: int = 0
    listener: int = 0
    residual_db: list[float] = field(default_factory=list)
    worst_10_ms_db: list[float] = field(default_factory=list)

    def merge(self, other: Masked) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def _worst_10_ms(pcm: np.ndarray, symbol: str, begin_s: float, end_s: float, level_dbm0: float) -> float:
    starts = range(round(begin_s * RATE) - 40, max(round(end_s * RATE) - 40, 1), 40)
    moments = [(symbol, start / RATE, (start + 80) / RATE) for start in starts]
    return float(dsp.residual_db(pcm, moments, level_dbm0).max())


def masked(keyed: Keyed, pcm: np.ndarray, rng: np.random.Generator, delay_ms: int = 40) -> Masked:
    """Mask ``pcm`` in frames of 20 ms whose phase is random, and listen to what is left."""
    shift = int(rng.integers(0, FRAME))
    masker = dsp.ToneMasker(frame_ms=20, delay_ms=delay_ms)
    line = np.zeros(-(-(shift + pcm.size + masker.delay_samples) // FRAME) * FRAME, dtype=np.int16)
    line[shift : shift + pcm.size] = pcm
    out = np.concatenate([masker.process(frame) for frame in line.reshape(-1, FRAME)])
    late = (shift + masker.delay_samples) / RATE
    moments = [(begin + late, end + late) for begin, end in keyed.moments]
    named = [(symbol, *moment) for symbol, moment in zip(keyed.keys, moments, strict=True)]
    return Masked(
        keys=len(keyed.keys),
        matched=dsp.matched_recovery(out, moments, keyed.keys),
        spandsp=len(spandsp.detect(out)),
        listener=dsp.ToneListener().process(out),
        residual_db=dsp.residual_db(out, named, keyed.level_dbm0).tolist(),
        worst_10_ms_db=[_worst_10_ms(out, *key, keyed.level_dbm0) for key in named],
    )


def masked_over(name: str, count: int, delay_ms: int = 40) -> Masked:
    found = Masked()
    for number in range(count):
        keyed, pcm = arrival(name, number)
        found.merge(masked(keyed, pcm, generator("mask", name, number), delay_ms))
    return found


def muted_share(tape: Iterable[np.ndarray]) -> float:
    """Share of speech without keys that the masker takes away."""
    masker, samples = dsp.ToneMasker(frame_ms=20), 0
    for part in tape:
        whole = part[: part.size // FRAME * FRAME]
        masker.process(whole)
        samples += whole.size
    return (masker.muted_samples - masker.delay_samples) / samples
