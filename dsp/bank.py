"""DTMF receiver for many channels at once.

Feed-forward but for one bit of state a channel: what the last windows hold says whether there is
*evidence* for a key now, and whether the key that was down is *gone*. Windows are counted from the
stream's first sample, so neither the size of a block nor the number of channels changes an event.

A key goes down when its two tones have been there for about 31 ms and look like nothing else; it is
over when about 25 ms of it are missing. It is reported when it is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from dsp import rules
from dsp.checks import Pcm, check_pcm, check_rate
from dsp.goertzel import BLOCK, RATE_HZ
from dsp.keys import Evidence, Suspects, evidence, missing_steps, screen
from dsp.levels import dbm0_to_peak
from dsp.resample import Halver
from dsp.tones import SYMBOLS
from dsp.windows import Indices, Windows

_MILLIWATT: Final = dbm0_to_peak(0.0) ** 2
_MAX_ROWS: Final = 16384  # windows judged at a time


@dataclass(frozen=True, slots=True)
class DtmfEvent:
    """One key press, reported when it is over.

    Attributes
    ----------
    symbol : str
        The key. In paycall it is card data, so it is kept out of ``repr``; never log it.
    onset_sample, end_sample : int
        First sample of the tone and the one after its last, counted from the stream's first sample
        at the stream's own rate; right to about 3 ms.
    level_dbm0 : float
        Mean level of the two tones.
    twist_db : float
        High minus low tone.
    """

    symbol: str = field(repr=False)
    onset_sample: int
    end_sample: int
    level_dbm0: float
    twist_db: float


class DtmfDetectorBank:
    """Detectors for ``channels`` streams that advance together, in one matrix product.

    Its events are bit for bit those of one :class:`dsp.DtmfDetector` a channel, which is a bank of
    one.

    Parameters
    ----------
    channels : int
        At least 1.
    sample_rate_hz : int
        8000, or 16000 (halved inside).
    part_s : float, optional
        How much of a block is judged at a time; the default makes long blocks fast. It changes no
        event. The detector's memory grows with it: 26 kB a second and channel.

    Raises
    ------
    ValueError
        No channel, or an unsupported rate.
    """

    def __init__(self, channels: int, sample_rate_hz: int = 8000, part_s: float | None = None) -> None:
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError("channels must be a whole number of at least 1")
        self.sample_rate_hz = check_rate(sample_rate_hz)
        self.channels = channels
        most = max(_MAX_ROWS // channels, 1)
        self._at_once = most if part_s is None else min(max(math.ceil(part_s * RATE_HZ / BLOCK), 1), most)
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next sample is its first."""
        self._factor = self.sample_rate_hz // 8000
        self._halver = Halver(self.channels) if self._factor == 2 else None
        self._rest = np.zeros((self.channels, 0), dtype=np.int16)
        self._windows = Windows(self.channels, self._at_once)
        self._symbol = np.zeros(self.channels, dtype=np.intp)
        self._down = np.zeros(self.channels, dtype=bool)
        self._onset = np.zeros(self.channels)
        self._power = np.zeros((self.channels, 2))

    @property
    def active(self) -> list[str | None]:
        """For each channel the key that is certain and not yet over, or None. Never log it."""
        return [SYMBOLS[s] if down else None for s, down in zip(self._symbol, self._down, strict=True)]

    def process(self, pcm: Pcm) -> list[tuple[int, DtmfEvent]]:
        """Take the next samples of every channel; return the keys that ended, in order of their end.

        Parameters
        ----------
        pcm : ndarray of int16, shape ``(channels, n)``
            Any ``n``.

        Raises
        ------
        ValueError
            Another shape or dtype; the bank is as before.
        """
        samples = check_pcm(pcm, ndim=2)
        if samples.shape[0] != self.channels:
            raise ValueError("give as many rows of samples as the bank has channels")
        if self._halver is not None:
            samples = self._halver.process(samples)
        if self._rest.shape[1]:
            samples = np.concatenate([self._rest, samples], axis=1)
        steps = samples.shape[1] // BLOCK
        events: list[tuple[int, DtmfEvent]] = []
        for start in range(0, steps, self._at_once):
            stop = min(start + self._at_once, steps)
            part = samples[:, start * BLOCK : stop * BLOCK].reshape(self.channels, stop - start, BLOCK)
            events += self._advance(part)
        self._rest = samples[:, steps * BLOCK :].copy()
        return events

    def flush(self) -> list[tuple[int, DtmfEvent]]:
        """The streams end: return the keys that were still down, and start anew."""
        events = self.process(np.zeros((self.channels, 8 * BLOCK * self._factor), dtype=np.int16))
        self.reset()
        return events

    def _advance(self, blocks: Pcm) -> list[tuple[int, DtmfEvent]]:
        first = self._windows.append(blocks)
        suspects = screen(self._windows, first)
        down = np.flatnonzero(self._down)
        if down.size:
            suspects, down = self._settled(first, suspects, down)
        found = evidence(self._windows, suspects)
        if found.number.size:
            watched = np.zeros(self.channels, dtype=bool)
            watched[down] = True
            watched[found.channel] = True
            down = np.flatnonzero(watched)
        return self._follow(first, down, found) if down.size else []

    def _settled(self, first: int, suspects: Suspects, down: Indices) -> tuple[Suspects, Indices]:
        """Leave out what cannot change anything: a key that is down, is not gone, and has no rival."""
        steps = self._windows.next - first
        symbol = np.broadcast_to(self._symbol[down], (steps, down.size))
        bridged, _ = missing_steps(self._windows, first, down, symbol)
        restless = np.ones(self.channels, dtype=bool)
        restless[down] = (bridged >= rules.MIN_PAUSE_STEPS).any(axis=0)
        rival = suspects.channel[suspects.symbol != self._symbol[suspects.channel]]
        restless[rival] = True
        return suspects.only(restless[suspects.channel]), down[restless[down]]

    def _follow(self, first: int, channels: Indices, found: Evidence) -> list[tuple[int, DtmfEvent]]:
        """Keep the one bit of state, for the channels in which anything happens."""
        steps = np.arange(self._windows.next - first)[:, None]
        proof = np.full((steps.size, channels.size), -1)
        proof[found.number - first, np.searchsorted(channels, found.channel)] = np.arange(found.number.size)
        proven = proof >= 0
        proven_at = np.maximum.accumulate(np.where(proven, steps, -1), axis=0)
        latest = np.take_along_axis(proof, np.maximum(proven_at, 0), axis=0)
        symbol = self._symbol[channels] + np.zeros_like(steps)
        if found.number.size:
            symbol = np.where(proven_at >= 0, found.symbol[latest], symbol)
        bridged, plain = missing_steps(self._windows, first, channels, symbol)
        gone = (bridged >= rules.MIN_PAUSE_STEPS) & ~proven
        gone_at = np.maximum.accumulate(np.where(gone, steps, -2), axis=0)
        was_down, was_symbol = self._down[channels], self._symbol[channels]
        down = np.where(proven_at >= 0, proven_at, np.where(was_down, -1, -3)) > gone_at
        changed = np.diff(symbol, axis=0, prepend=was_symbol[None]) != 0
        before = np.concatenate([was_down[None], down[:-1]])
        ended, started = before & (~down | changed), down & (~before | changed)
        self._down[channels], self._symbol[channels] = down[-1], symbol[-1]
        events = []
        for step, place in np.argwhere(ended | started).tolist():
            channel, middle = int(channels[place]), (first + step) * BLOCK
            index = int(proof[step, place])
            onset = 0.0 if index < 0 else middle - (float(found.steps[index]) - 0.5) * BLOCK
            if ended[step, place]:
                end = middle - (float(plain[step, place]) - 0.5) * BLOCK if index < 0 else onset
                events.append((channel, self._event(channel, int(was_symbol[place]), end)))
            if started[step, place]:
                was_symbol[place] = found.symbol[index]
                self._onset[channel] = onset
                self._power[channel] = found.power[:, index]
        return events

    def _event(self, channel: int, symbol: int, end: float) -> DtmfEvent:
        low_dbm0, high_dbm0 = (
            10.0 * math.log10(power / _MILLIWATT) for power in self._power[channel].tolist()
        )
        onset = self._place(float(self._onset[channel]))
        return DtmfEvent(
            symbol=SYMBOLS[symbol],
            onset_sample=onset,
            end_sample=max(self._place(end), onset + 1),
            level_dbm0=round((low_dbm0 + high_dbm0) / 2.0, 2),
            twist_db=round(high_dbm0 - low_dbm0, 2),
        )

    def _place(self, sample: float) -> int:
        """A sample's number at 8 kHz, in the stream's own rate."""
        late = self._halver.delay_samples if self._halver is not None else 0
        return max(round(sample * self._factor) - late, 0)
