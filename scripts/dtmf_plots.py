"""Draws the pictures of docs/dtmf.md into docs/dtmf/. Run: .venv/bin/python scripts/dtmf_plots.py

Every picture is computed by the code that it explains, so it changes when a threshold does. The one
with speech needs the recordings that scripts/system-tools.sh installs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from dsp_lab import measure, speech
from dsp_lab.impairments import alaw, to_pcm
from dsp_lab.signals import press
from matplotlib import pyplot

import dsp
from dsp import rules
from dsp.goertzel import DTMF_HZ, POWER_TO_PEAK_SQUARED, RATE_HZ, SAMPLE_SHIFT, WINDOW, sine_window
from dsp.keys import SPAN, Suspects, missing_steps
from dsp.windows import Windows

OUT = Path(__file__).resolve().parents[1] / "docs" / "dtmf"


CHANNEL = np.array([0])


def transformed(pcm: np.ndarray) -> tuple[Windows, int]:
    """All windows of one channel, and the number of the first."""
    windows = Windows(1, pcm.size // WINDOW + 1)
    windows.take(pcm[None])
    first = windows.transform()
    windows.fill(first, np.array([True]))
    return windows, first


def save(figure: pyplot.Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(OUT / name, dpi=90)
    pyplot.close(figure)
    print(OUT / name)


def window_response() -> None:
    """What each of the eight filters hears, and where the limits lie."""
    figure, axis = pyplot.subplots(figsize=(10, 4))
    hz = np.arange(300.0, 1900.0, 2.0)
    time_s = (np.arange(WINDOW) - (WINDOW - 1) / 2) / RATE_HZ
    window = sine_window(WINDOW)
    for nominal in DTMF_HZ:
        response = np.abs(np.exp(2j * np.pi * np.outer(hz - nominal, time_s)) @ window) / window.sum()
        axis.plot(hz, 20 * np.log10(response + 1e-6), linewidth=1)
        axis.axvspan(nominal * 0.985 - 2, nominal * 1.015 + 2, color="green", alpha=0.25)
    for dial in (350, 425, 440):
        axis.axvline(dial, color="gray", linestyle=":")
    axis.set(
        ylim=(-70, 3),
        xlabel="Hz",
        ylabel="dB",
        title="The eight filters: 20 ms under half a sine. Green: must be accepted. Dotted: dial tones",
    )
    save(figure, "filters.png")


def one_key() -> None:
    """A key of 60 ms with a drop-out of 10 ms, then a pause: what the rules see."""
    tone = dsp.dtmf_tone("6", 0.09)
    tone[400:480] = 0
    pcm = alaw(np.concatenate([dsp.silence(0.1), tone, dsp.silence(0.12)]))
    windows, first = transformed(pcm)
    count = windows.next - first
    key = np.array([dsp.SYMBOLS.index("6")])
    power = windows.powers(np.arange(count)[:, None, None], CHANNEL, key)[:, :, 0]
    relative = np.sqrt((power / power.max(axis=0)).min(axis=1))
    steps = np.convolve(relative, np.ones(5))[:count]
    missing, _ = missing_steps(windows, first, CHANNEL, key[None])
    middle_ms = np.arange(count) * 10.0
    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(10, 6), sharex=True)
    top.plot(np.arange(pcm.size) / 8, pcm / 32768, linewidth=0.6, color="gray")
    top.plot(middle_ms, relative * 0.4, "o-", label="relative amplitude of the weaker tone")
    top.set(ylabel="signal", title="A key of 90 ms with a drop-out of 10 ms")
    top.legend()
    bottom.step(middle_ms, steps, where="post", label="present: sum over five windows")
    bottom.axhline(rules.MIN_TONE_STEPS, color="C0", linestyle="--", label="enough for a key (31 ms)")
    bottom.step(middle_ms, missing[:, 0], where="post", color="C1", label="missing: sum over five windows")
    bottom.axhline(rules.MIN_PAUSE_STEPS, color="C1", linestyle="--", label="enough for the end (25 ms)")
    bottom.set(xlabel="ms, middle of the window", ylabel="steps of 10 ms")
    bottom.legend(loc="upper right", fontsize=8)
    save(figure, "one-key.png")


def _accepted(build: Callable[[np.random.Generator, str], np.ndarray], wanted: int, tries: int = 4) -> float:
    kept = 0
    for symbol in dsp.SYMBOLS:
        for number in range(tries):
            pcm = build(measure.generator("plots", symbol, number), symbol)
            kept += measure.hear(pcm) == symbol * wanted
    return 100.0 * kept / (16 * tries)


def _line(rng: np.random.Generator, wave: np.ndarray) -> np.ndarray:
    return alaw(to_pcm(np.concatenate([np.zeros(800 + int(rng.integers(0, 160))), wave, np.zeros(1600)])))


def curves() -> None:
    """What is accepted around each limit."""

    def off(error: float) -> Callable[[np.random.Generator, str], np.ndarray]:
        return lambda rng, key: _line(
            rng, press(rng, key, 0.06, -10, 0, (error, rng.choice([-1, 1]) * error))
        )

    def twist(db: float) -> Callable[[np.random.Generator, str], np.ndarray]:
        return lambda rng, key: _line(rng, press(rng, key, 0.06, -10, db, (0, 0)))

    def length(ms: float) -> Callable[[np.random.Generator, str], np.ndarray]:
        return lambda rng, key: _line(rng, press(rng, key, ms / 1000, -10, 0, (0, 0)))

    def pause(ms: float) -> Callable[[np.random.Generator, str], np.ndarray]:
        def build(rng: np.random.Generator, key: str) -> np.ndarray:
            parts = [
                press(rng, key, 0.06, -10, 0, (0, 0)),
                np.zeros(round(8 * ms)),
                press(rng, key, 0.06, -10, 0, (0, 0)),
            ]
            return _line(rng, np.concatenate(parts))

        return build

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7))
    pictures = (
        (
            "frequency error of both tones, %",
            np.arange(0, 4.01, 0.125),
            lambda x: off(x / 100),
            1,
            (1.5, 3.5),
        ),
        ("twist, dB", np.arange(-15, 15.1, 0.5), twist, 1, (-8, 8)),
        ("length of the tone, ms", np.arange(16, 50.1, 1), length, 1, (23, 40)),
        ("pause between two presses, ms", np.arange(8, 44.1, 1), pause, 2, (10, 20, 30, 40)),
    )
    for axis, (label, values, build, wanted, limits) in zip(axes.flat, pictures, strict=True):
        axis.plot(values, [_accepted(build(float(x)), wanted) for x in values])
        for limit in limits:
            axis.axvline(limit, color="gray", linestyle=":")
        axis.set(xlabel=label, ylabel="% accepted" if wanted == 1 else "% heard as two keys")
    save(figure, "limits.png")


def talk_off() -> None:
    """Share of the energy in the two strongest tones: speech beside keys on bad lines."""

    def shares(audio: list[np.ndarray]) -> np.ndarray:
        found = []
        for pcm in audio:
            windows, first = transformed(pcm)
            suspects = Suspects(*windows.twice_possible(first))
            number = suspects.number - np.arange(SPAN)[:, None]
            power = windows.powers(number[:, None], suspects.channel, suspects.symbol)
            relative = np.sqrt((power / power.max(axis=0)).min(axis=1))
            whole = (relative > 0.8) * (relative.sum(axis=0) >= rules.MIN_TONE_STEPS)
            energies = windows.energies(suspects.number, suspects.channel) * 4.0**SAMPLE_SHIFT
            energy = (energies * whole).sum(axis=0)
            tones = (power.sum(axis=1) * whole).sum(axis=0) * POWER_TO_PEAK_SQUARED / 2 * WINDOW
            found.append(tones[energy > 0] / energy[energy > 0])
        return np.concatenate(found)

    names = ("white noise 12 dB", "babble 12 dB", "a talker 10 dB below", "clipped by 12 dB", "GSM", "A-law")
    keys = [measure.arrival(name, number)[1] for name in names for number in range(4)]
    figure, axis = pyplot.subplots(figsize=(10, 4))
    bins = np.linspace(0, 1.05, 64)
    axis.hist(
        shares(list(speech.tapes(1.0, stride=3))), bins, label="an hour of speech", alpha=0.7, density=True
    )
    axis.hist(shares(keys), bins, label="keys on bad lines", alpha=0.7, density=True)
    axis.axvline(rules.MIN_SHARE, color="black", linestyle="--", label=f"threshold {rules.MIN_SHARE}")
    axis.set(
        xlabel="share of the energy in the two tones, where both lasted 31 ms", ylabel="density", yscale="log"
    )
    axis.legend()
    save(figure, "talk-off.png")


def masking() -> None:
    """Speech, a key and its echo, before and behind the masker."""
    recording = max((r for r in speech.recordings(music=False)[:300]), key=lambda r: r.size)[16000:24000]
    wave = recording.astype(float) * 0.7
    tone = dsp.dtmf_tone("8", 0.09).astype(float)
    wave[3600 : 3600 + tone.size + 600] *= 0.02
    wave[3600 : 3600 + tone.size] += tone
    wave[3600 + 400 : 3600 + 400 + tone.size] += 0.15 * tone
    pcm = alaw(to_pcm(wave))
    masker = dsp.ToneMasker()
    late = np.concatenate([pcm, np.zeros(masker.delay_samples, dtype=np.int16)])
    out = masker.process(late)[masker.delay_samples :]
    figure, axes = pyplot.subplots(2, 1, figsize=(10, 5), sharex=True, sharey=True)
    for axis, sound, title in zip(
        axes, (pcm, out), ("a key in speech, with its echo", "behind the masker"), strict=True
    ):
        axis.plot(np.arange(sound.size) / 8000, sound, linewidth=0.5)
        axis.set(title=title)
    axes[1].set(xlabel="s (the delay of 40 ms taken off)")
    save(figure, "masker.png")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for draw in (window_response, one_key, curves, talk_off, masking):
        draw()
